"""Scans specimens under a condition, and completes what was measured."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, seeing, specimens
from adaptive_stem_tf.scan import baselines, environment, partial_scan, path_names, paths

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
  # [N, S, S, 2], as measured; as the generator gets it under a condition of measured ranges
  partial: np.ndarray
  shown: np.ndarray  # [N, S, S, 2], as the generator gets it
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
  """Returns the path of a scan that no actor makes."""
  positions = (
    baselines.positions_of(scan.path, scan, scan.pitch) if scan.path in baselines.KINDS else None
  )
  return path_names.make_path(scan, None, positions)


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

  With `measured_range`, a path that decides on its way is normalised by the range of its
  first segment, as a live scan is; others by the range of all that they measure,
  since nothing has to be normalised before they end. Where `normalise` says that generators
  were trained on measured ranges, each scan is shown to them by its own.
  """
  scanned = [
    [
      part.numpy()[:count]
      for part in _scan(
        path, tf.constant(batch), number * _BATCH, measured_range, seeing.make_seeing(normalise)
      )
    ]
    for number, (batch, count) in enumerate(input_pipeline.batches(observed, _BATCH))
  ]
  return Scanned(*(np.concatenate(parts) for parts in zip(*scanned)))


def complete_all(generator: Callable[..., tf.Tensor], scanned: Scanned) -> np.ndarray:
  """Completes scans [N, S, S, 1] with a generator; intensities are those of the images again."""
  completions = np.concatenate(
    [
      generator(tf.constant(batch), is_training=False).numpy()[:count]
      for batch, count in input_pipeline.batches(scanned.shown, _BATCH)
    ]
  )
  return completions * scanned.half + scanned.middle


def scan_along(images: np.ndarray, positions: np.ndarray, probes: int, normalise: str) -> Scanned:
  """Scans images [N, S, S, 1] at positions [N, t * n, 2] px, n probes a segment; the first t
  segments of scans.
  """
  measured, where = (
    environment.read(tf.constant(images), tf.constant(positions)),
    tf.constant(positions),
  )
  partial = partial_scan.draw_at(measured, where, images.shape[1])
  segments = tf.reshape(measured, [len(images), -1, probes])
  return Scanned(
    positions, *(part.numpy() for part in _shown(partial, segments, seeing.make_seeing(normalise)))
  )


def _scan(
  path: paths.Path, images: tf.Tensor, first: int, measured_range: bool, seen: seeing.Seeing
) -> tuple[tf.Tensor, ...]:
  """Scans a batch, whose first image has a number, so that every batch has scans of its own if they
  are drawn.
  """
  seed = tf.constant([first, _SEED], tf.int64)
  trajectory = path.scan(images, None, seed)
  if measured_range:
    middle, half = specimens.measured_range(
      trajectory.observations[:, :1] if path.learns else trajectory.observations
    )
    trajectory = path.scan((images - middle) / half, None, seed)
    partial = path.draw(trajectory.observations, trajectory.actions)
    return path.positions(trajectory.actions), partial, partial, middle, half
  partial = path.draw(trajectory.observations, trajectory.actions)
  return path.positions(trajectory.actions), *_shown(partial, trajectory.observations, seen)


def _shown(
  partial: tf.Tensor, observations: tf.Tensor, seen: seeing.Seeing
) -> tuple[tf.Tensor, ...]:
  """Returns partial scans, what generators see of them, and the middle and half-width of their
  ranges.
  """
  found = seen.range_of(observations)
  middle, half = tf.zeros([partial.shape[0]]), tf.ones([partial.shape[0]])
  if found is not None:
    middle, half = (found.high + found.low) / 2, (found.high - found.low) / 2
  return partial, seen.shown(partial, found), middle[:, None, None, None], half[:, None, None, None]
