"""Scans specimens under a condition, and completes the scans."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, intensities, specimens
from adaptive_stem_tf.evaluation import scanning
from adaptive_stem_tf.scan import path_names, paths
from adaptive_stem_tf.training import fixed_path


class Condition(NamedTuple):
  """A condition under which scans are made.

  Attributes:
    name: of the condition.
    measured_range: whether to normalise by the range of measured intensities, instead of the whole
      image's (METHOD decision 13).
    electrons: per pixel at white, of the shot noise; 0 for no noise.
  """

  name: str
  measured_range: bool = False
  electrons: float = 0.0


CLEAN = Condition("image range")


class Scanned(NamedTuple):
  """Scans of every image."""

  positions: np.ndarray  # [N, P, 2] px
  partial: np.ndarray  # [N, S, S, 2], as measured
  normalised: np.ndarray  # [N, S, S, 2], inputs of generators
  middle: np.ndarray  # [N, 1, 1, 1], of the range by which scans were normalised
  half: np.ndarray  # [N, 1, 1, 1], half-width of the range

  @property
  def distinct(self) -> np.ndarray:
    """Number of distinct pixels measured [N]."""
    return self.partial[..., 1].sum((1, 2))


def conditions(electrons: tuple[float, ...], normalise: str = "image") -> list[Condition]:
  """Returns image-range and measured-range normalisation, and dose noise at each number of
  electrons per pixel.

  Models trained on measured ranges see these under every condition, so there is no condition for
  them.
  """
  return [
    CLEAN,
    *([Condition("measured range", True)] if normalise == "image" else []),
    *(Condition(f"{count:g} electrons per pixel", electrons=count) for count in electrons),
  ]


def baseline(scan: config.ScanGeometry) -> paths.Path:
  """Returns the path of a scan that no actor makes.

  Raises:
    ValueError: if a file holds no positions of the scan's geometry.
  """
  return path_names.make_path(scan, None, fixed_path.positions_of(scan))


def observe(images: np.ndarray, data: config.Data, condition: Condition) -> np.ndarray:
  """Returns the images as scans measure them: with noise, the same for every scan, and then, if
  configured, filtered.
  """
  if condition.electrons:
    images = specimens.with_dose_noise(images, condition.electrons, seed=0)
  return scanning.as_measured(images, data)


def scan_all(
  path: paths.Path, observed: np.ndarray, measured_range: bool, normalise: str = "image"
) -> Scanned:
  """Scans every image [N, S, S, 1].

  With `measured_range`, an adaptive path is normalised by the range of its first segment whose
  intensities differ, as a live scan is. Other paths are normalised by the range of all that they
  measure, since nothing has to be normalised before they end. If `normalise` says that generators
  were trained on measured ranges, each scan is normalised for them by its own.
  """
  inputs = intensities.make_network_inputs("measured" if measured_range else normalise)
  if measured_range and isinstance(path, paths.Adaptive):
    path = path.with_policy(inputs.policy)
  at_once = measured_range and not path.learns

  def scan(batch, first):
    """Returns the fields of `Scanned` of a batch, the first of them number `first` of all."""
    batch_scan = scanning.scan_path(path, batch, first)
    observations = batch_scan.observations
    if at_once:  # the range of a scan as if it were one segment
      observations = tf.reshape(observations, [observations.shape[0], 1, -1])
    return batch_scan.positions, *_normalised(batch_scan.partial, observations, inputs)

  return Scanned(*scanning.in_batches(scan, observed))


def complete_all(generator: Callable[..., tf.Tensor], scanned: Scanned) -> np.ndarray:
  """Completes scans [N, S, S, 1] with a generator; intensities are those of the images again."""
  complete = lambda batch, _: [generator(batch, is_training=False)]
  completions = scanning.in_batches(complete, scanned.normalised)[0]
  return completions * scanned.half + scanned.middle


def scan_along(images: np.ndarray, positions: np.ndarray, probes: int, normalise: str) -> Scanned:
  """Scans images [N, S, S, 1] at positions [N, t * n, 2] px, n probes a segment; the first t
  segments of scans.
  """
  batch_scan = scanning.scan_positions(tf.constant(images), tf.constant(positions), probes)
  inputs = intensities.make_network_inputs(normalise)
  normalised = _normalised(batch_scan.partial, batch_scan.observations, inputs)
  return Scanned(positions, *(part.numpy() for part in normalised))


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
  normalised = inputs.of_generator(partial, ranges)
  return partial, normalised, middle[:, None, None, None], half[:, None, None, None]
