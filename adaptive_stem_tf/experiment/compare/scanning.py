"""Scans specimens under a condition, and completes what was measured."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, intensities, specimens
from adaptive_stem_tf.scan import baselines, path_names, paths

_BATCH = 32
_SEED = 1  # of scans that are drawn


class Condition(NamedTuple):
  """Under which scans are made.

  Attributes:
    name: of the condition.
    measured_range: normalise by the range of what was measured instead of the whole image's (METHOD decision 13).
    electrons: per pixel at white, which counts are drawn for; 0 for no noise.
  """

  name: str
  measured_range: bool = False
  electrons: float = 0.0


CLEAN = Condition("image range")


class Scanned(NamedTuple):
  """Scans of every image."""

  positions: np.ndarray  # [N, P, 2] px
  partial: np.ndarray  # [N, S, S, 2], normalised as the generator gets it
  middle: np.ndarray  # [N, 1, 1, 1], of the range by which scans were normalised
  half: np.ndarray  # [N, 1, 1, 1], half-width of the range

  @property
  def distinct(self) -> np.ndarray:
    """Number of distinct pixels measured [N]."""
    return self.partial[..., 1].sum((1, 2))


def conditions(electrons: tuple[float, ...]) -> list[Condition]:
  """Returns image-range and measured-range normalisation, and dose noise at each number of electrons per pixel."""
  return [CLEAN, Condition("measured range", True),
          *(Condition(f"{count:g} electrons per pixel", electrons=count) for count in electrons)]


def baseline(scan: config.Scan) -> paths.Path:
  """Returns the path of a scan that no actor makes."""
  positions = baselines.positions_of(scan.path, scan, scan.pitch) if scan.path in baselines.KINDS else None
  return path_names.make_path(scan, None, positions)


def observe(images: np.ndarray, data: config.Data, condition: Condition) -> np.ndarray:
  """Returns what the beam meets: the same noise for every scan, and, if configured, a filter after it."""
  if condition.electrons:
    images = specimens.with_dose_noise(images, condition.electrons, seed=0)
  if not data.filter_observations:
    return images
  return np.concatenate([specimens.low_pass(tf.constant(batch), data.filter_sigma).numpy()[:count]
                         for batch, count in input_pipeline.batches(images, _BATCH)])


def scan_all(path: paths.Path, observed: np.ndarray, measured_range: bool) -> Scanned:
  """Scans every image [N, S, S, 1].

  With `measured_range`, a path that decides on its way is normalised by the range of its
  first segment and clipped, as a live scan is; others by the range of all that they measure,
  since nothing has to be normalised before they end.
  """
  scanned = [[part.numpy()[:count] for part in _scan(path, tf.constant(batch), number * _BATCH, measured_range)]
             for number, (batch, count) in enumerate(input_pipeline.batches(observed, _BATCH))]
  return Scanned(*(np.concatenate(parts) for parts in zip(*scanned)))


def complete_all(generator: Callable[..., tf.Tensor], scanned: Scanned) -> np.ndarray:
  """Completes scans [N, S, S, 1] with a generator; intensities are those of the images again."""
  completions = np.concatenate([generator(tf.constant(batch), is_training=False).numpy()[:count]
                                for batch, count in input_pipeline.batches(scanned.partial, _BATCH)])
  return completions * scanned.half + scanned.middle


def _scan(path: paths.Path, images: tf.Tensor, first: int, measured_range: bool) -> tuple[tf.Tensor, ...]:
  """Scans a batch, whose first image has a number, so that every batch has scans of its own if they are drawn."""
  seed = tf.constant([first, _SEED], tf.int64)
  batch = images.shape[0]
  middle, half = tf.zeros([batch, 1, 1, 1]), tf.ones([batch, 1, 1, 1])
  trajectory = path.scan(images, None, seed)
  if measured_range:
    middle, half = specimens.measured_range(
        trajectory.observations[:, :1] if path.learns else trajectory.observations)
    limit = intensities.limit_of("image")
    trajectory = path.scan(tf.clip_by_value((images - middle) / half, -limit, limit), None, seed)
  return path.positions(trajectory.actions), path.draw(trajectory.observations, trajectory.actions), middle, half
