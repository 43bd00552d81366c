"""Wrappers of microscopes: limits of dose and time, a log, and dry runs that only count."""

import csv
import dataclasses
import datetime
import io
import os
import pathlib

import numpy as np

from adaptive_stem_tf import writing
from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live.field import Field

_COLUMNS = ("segment", "event", "utc", "positions", "row_px", "column_px", "beam_on_us")


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of a scan; 0 is no limit.

  Raises:
    ValueError: if a limit is below 0.
  """

  beam_us: float = 0.0  # for which the beam may be on, in all
  pixel_us: float = 0.0  # for which it may be on within one pixel
  seconds: float = 0.0  # from the first segment to the last

  def __post_init__(self):
    for field in dataclasses.fields(self):
      if not getattr(self, field.name) >= 0:
        raise ValueError(f"{field.name}={getattr(self, field.name)} is out of range: at least 0.")


class Guarded(microscope.Microscope):
  """A microscope that refuses segments beyond limits, before they are sent, and keeps a log.

  Args:
    scope: the microscope.
    size: side of its field, px.
    limits: of the scan.
    log: file that receives a row when a segment is sent and when it is measured; None for none.

  Raises:
    ValueError: if the log exists.
    writing.WriteError: if it cannot be written.
  """

  def __init__(
    self,
    scope: microscope.Microscope,
    size: int,
    limits: Limits,
    log: str | os.PathLike | None = None,
  ):
    self._scope, self._limits = scope, limits
    self.clock, self.dwell = scope.clock, scope.dwell
    self._pixels = np.zeros([size, size])  # us
    self._began: float | None = None
    self._sent: list[int] = []  # numbers of segments under way
    self._number = 0
    if log and pathlib.Path(log).exists():
      raise ValueError(f"segment_log={log} exists: give another file.")
    self._file: io.FileIO | None = None
    self._unwritten: OSError | None = None  # why the log ended
    if log:
      with writing.explained(log):
        self._file = open(log, "xb", buffering=0)  # noqa: SIM115 - closed by close
        try:
          self._write(_COLUMNS)
        except OSError:
          pathlib.Path(log).unlink()
          raise

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures, as `submit` and `collect`."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Sends a segment.

    Raises:
      MicroscopeError: if it would go beyond a limit, or the log cannot be written any more.
    """
    if self._unwritten:
      raise microscope.MicroscopeError(
        f"segment_log cannot be written: {writing.told(self._unwritten)} No more segments are sent."
      )
    positions = microscope.finite(positions)
    self._check(positions)
    self._scope.submit(positions)
    self.lit = self._scope.lit
    self._sent.append(self._number)
    self._note(self._number, "sent", positions)
    self._number += 1

  def collect(self) -> np.ndarray:
    """Returns the intensities of the oldest segment."""
    try:
      intensities = self._scope.collect()
    except microscope.WithdrawnError as error:
      self._measured("withdrawn", len(error.measured))
      raise
    self._measured("measured", len(intensities))
    return intensities

  def _measured(self, event, count):
    """Logs how many positions of the oldest segment were measured."""
    self.lit = self._scope.lit  # some microscopes know it only now
    self._note(self._sent.pop(0), event, np.empty([count, 0]))

  def dark(self, count: int) -> np.ndarray | None:
    """Returns what the detector reads while the beam is blanked."""
    return self._scope.dark(count)

  def blank(self) -> None:
    """Blanks the beam."""
    self._scope.blank()

  def park(self) -> None:
    """Parks the beam."""
    self._scope.park()

  def withdraw(self) -> None:
    """Requests that the beam be blanked at once."""
    super().withdraw()
    self._scope.withdraw()

  def close(self) -> None:
    """Closes the microscope and the log."""
    try:
      self._scope.close()
    finally:
      if self._file:
        self._file.close()

  def _check(self, positions):
    limits, now = self._limits, self.clock.now()
    self._began = now if self._began is None else self._began
    if limits.seconds and (now - self._began) / 1e6 > limits.seconds:
      raise microscope.MicroscopeError(
        f"max_seconds={limits.seconds:g} are over: no more segments are sent."
      )
    lit = self._scope.lit + len(positions) * self.dwell
    if limits.beam_us and lit > limits.beam_us:
      raise microscope.MicroscopeError(
        f"another segment would have the beam on for {lit:g} us in all, beyond "
        f"max_beam_us={limits.beam_us:g}: it is not sent."
      )
    places = np.clip(np.floor(positions), 0, len(self._pixels) - 1).astype(int)
    np.add.at(self._pixels, tuple(places.T), self.dwell)
    if limits.pixel_us and self._pixels.max() > limits.pixel_us:
      row, column = np.unravel_index(self._pixels.argmax(), self._pixels.shape)
      raise microscope.MicroscopeError(
        f"another segment would have the beam on pixel {row}, {column} for "
        f"{self._pixels.max():g} us, beyond max_us_per_px={limits.pixel_us:g}: it is not sent."
      )

  def _note(self, number, event, positions):
    utc = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
    first = [f"{value:.4f}" for value in positions[0]] if positions.size else ["", ""]
    try:
      self._write([number, event, utc, len(positions), *first, f"{self.lit:.7g}"])
    except OSError as error:  # the scan goes on: its measurements are worth more than its log
      self._unwritten = error

  def _write(self, row):
    """Writes a line at once, if there is a log: it says what was done even if the computer dies."""
    if not self._file or self._unwritten:
      return
    line = io.StringIO()
    csv.writer(line).writerow(row)
    content, place = line.getvalue().encode(), self._file.tell()
    try:
      while content:  # a disk that fills up takes a part, and then raises an error
        content = content[self._file.write(content) :]
    except OSError:
      self._file.truncate(place)
      raise


class DryRun(microscope.Microscope):
  """Replaces a microscope in a dry run: sends nothing, and counts codes, dose and time.

  Args:
    field: where the network's pixels would be.
    dwell: us at each position.
  """

  def __init__(self, field: Field, dwell: float):
    self.clock, self.dwell, self._field = microscope.SimulatedClock(), dwell, field
    self.positions, self._first, self._last = 0, field.last, field.first

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Returns zeros [n], after the time that measuring would take."""
    codes = self._field.codes(positions)
    self._first = np.minimum(self._first, codes.min(0))
    self._last = np.maximum(self._last, codes.max(0))
    self.positions += len(codes)
    self.lit += len(codes) * self.dwell
    self.clock.wait_until(self.clock.now() + len(codes) * self.dwell)
    return np.zeros(len(codes))

  def blank(self) -> None:
    """Does nothing."""

  park = close = blank

  def told(self) -> str:
    """Returns a sentence that says what the scan would do."""
    return (
      f"Nothing was sent. {self.positions} positions at codes {self._first.tolist()} to "
      f"{self._last.tolist()} (row, column), the beam on for {self.lit:g} us in all, "
      f"{self.clock.now():g} us in time without what the microscope and the model take. The path "
      "is that of a field where there is nothing to see."
    )
