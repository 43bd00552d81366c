"""Scans as a microscope makes them, whose beam is not where it is sent (METHOD section 10).

Paths decide from the intensities that a reader measures. A reader that keeps track of the beam
distorts scans along any path, adaptive ones included; its physics runs in NumPy, between the steps
of an eager scan.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import microscope_config
from adaptive_stem_tf.scan import distortion, environment, paths

BATCH = 32  # images that are scanned together


class DistortedScans(NamedTuple):
  """Scans of N specimens, P positions each, float32."""

  nominal: np.ndarray  # [N, P, 2] px, where the beam was sent: it is never sent outside the image
  actual: np.ndarray  # [N, P, 2] px, the places of the specimen that were under it
  intensities: np.ndarray  # [N, P]


class DistortedReader:
  """Measures what lies under a beam that is not where it is sent; replaces `environment.read` for
  one scan.

  Nominal positions are clamped to the image before the beam is sent there. Specimens are read
  between pixels at (the pixel that holds the nominal position) + (actual - nominal): without
  distortion, this equals `environment.read`.
  """

  def __init__(self, system: microscope_config.ScanSystem, dwell_us: float):
    """Makes the reader of a scan. It begins with the first call, the beam settled at its first
    position.

    Args:
      system: of the microscope.
      dwell_us: us at each probing position.
    """
    self._system, self._dwell_us = system, dwell_us
    self._state: distortion.State | None = None
    self._nominal: list[np.ndarray] = []
    self._actual: list[np.ndarray] = []

  @property
  def nominal(self) -> np.ndarray:
    """Where the beam was sent so far, [B, P, 2] px, float32."""
    return np.concatenate(self._nominal, 1)

  @property
  def actual(self) -> np.ndarray:
    """The places of the specimens that were under the beam, [B, P, 2] px, float32."""
    return np.concatenate(self._actual, 1).astype(np.float32)

  def __call__(self, specimens: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Measures intensities [B, n] at the next nominal positions.

    Args:
      specimens: [B, S, S, 1].
      positions: [B, n, 2] px, where the beam is sent.

    Raises:
      RuntimeError: inside a tf.function.
    """
    if not tf.executing_eagerly():
      raise RuntimeError(
        "a distorted scan was traced into a graph: its physics runs step by step; call scan "
        "outside of tf.function."
      )
    size = specimens.shape[1]
    nominal = np.clip(positions.numpy(), 0, size - 1)
    if self._state is None:
      self._state = distortion.start(self._system, nominal[:, 0], size)
    actual, self._state = distortion.move(self._system, self._state, nominal, self._dwell_us)
    self._nominal.append(nominal)
    self._actual.append(actual)
    return environment.read_detailed(specimens, tf.constant(_places(nominal, actual)))


def distorted_scan(
  path: paths.Path,
  images: np.ndarray,
  system: microscope_config.ScanSystem,
  dwell_us: float,
  seed: int = 0,
  first: int = 0,
) -> DistortedScans:
  """Scans images as a microscope does.

  Args:
    path: decides where the beam goes, from distorted intensities.
    images: [N, S, S, 1] in [-1, 1].
    system: of the microscope.
    dwell_us: us at each probing position.
    seed: of paths that are drawn; each batch of images has its own draws.
    first: number of the first image if these are part of a larger set, a multiple of `BATCH`.
  """
  batches = []
  for row in range(0, len(images), BATCH):
    batch = tf.constant(images[row : row + BATCH], tf.float32)
    read = DistortedReader(system, dwell_us)
    trajectory = path.scan(batch, None, tf.constant([first + row, seed], tf.int64), read)
    intensities = trajectory.observations.numpy().reshape(len(batch), -1)
    batches.append(DistortedScans(read.nominal, read.actual, intensities))
  return DistortedScans(*map(np.concatenate, zip(*batches)))


def raster(
  size: int, system: microscope_config.ScanSystem, dwell_us: float, flyback_us: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns nominal and actual positions of a raster scan of every pixel, both [size^2, 2] px.

  Lines run from left to right, from the top down. After each line the beam is sent to the start of
  the next and rests there for the flyback time, in which the coils settle more or less and the
  specimen drifts on.

  Args:
    size: side of the image, px.
    system: of the microscope.
    dwell_us: us at each pixel.
    flyback_us: from the end of a line to the start of the next.
  """
  nominal = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1) + 0.5
  state = distortion.start(system, nominal[:1, 0], size)
  lines = []
  for number, line in enumerate(nominal[:, None]):
    if number:
      state = distortion.rest(system, state, flyback_us, line[:, 0])
    actual, state = distortion.move(system, state, line, dwell_us)
    lines.append(actual[0])
  return nominal.reshape(-1, 2), np.concatenate(lines)


def distorted_raster(
  images: np.ndarray, system: microscope_config.ScanSystem, dwell_us: float, flyback_us: float
) -> DistortedScans:
  """Scans every pixel of images by `raster`.

  Args:
    images: [N, S, S, 1] in [-1, 1].
    system: of the microscope.
    dwell_us: us at each pixel.
    flyback_us: from the end of a line to the start of the next.

  Returns:
    The scans; intensities [N, S * S] are the raster image, row by row.
  """
  nominal, actual = raster(images.shape[1], system, dwell_us, flyback_us)
  places = _places(nominal, actual)
  intensities = [
    environment.read_detailed(
      tf.constant(batch, tf.float32), tf.constant(np.tile(places, [len(batch), 1, 1]))
    )
    for batch in (images[first : first + BATCH] for first in range(0, len(images), BATCH))
  ]
  nominals, actuals = (
    np.broadcast_to(part.astype(np.float32), [len(images), *part.shape])
    for part in (nominal, actual)
  )
  return DistortedScans(nominals, actuals, np.concatenate(intensities))


def _places(nominal, actual):
  """Returns where specimens are read: the nominal position's pixel plus the beam's deviation."""
  return (np.floor(nominal) + (actual - nominal)).astype(np.float32)
