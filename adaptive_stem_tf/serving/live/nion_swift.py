"""Drives the scan device of Nion Swift, the software of Nion's microscopes.

Swift's scan devices acquire frames: regular grids, anywhere in the field, at any angle. So a
straight, equally spaced run of positions is Swift's own line scan, a rotated frame of 1 x n px, and
a position by itself a frame of one px. Callers provide Swift's objects.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.serving.live import microscope

# px, within which positions are equally spaced: float32 rounds those of 1,024 px to 1e-4.
_SAME = 1e-3
_SINGLE = 0.01  # px, width of a frame of one px: it is measured in its middle
_CONFIRM_MS = 1000
BLANKER = "C_Blank"  # Swift's control


class Instrument(NamedTuple):
  """Swift's objects of an instrument."""

  # Its scan device (`nion.instrumentation.scan_base.ScanDevice`).
  device: Any
  # Makes the device's frame parameters from a dictionary: `get_frame_parameters_from_dict` of a
  # scan hardware source, or of a scan module's settings.
  parameters: Callable[[dict[str, Any]], Any]
  # Its STEM controller, whose controls blank the beam.
  controller: Any


@dataclasses.dataclass(frozen=True)
class SwiftField:
  """A square field of view of `size` px, around `centre_nm` of Swift's coordinates.

  Raises:
    ValueError: if values are not finite or not above 0.
  """

  size: int  # px
  pixel_nm: float  # width of a px
  centre_nm: tuple[float, float] = (0.0, 0.0)  # (row, column)

  def __post_init__(self):
    if not np.isfinite([self.pixel_nm, *self.centre_nm]).all() or self.pixel_nm <= 0:
      raise ValueError(
        f"pixel_size_nm={self.pixel_nm:g} must be above 0, and field_centre_nm={self.centre_nm} "
        "finite."
      )

  @property
  def width_nm(self) -> float:
    """Width of the field."""
    return self.size * self.pixel_nm


@dataclasses.dataclass(frozen=True)
class Handling:
  """How a device and its beam are handled."""

  channel: int = 0  # of the detectors' signals
  # Numbers of positions that a line may have, which include 1; any if empty.
  lines: tuple[int, ...] = ()
  blanker: str | None = BLANKER  # None where there is none
  settle: float = 0.0  # s between unblanking and the first frame
  timeout: float = 2.0  # s that a frame may take beyond its dwell times


_HANDLING = Handling()


