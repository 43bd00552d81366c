"""Results of scans, the same for all that scan."""

from typing import Any, NamedTuple

import numpy as np


class ScanResult(NamedTuple):
  """A scan of P probing positions in a frame of H x W px; intensities are in the detector's units.

  A frame is one window of a model, or several windows joined. Fields that are None are not written.
  """

  positions: np.ndarray  # [P, 2] px of the frame (row, column), in order of time
  intensities: np.ndarray  # [P], as measured
  windows: np.ndarray  # [P] int, which window each probe belongs to
  segments: np.ndarray  # [P] int, which segment of its window's scan
  partial: np.ndarray  # [H, W, 2], intensity (0 where not measured) and mask
  completion: np.ndarray  # [H, W]
  truth: np.ndarray | None  # [H, W], the whole frame, where it is known
  origin: tuple[int, ...]  # (row, column) of the frame's first pixel in the image it is part of
  pixel_size_nm: float | None  # None if unknown
  # 10 MSE by window on the `filtered` and the `raw` truth; None if not known
  errors: dict[str, np.ndarray] | None
  about: dict[str, Any]  # for the summary: the model, how intensities were mapped, seconds, ...
  filter_sigma: float = 0.0  # px, of the filter of targets; 0 for none


class FieldProgress(NamedTuple):
  """Estimates of a whole field when a round is planned, in the detector's units."""

  completion: np.ndarray  # [H, W]
  uncertainty: np.ndarray  # [H, W]
  black_and_white: tuple[float, float]
  seconds: list[float]  # of computing: the survey, and each round that is planned
