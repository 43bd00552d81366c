"""Makes the frames of the scan of a whole field while it goes on."""

from collections.abc import Callable

import numpy as np

from adaptive_stem_tf.serving import field_scan
from adaptive_stem_tf.serving.live.field_picture import FieldFrame
from adaptive_stem_tf.serving.scan_result import FieldProgress


class Watching:
  """Makes frames of a scan that goes on.

  Args:
    show: called with a function that makes a frame, whenever there is something new.
    settings: of the scan.
    truth: [H, W], the field that is scanned; None if it is not known.
    pixel_size_nm: None if unknown.
  """

  def __init__(
    self,
    show: Callable[[Callable[[], FieldFrame]], None],
    settings: field_scan.FieldSettings,
    truth: np.ndarray | None,
    pixel_size_nm: float | None,
  ):
    self._show, self._settings = show, settings
    self._truth, self._pixel_size_nm = truth, pixel_size_nm
    self._parts: list[tuple[np.ndarray, np.ndarray]] = []
    self._known: FieldProgress | None = None

  def measured(self, positions: np.ndarray, intensities: np.ndarray) -> None:
    """Takes intensities [n] measured at positions [n, 2] px."""
    self._parts.append((positions, intensities))
    self._show(self._frame)

  def planned(self, known: FieldProgress) -> None:
    """Takes the estimates from the planning of a round."""
    self._known = known
    self._show(self._frame)

  def ended(self, scan: field_scan.FieldScan) -> FieldFrame:
    """Returns the last frame."""
    self._known = FieldProgress(
      scan.completion, scan.uncertainty, scan.black_and_white, scan.seconds
    )
    return self._frame()._replace(state="stopped" if scan.ended_by else "over")

  def _frame(self):
    positions, intensities = map(np.concatenate, zip(*self._parts))
    return FieldFrame(
      self._settings.shape, self._settings.budget, self._settings.rounds, positions, intensities,
      self._known, self._truth, self._pixel_size_nm,
    )  # fmt: skip