class NionSwift(microscope.Microscope):
  """A microscope that Nion Swift drives.

  The beam is unblanked before a segment and blanked after it. Between the frames of a segment the
  device sends it to its idle position, the field's corner: it is on there, which `lit` counts.
  """

  def __init__(
    self,
    instrument: Instrument,
    field: SwiftField,
    dwell: float = 10.0,
    handling: Handling = _HANDLING,
  ):
    """Blanks and parks the beam, and enables one channel.

    Args:
      instrument: Swift's objects.
      field: where the network's pixels are.
      dwell: us at each position.
      handling: of device and beam.

    Raises:
      ValueError: if the field is wider than the device scans.
      MicroscopeError: if the device is scanning, or its beam cannot be blanked.
    """
    self._device, self._parameters, self._controller = instrument
    self._field, self._handling = field, handling
    self.dwell, self.clock = float(dwell), microscope.WallClock()
    self.closed = False
    if self._device.is_scanning:
      raise microscope.MicroscopeError(
        "Nion Swift's scan device is scanning something else: stop its view, and try again."
      )
    self._before = (self._device.channels_enabled, self._device.current_frame_parameters)
    self._fit()
    self.park()
    self._enable([index == handling.channel for index in range(self._device.channel_count)])

  def submit(self, positions: np.ndarray) -> None:
    """Queues a segment; `collect` scans it."""
    super().submit(positions)
    self.lit += len(positions) * self.dwell

  def collect(self) -> np.ndarray:
    """Scans the oldest segment submitted, and returns its intensities [n]."""
    positions = self._queue().popleft()
    try:
      return self._measured(positions)
    except microscope.WithdrawnError as error:
      self.lit -= self.dwell * (len(positions) - len(error.measured) + sum(map(len, self._queue())))
      self._queue().clear()
      raise

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n], in Swift's units, at positions [n, 2] px."""
    self.submit(positions)
    return self.collect()

  def blank(self) -> None:
    """Blanks the beam, or parks it where there is no blanker.

    Raises:
      MicroscopeError: if the instrument does not confirm it.
    """
    if self._handling.blanker is None:
      self._to_corner()
    else:
      self._set_blanker(1.0)

  def park(self) -> None:
    """Blanks the beam, and moves it to the field's corner."""
    self.blank()
    self._to_corner()

  def close(self) -> None:
    """Parks the beam, which stays blanked, and restores the device's channels and parameters."""
    if self.closed:
      return
    self.closed = True
    self.park()
    enabled, parameters = self._before
    self._enable(enabled)
    self._device.set_frame_parameters(parameters)

  def _measured(self, positions):
    """Scans positions [n, 2] px; whatever happens, the beam is off afterwards."""
    if self.closed:
      raise microscope.MicroscopeError("Nion Swift's scan device was given back.")
    handling, field = self._handling, self._field
    inside = np.clip(positions, 0.0, field.size)
    began, values = self.clock.now(), [np.empty(0)]
    try:
      self._check_withdrawn()
      if handling.blanker is not None:
        self._set_blanker(0.0)
        time.sleep(handling.settle)
      for run in straight_runs(inside, handling.lines):
        values.append(self._line(inside[run]))
      self.blank()
    except microscope.WithdrawnError:
      self.blank()
      raise microscope.WithdrawnError(np.concatenate(values)) from None
    except Exception as error:
      microscope.secure(self)
      if isinstance(error, microscope.MicroscopeError):
        raise
      raise microscope.MicroscopeError(
        f"Nion Swift's scan device failed ({type(error).__name__}: {error})."
      ) from error
    finally:
      self.lit += max(0.0, self.clock.now() - began - len(positions) * self.dwell)
    return np.concatenate(values)

  def _check_withdrawn(self):
    if self.withdrawn:
      raise microscope.WithdrawnError()

  def _line(self, positions):
    """Scans a straight run as a frame of 1 x n px."""
    count, size = len(positions), self._field.size
    step = positions[-1] - positions[0]
    pitch = math.hypot(*step) / (count - 1) if count > 1 else _SINGLE
    self._device.set_frame_parameters(
      self._parameters(
        self._context()
        | {
          "subscan_pixel_size": (1, count),
          "subscan_fractional_size": (pitch / size, count * pitch / size),
          "subscan_fractional_center": tuple((positions[0] + positions[-1]) / (2 * size)),
          "subscan_rotation": -math.atan2(*step),  # as Swift draws its line scans
        }
      )
    )
    return self._frame(count)

  def _frame(self, count):
    """Acquires a frame of 1 x `count` px."""
    device = self._device
    self._check_withdrawn()
    number, skip = device.start_frame(False), 0
    last = time.perf_counter() + count * self.dwell / 1e6 + self._handling.timeout
    complete = False
    while not complete:
      elements, complete, bad, _, number, skip = device.read_partial(number, skip)
      if self.withdrawn and not complete:
        device.cancel()
        raise microscope.WithdrawnError()
      if bad or (not complete and time.perf_counter() > last):
        device.cancel()
        raise microscope.MicroscopeError(
          "Nion Swift's scan device calls a frame bad."
          if bad
          else f"Nion Swift's scan device is {self._handling.timeout:g} s late with a frame."
        )
    device.stop()
    data = np.array(elements[0]["data"], np.float64)  # a copy: the device may use its own again
    if data.shape != (1, count):
      raise microscope.MicroscopeError(
        f"Nion Swift's scan device answered with {list(data.shape)} px where [1, {count}] were "
        "asked."
      )
    return data[0]

  def _context(self):
    field = self._field
    return {
      "pixel_size": (field.size, field.size),
      "fov_nm": field.width_nm,
      "center_nm": field.centre_nm,
      "rotation_rad": 0.0,
      "pixel_time_us": self.dwell,
    }

  def _fit(self):
    """Checks that the field lies within the device's largest.

    Raises:
      ValueError: if it does not.
    """
    field = self._field
    widest = self._device.calculate_max_field_of_view(self._parameters(self._context()))
    if field.width_nm / 2 + max(map(abs, field.centre_nm)) > widest / 2:
      raise ValueError(
        f"a field of {field.size} px of {field.pixel_nm:g} nm, {field.width_nm:g} nm wide, centred "
        f"at {field.centre_nm} nm, is not inside the {widest:g} nm that the scan device covers: "
        "give a smaller --pixel_size_nm or another --field_centre_nm."
      )

  def _enable(self, enabled):
    # First those to enable, then those to disable: some devices stop if no channel is enabled, even
    # for a moment.
    for state in (True, False):
      for index, enable in enumerate(enabled):
        if enable is state:
          self._device.set_channel_enabled(index, enable)

  def _to_corner(self):
    device = self._device
    if hasattr(device, "set_scan_context_probe_position"):  # which Swift prefers, too
      from nion.utils import Geometry

      corner = Geometry.FloatPoint(0.0, 0.0)
      device.set_scan_context_probe_position(self._controller.scan_context, corner)
    else:
      device.set_idle_position_by_percentage(0.0, 0.0)

  def _set_blanker(self, value):
    name, confirmed = self._handling.blanker, False
    with contextlib.suppress(Exception):
      confirmed = self._controller.SetValAndConfirm(name, value, 1.0, _CONFIRM_MS)
    if not confirmed:
      raise microscope.MicroscopeError(
        f"Nion Swift does not confirm that its control {name} is {value:g} "
        f"({'blanked' if value else 'unblanked'}): look at the beam, and blank it by hand."
      )


def straight_runs(positions: np.ndarray, lengths: tuple[int, ...] = ()) -> list[slice]:
  """Splits positions [n, 2] px into runs that are straight and equally spaced.

  Args:
    positions: one after another.
    lengths: that runs may have, which include 1; any if empty.

  Returns:
    The runs, in order; together they are all positions.
  """
  runs, first = [], 0
  while first < len(positions):
    count = _reach(positions[first:])
    if lengths:
      count = max(length for length in lengths if length <= count)
    runs.append(slice(first, first + count))
    first += count
  return runs


def _reach(positions):
  """Returns the number of positions, from the first on, that are equally spaced on a line."""
  steps = np.diff(positions, axis=0)
  if not len(steps) or not steps[0].any():
    return 1
  # Positions are compared with the line, so that small errors do not add up.
  line = positions[0] + np.arange(len(positions))[:, None] * steps[0]
  strays = (np.abs(positions - line) > _SAME).any(1)
  return int(strays.argmax()) if strays.any() else len(positions)
