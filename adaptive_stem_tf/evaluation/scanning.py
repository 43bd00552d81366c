"""Scans sets of images: in batches of one size, each with its own random numbers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, specimens
from adaptive_stem_tf.scan import environment, partial_scan, paths

_BATCH = 32
_SEED = 1  # of paths that are drawn at random


class BatchScan(NamedTuple):
  """Scans of a batch."""

  actions: tf.Tensor  # [B, T, A]
  observations: tf.Tensor  # [B, T, n], as measured
  positions: tf.Tensor  # [B, T * n, 2] px
  partial: tf.Tensor  # [B, S, S, 2], as measured


def in_batches(
  function: Callable[[tf.Tensor, int], Sequence[tf.Tensor]], images: np.ndarray
) -> list[np.ndarray]:
  """Applies a function to all images, in batches of one size, so that it is traced once.

  Args:
    function: of a batch [B, ...] and the number of its first image; returns tensors [B, ...].
    images: [N, ...].

  Returns:
    Each result for all images, [N, ...].
  """
  results = []
  for number, (batch, count) in enumerate(input_pipeline.batches(images, _BATCH)):
    parts = function(tf.constant(batch), number * _BATCH)
    results.append([part.numpy()[:count] for part in parts])
  return [np.concatenate(parts) for parts in zip(*results)]


def as_measured(images: np.ndarray, data: config.Data) -> np.ndarray:
  """Returns images [N, S, S, 1] as scans measure them (`specimens.as_measured`), batch by batch."""
  if not data.filter_observations:
    return images
  return in_batches(lambda batch, _: [specimens.as_measured(batch, data)], images)[0]


def scan_path(path: paths.Path, measured: tf.Tensor, first: tf.Tensor | int) -> BatchScan:
  """Scans a batch along a path, without exploration.

  Args:
    path: that decides, or is fixed.
    measured: [B, S, S, 1], images as they are measured.
    first: number of the first image within its set. Paths that are drawn at random depend on this
      number, so that batches of a set have different paths.
  """
  seed = tf.stack([tf.cast(first, tf.int64), tf.constant(_SEED, tf.int64)])
  trajectory = path.scan(measured, None, seed)
  return BatchScan(
    trajectory.actions,
    trajectory.observations,
    path.positions(trajectory.actions),
    path.draw(trajectory.observations, trajectory.actions),
  )


def scan_positions(measured: tf.Tensor, positions: tf.Tensor, probes: int) -> BatchScan:
  """Scans a batch at given positions; there are no actions, [B, 0, 1].

  Args:
    measured: [B, S, S, 1], images as they are measured.
    positions: [B, t * n, 2] px, of t segments.
    probes: n, of a segment.
  """
  batch = measured.shape[0] or tf.shape(measured)[0]
  intensities = environment.read(measured, positions)
  return BatchScan(
    tf.zeros([batch, 0, 1]),
    tf.reshape(intensities, [-1, positions.shape[1] // probes, probes]),
    positions,
    partial_scan.draw_at(intensities, positions, measured.shape[1]),
  )
