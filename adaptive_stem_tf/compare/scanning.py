"""Scans specimens under a condition, and completes what was measured."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, intensities, specimens
from adaptive_stem_tf.scan import environment, partial_scan, path_names, paths
from adaptive_stem_tf.training import fixed_path

_BATCH = 32
_SEED = 1  # of scans that are drawn


class Condition(NamedTuple):
  """Under which scans are made.

  Attributes:
    name: of the condition.
    measured_range: normalise by the range of what was measured instead of the whole image's (METHOD
      decision 13).
    electrons: per pixel at white, which counts are drawn for; 0 for no noise.
  """

  name: str
  measured_range: bool = False
  electrons: float = 0.0


CLEAN = Condition("image range")


class Scanned(NamedTuple):
  """Scans of every image."""

  positions: np.ndarray  # [N, P, 2] px
  partial: np.ndarray  # [N, S, S, 2], as measured
  normalised: np.ndarray  # [N, S, S, 2], as the generator is given them
  middle: np.ndarray  # [N, 1, 1, 1], of the range by which scans were normalised
  half: np.ndarray  # [N, 1, 1, 1], half-width of the range

  @property
  def distinct(self) -> np.ndarray:
    """Number of distinct pixels measured [N]."""
    return self.partial[..., 1].sum((1, 2))


def conditions(electrons: tuple[float, ...], normalise: str = "image") -> list[Condition]:
  """Returns image-range and measured-range normalisation, and dose noise at each number of
  electrons per pixel.

  Models trained on measured ranges see these under every condition: there is none of their own.
  """
  return [
    CLEAN,
    *([Condition("measured range", True)] if normalise == "image" else []),
    *(Condition(f"{count:g} electrons per pixel", electrons=count) for count in electrons),
  ]


def baseline(scan: config.Scan) -> paths.Path:
  """Returns the path of a scan that no actor makes.

  Raises:
    ValueError: if a file holds no positions of the scan's geometry.
  """
  return path_names.make_path(scan, None, fixed_path.positions_of(scan))


def observe(images: np.ndarray, data: config.Data, condition: Condition) -> np.ndarray:
  """Returns what the beam meets: the same noise for every scan, and, if configured, a filter after
  it.
  """
  if condition.electrons:
    images = specimens.with_dose_noise(images, condition.electrons, seed=0)
  if not data.filter_observations:
    return images
  return np.concatenate(
    [
      specimens.low_pass(tf.constant(batch), data.filter_sigma).numpy()[:count]
      for batch, count in input_pipeline.batches(images, _BATCH)
    ]
  )


def scan_all(
  path: paths.Path, observed: np.ndarray, measured_range: bool, normalise: str = "image"
) -> Scanned:
  """Scans every image [N, S, S, 1].

  With `measured_range`, a path that decides on its way is normalised by the range of its first
  segment whose intensities differ, as a live scan is; others by the range of all that they measure,
  since nothing has to be normalised before they end. Where `normalise` says that generators were
  trained on measured ranges, each scan is normalised for them by its own.
  """
  inputs = intensities.make_network_inputs("measured" if measured_range else normalise)
  if measured_range and isinstance(path, paths.Adaptive):
    path = path.with_policy(inputs.policy)
  at_once = measured_range and not path.learns
  scanned = [
    [
      part.numpy()[:count]
      for part in _scan(path, tf.constant(batch), number * _BATCH, inputs, at_once)
    ]
    for number, (batch, count) in enumerate(input_pipeline.batches(observed, _BATCH))
  ]
  return Scanned(*(np.concatenate(parts) for parts in zip(*scanned)))


def complete_all(generator: Callable[..., tf.Tensor], scanned: Scanned) -> np.ndarray:
  """Completes scans [N, S, S, 1] with a generator; intensities are those of the images again."""
  completions = np.concatenate(
    [
      generator(tf.constant(batch), is_training=False).numpy()[:count]
      for batch, count in input_pipeline.batches(scanned.normalised, _BATCH)
    ]
  )
  return completions * scanned.half + scanned.middle


def scan_along(images: np.ndarray, positions: np.ndarray, probes: int, normalise: str) -> Scanned:
  """Scans images [N, S, S, 1] at positions [N, t * n, 2] px, n probes a segment; the first t
  segments of scans.
  """
  where = tf.constant(positions)
  measured = environment.read(tf.constant(images), where)
  partial = partial_scan.draw_at(measured, where, images.shape[1])
  segments = tf.reshape(measured, [len(images), -1, probes])
  inputs = intensities.make_network_inputs(normalise)
  return Scanned(positions, *(part.numpy() for part in _normalised(partial, segments, inputs)))


def _scan(
  path: paths.Path, images: tf.Tensor, first: int, inputs: intensities.NetworkInputs, at_once: bool
) -> tuple[tf.Tensor, ...]:
  """Scans a batch, whose first image has a number, so that every batch has scans of its own if they
  are drawn; `at_once` takes the range of a scan as if it were one segment.
  """
  trajectory = path.scan(images, None, tf.constant([first, _SEED], tf.int64))
  partial = path.draw(trajectory.observations, trajectory.actions)
  observations = trajectory.observations
  if at_once:
    observations = tf.reshape(observations, [observations.shape[0], 1, -1])
  return path.positions(trajectory.actions), *_normalised(partial, observations, inputs)


def _normalised(
  partial: tf.Tensor, observations: tf.Tensor, inputs: intensities.NetworkInputs
) -> tuple[tf.Tensor, ...]:
  """Returns partial scans, as generators are given them, and the middle and half-width of their
  ranges.
  """
  ranges = inputs.range_of(observations)
  middle, half = tf.zeros([partial.shape[0]]), tf.ones([partial.shape[0]])
  if ranges is not None:
    middle, half = (ranges.high + ranges.low) / 2, (ranges.high - ranges.low) / 2
  given = inputs.of_generator(partial, ranges)
  return partial, given, middle[:, None, None, None], half[:, None, None, None]
