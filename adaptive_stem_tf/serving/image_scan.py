"""Scans one window of a micrograph, or all of it by tiles that overlap and are blended."""

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import metrics
from adaptive_stem_tf.intensities import IntensityRange, Normalisation
from adaptive_stem_tf.serving import path_sampling
from adaptive_stem_tf.serving.scan_result import ScanResult
from adaptive_stem_tf.serving.scanner import Scanner

_TOGETHER = 16  # tiles scanned at a time
_METRICS = ("ten_mse", "psnr", "ssim")

Corner = tuple[int, int]  # first row and column of a window, px


def mend(image: np.ndarray) -> tuple[np.ndarray, int]:
  """Replaces non-finite pixels by the lowest finite intensity; returns image and their number."""
  finite = np.isfinite(image)
  return np.where(finite, image, image[finite].min()), int(finite.size - np.count_nonzero(finite))


def window_corner(shape: tuple[int, int], size: int, window: Corner | None) -> Corner:
  """Returns the first row and column of a window of `size` px, the central one if `window` is None.

  Raises:
    ValueError: if the window is not inside the image.
  """
  _check_size(shape, size)
  if window is None:
    return (shape[0] - size) // 2, (shape[1] - size) // 2
  last = [side - size for side in shape]
  if not all(0 <= first <= limit for first, limit in zip(window, last)):
    raise ValueError(
      f"window={window[0]},{window[1]} leaves the image of {shape[0]} x {shape[1]} px: its first "
      f"row must be 0 to {last[0]} and its first column 0 to {last[1]}."
    )
  return window


