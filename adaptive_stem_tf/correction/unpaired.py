"""The training data of a correction, in memory or in files: scans of crops, rasters of others."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import randomness
from adaptive_stem_tf.types import Streamed

CHOICES = (0, 2**30, tf.int32)  # of random numbers that choose rasters, and their transforms


class UnpairedScans(NamedTuple):
  """Partial scans of some crops, and rasters of others, by one microscope.

  The fields are tensors, or NumPy arrays, which may be memory-mapped files.
  """

  # [N, K, P, 2] px, nominal probing positions of crop N under dihedral transform K
  nominal: tf.Tensor | np.ndarray
  intensities: tf.Tensor | np.ndarray  # [N, K, P], as measured, distorted
  # [N, K, P, 2] px, actual minus nominal positions: to watch training, not to learn from
  displacements: tf.Tensor | np.ndarray
  # [N, S, S, 1], the crops that were scanned: for the paired bound, and to watch training
  scanned: tf.Tensor | np.ndarray
  rasters: tf.Tensor | np.ndarray  # [M, S, S, 1], other crops


class Taken(NamedTuple):
  """The rows of `UnpairedScans` that a batch needs."""

  nominal: tf.Tensor  # [B, P, 2] px
  intensities: tf.Tensor  # [B, P]
  displacements: tf.Tensor  # [B, P, 2] px
  scanned: tf.Tensor  # [B, S, S, 1], not transformed
  rasters: tf.Tensor  # [B, S, S, 1], not transformed


def gather(
  scans: UnpairedScans, index: tf.Tensor, transform: tf.Tensor, raster: tf.Tensor
) -> Taken:
  """Gathers a batch of scans that are in memory.

  Args:
    scans: of tensors.
    index: [B], which crops.
    transform: [B], under which of the K transforms.
    raster: [B] random numbers that choose rasters (`CHOICES`).
  """
  rows = tf.stack([index, transform], 1)
  return Taken(
    tf.gather_nd(scans.nominal, rows),
    tf.gather_nd(scans.intensities, rows),
    tf.gather_nd(scans.displacements, rows),
    tf.gather(scans.scanned, index),
    tf.gather(scans.rasters, raster % scans.rasters.shape[0]),
  )


def stream(scans: UnpairedScans, batch: int, seed: int) -> Streamed:
  """Returns the stream that reads for each draw, from files, what `gather` would gather.

  Args:
    scans: of arrays.
    batch: B, of the draws.
    seed: of the experiment, with which an iteration chooses rasters.
  """

  def read(iteration, draw):
    """Reads the rows of a draw."""
    stream_ = randomness.stream(seed, randomness.Purpose.RASTER, iteration)
    # The same numbers as in CycleLearner.batch, of which the second row chooses transforms there.
    choice = tf.random.stateless_uniform([2, len(draw.index)], stream_, *CHOICES)[0].numpy()
    transform = draw.transform % scans.nominal.shape[1]
    of_scans = (part[draw.index, transform] for part in scans[:3])
    rasters = scans.rasters[choice % len(scans.rasters)]
    return Taken(*map(np.asarray, (*of_scans, scans.scanned[draw.index], rasters)))

  shapes = [part.shape[2:] for part in scans[:3]] + [part.shape[1:] for part in scans[3:]]
  return Streamed(read, Taken(*(tf.TensorSpec([batch, *shape]) for shape in shapes)))
