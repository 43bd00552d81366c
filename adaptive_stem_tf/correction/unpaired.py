"""What a correction learns from, in memory or in files: scans of some crops, rasters of others."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import randomness
from adaptive_stem_tf.types import Streamed

CHOICES = (0, 2**30, tf.int32)  # of random numbers that choose rasters, and their transforms


class UnpairedScans(NamedTuple):
  """What a microscope gives to learn from: partial scans of some crops, rasters of others.

  Tensors, or arrays, say of memory-mapped files.
  """

  # [N, K, P, 2] px, nominal probing positions of crop N under dihedral transform K
  nominal: tf.Tensor | np.ndarray
  intensities: tf.Tensor | np.ndarray  # [N, K, P], as measured, distorted
  # [N, K, P, 2] px, by which nominal positions were missed: to watch training
  displacements: tf.Tensor | np.ndarray
  # [N, S, S, 1], the crops themselves: for the paired bound, and to watch training
  scanned: tf.Tensor | np.ndarray
  rasters: tf.Tensor | np.ndarray  # [M, S, S, 1], other crops


class Taken(NamedTuple):
  """What is taken of scans for a batch."""

  nominal: tf.Tensor  # [B, P, 2] px
  intensities: tf.Tensor  # [B, P]
  displacements: tf.Tensor  # [B, P, 2] px
  scanned: tf.Tensor  # [B, S, S, 1], not transformed
  rasters: tf.Tensor  # [B, S, S, 1], not transformed


def gather(
  scans: UnpairedScans, index: tf.Tensor, transform: tf.Tensor, raster: tf.Tensor
) -> Taken:
  """Takes a batch of scans that are held.

  Args:
    scans: tensors.
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
  """Returns what draws bring along: what `gather` takes, read of files.

  Args:
    scans: arrays.
    batch: B, of the draws.
    seed: of the experiment, with which an iteration chooses rasters.
  """

  def read(iteration, draw):
    """Reads the rows of a draw."""
    stream_ = randomness.stream(seed, randomness.Purpose.RASTER, iteration)
    chosen = tf.random.stateless_uniform([2, len(draw.index)], stream_, *CHOICES)[0].numpy()
    shown = draw.transform % scans.nominal.shape[1]
    of_scans = (part[draw.index, shown] for part in scans[:3])
    rasters = scans.rasters[chosen % len(scans.rasters)]
    return Taken(*map(np.asarray, (*of_scans, scans.scanned[draw.index], rasters)))

  shapes = [part.shape[2:] for part in scans[:3]] + [part.shape[1:] for part in scans[3:]]
  return Streamed(read, Taken(*(tf.TensorSpec([batch, *shape]) for shape in shapes)))