def tile_corners(shape: tuple[int, int], size: int, overlap: int) -> list[Corner]:
  """Returns the first row and column of each of the tiles that cover an image.

  They overlap by at least `overlap` px.

  Raises:
    ValueError: if the image is smaller than a tile, or the overlap is not smaller than half a tile.
  """
  _check_size(shape, size)
  if not 0 <= overlap < size / 2:
    raise ValueError(
      f"overlap={overlap} is out of range: must be at least 0 and below half a tile, {size // 2} "
      "px."
    )
  starts = [
    np.linspace(0, side - size, -(-(side - overlap) // (size - overlap))).round().astype(int)
    for side in shape
  ]
  return [(int(row), int(column)) for row in starts[0] for column in starts[1]]


def scan(
  scanner: Scanner,
  image: np.ndarray,
  corners: Sequence[Corner],
  normalisation: Normalisation,
  pixel_size_nm: float | None = None,
  progress: Callable[[Iterable], Iterable] = iter,
) -> ScanResult:
  """Scans windows of an image and joins their completions, blended linearly where windows overlap.

  Args:
    scanner: the model.
    image: [H, W] of finite intensities.
    corners: first row and column of each window.
    normalisation: which intensities become [-1, 1]; `image` is each window's own range.
    pixel_size_nm: side of a px, if known.
    progress: wraps the batches of windows, to show progress.

  Returns:
    The scan of the area that windows cover; each window's errors are on its own range.
  """
  began, size = time.monotonic(), scanner.size
  canvas = _Canvas(corners, size)
  positions, intensities, scores = [], [], []
  shares: list[float] = []
  for first in progress(range(0, len(corners), _TOGETHER)):
    batch = corners[first : first + _TOGETHER]
    windows = np.stack([image[row : row + size, column : column + size] for row, column in batch])
    scans = scanner.scan(windows, normalisation)
    shares += scans.unforeseen.tolist()
    scores.append(measure(scans.completions, windows, scanner.filter_sigma))
    for i, corner in enumerate(batch):
      canvas.add(corner, scans.partial[i], scans.completions[i])
      positions.append(scans.positions[i] + np.subtract(corner, canvas.origin))
      intensities.append(scans.intensities[i])
  errors = {
    kind: {name: np.concatenate([one[kind][name] for one in scores]) for name in _METRICS}
    for kind in scores[0]
  }
  mean = lambda name: {kind: float(one[name].mean()) for kind, one in errors.items()}
  return ScanResult(
    np.concatenate(positions),
    np.concatenate(intensities),
    np.repeat(np.arange(len(corners)), scanner.segments * scanner.probes),
    np.tile(np.repeat(np.arange(scanner.segments), scanner.probes), len(corners)),
    canvas.partial,
    canvas.completion(),
    canvas.covered(image),
    canvas.origin,
    pixel_size_nm,
    {kind: one["ten_mse"] for kind, one in errors.items()},
    {
      "model": str(scanner.folder),
      "corrector": scanner.corrector and str(scanner.corrector),
      "normalise": str(normalisation),
      "windows": [list(corner) for corner in corners],
      "window_size_px": size,
      "psnr_db": mean("psnr"),
      "ssim": mean("ssim"),
      "unforeseen_share_by_window": [None if np.isnan(share) else share for share in shares],
      "sampling_warning": path_sampling.warning_of_windows(shares),
      "seconds": round(time.monotonic() - began, 3),
    },
    scanner.filter_sigma,
  )


class _Canvas:
  """Joins the partial scans and completions of windows of an image."""

  def __init__(self, corners, size):
    self.origin = tuple(min(corner[axis] for corner in corners) for axis in (0, 1))
    ends = (max(corner[axis] for corner in corners) + size for axis in (0, 1))
    self._shape = tuple(end - zero for end, zero in zip(ends, self.origin))
    self._size, self._ramp = size, _ramp(corners, size)
    self.partial = np.zeros([*self._shape, 2], np.float32)
    self._total, self._weight = np.zeros(self._shape), np.zeros(self._shape)

  def add(self, corner, partial, completion):
    """Adds a window: its partial scan [S, S, 2] and its completion [S, S]."""
    starts = np.subtract(corner, self.origin)
    place = tuple(slice(start, start + self._size) for start in starts)
    measured = partial[..., 1] > 0
    self.partial[place][measured] = partial[measured]
    self._total[place] += self._ramp * completion
    self._weight[place] += self._ramp

  def completion(self):
    """Returns the windows' completions, blended where they overlap, [H, W] float32."""
    return (self._total / np.maximum(self._weight, 1e-12)).astype(np.float32)

  def covered(self, image):
    """Returns the part of an image that windows cover."""
    return image[tuple(slice(zero, zero + side) for zero, side in zip(self.origin, self._shape))]


def ten_mse(completions: np.ndarray, windows: np.ndarray, sigma: float) -> dict[str, np.ndarray]:
  """Returns 10 MSE [B] on the low-pass `filtered` and the `raw` window, whose range is [-1, 1].

  Args:
    completions: [B, S, S], in the windows' units.
    windows: [B, S, S], the scanned specimens.
    sigma: px, of the low-pass filter.
  """
  ours, targets = _comparable(completions, windows, sigma)
  return {name: metrics.ten_mse(ours, target) for name, target in targets.items()}


def measure(
  completions: np.ndarray, windows: np.ndarray, sigma: float
) -> dict[str, dict[str, np.ndarray]]:
  """Returns every metric [B] of `metrics.image_metrics` on the `filtered` and the `raw` window;
  arguments as those of `ten_mse`.
  """
  ours, targets = _comparable(completions, windows, sigma)
  return {name: metrics.image_metrics(ours, target) for name, target in targets.items()}


def _comparable(completions, windows, sigma):
  """Returns completions and targets [B, S, S, 1] on [-1, 1], the range of each window."""
  ranges = IntensityRange(windows.min((1, 2)), windows.max((1, 2)))
  ours, raw = (ranges.to_unit(images)[..., None] for images in (completions, windows))
  return ours, {"filtered": specimens.low_pass(tf.constant(raw), sigma).numpy(), "raw": raw}


def _ramp(corners, size):
  """Returns weights [S, S] that rise linearly from each edge, over the width of the overlap."""
  steps = [np.diff(sorted({corner[axis] for corner in corners})) for axis in (0, 1)]
  depths = [size - step.min() if len(step) else 0 for step in steps]
  edge = np.minimum(np.arange(size) + 1, size - np.arange(size))
  rows, columns = (np.minimum(edge, max(depth, 0) + 1) / (max(depth, 0) + 1) for depth in depths)
  return np.outer(rows, columns)


def _check_size(shape, size):
  if min(shape) < size:
    raise ValueError(
      f"the image is {shape[0]} x {shape[1]} px, smaller than the {size} x {size} px that the "
      "model scans: give a larger one, or less --binning."
    )
