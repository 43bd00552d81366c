"""The small interface to a microscope, and the clocks that scans are timed by.

Positions are (row, column) in px of the field of view, S px wide, origin top-left;
times are in us. To drive another microscope, write a class with `probe`, `blank`,
`park` and `close`.
"""

import abc
import collections
import contextlib
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class MicroscopeError(RuntimeError):
  """A microscope failed in the middle of a scan."""


class WithdrawnError(MicroscopeError):
  """A segment was not measured to its end, because the beam was to be blanked at once.

  Attributes:
    measured: intensities [k] of its first positions, which were measured.
  """

  def __init__(self, measured: Sequence[float] | np.ndarray = ()):
    super().__init__("the beam was blanked at once, before a segment was measured to its end.")
    self.measured = np.asarray(measured, np.float64)


class Clock(Protocol):
  """Time, in us."""

  def now(self) -> float:
    """Returns the time."""

  def wait_until(self, when: float) -> None:
    """Returns at `when`, at once if that has passed."""


class WallClock:
  """Real time."""

  def now(self) -> float:
    """Returns the time since some moment, us."""
    return time.perf_counter_ns() / 1e3

  def wait_until(self, when: float) -> None:
    """Sleeps until `when`."""
    time.sleep(max(0.0, when - self.now()) / 1e6)


class SimulatedClock:
  """Time that passes only when somebody waits.

  Scans run as fast as the computer can, and arithmetic says which decisions are late.
  """

  def __init__(self):
    self._now = 0.0

  def now(self) -> float:
    """Returns the simulated time, us."""
    return self._now

  def wait_until(self, when: float) -> None:
    """Moves on to `when`."""
    self._now = max(self._now, when)


class Microscope(abc.ABC):
  """A beam that is moved over a field of view, and a detector.

  The beam is on only while it is probing. Between segments it is blanked, so that a computer that
  dies in between leaves no beam on the specimen.

  Attributes:
    clock: by which segments are timed.
    dwell: us at each position.
    lit: us that the beam has been on, of what was submitted; 0 if the microscope does not count.
    withdrawn: whether `withdraw` was called.
  """

  clock: Clock
  dwell: float
  lit = 0.0
  withdrawn = False

  @abc.abstractmethod
  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n], in the detector's units, at positions [n, 2] px one after another.

    Raises:
      MicroscopeError: if they could not be measured; the beam is then blanked or parked.
    """

  @abc.abstractmethod
  def blank(self) -> None:
    """Takes the beam off the specimen."""

  @abc.abstractmethod
  def park(self) -> None:
    """Blanks the beam and moves it to the field's corner, where it does least harm if it is not
    blanked.
    """

  @abc.abstractmethod
  def close(self) -> None:
    """Parks the beam and ends the connection."""

  def submit(self, positions: np.ndarray) -> None:
    """Queues a segment, to be scanned as soon as those before it are. By default `collect` scans
    it.

    Raises:
      ValueError: for positions that are not finite.
    """
    self._queue().append(finite(positions))

  def collect(self) -> np.ndarray:
    """Returns the intensities of the oldest segment submitted, once it is scanned.

    Raises:
      WithdrawnError: if it was not measured to its end because of `withdraw`.
      MicroscopeError: as `probe`.
    """
    if self.withdrawn:
      raise WithdrawnError()
    return self.probe(self._queue().popleft())

  def dark(self, count: int) -> np.ndarray | None:
    """Returns intensities while the beam is blanked, [count], for calibrations; None if the
    microscope cannot measure them, as by default.

    Raises:
      MicroscopeError: as `probe`.
    """
    del count
    return None

  def withdraw(self) -> None:
    """Requests that the beam be blanked as soon as possible, for good; any thread may call it.

    Nothing more is sent, and `collect` raises WithdrawnError for segments that are not measured to
    their ends. By default, these are the segments that have not begun. A microscope that can stop
    in the middle of a segment checks `withdrawn` while it scans.
    """
    self.withdrawn = True

  def _queue(self) -> collections.deque:
    if "_submitted" not in self.__dict__:
      self._submitted: collections.deque = collections.deque()
    return self._submitted

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


def finite(positions: np.ndarray) -> np.ndarray:
  """Returns positions [n, 2] px as float64.

  Raises:
    ValueError: if positions are not finite: no beam may be sent there.
  """
  positions = np.asarray(positions, np.float64)
  if not np.isfinite(positions).all():
    raise ValueError("a position is not finite: nothing is sent to the microscope.")
  return positions


def secure(scope: Microscope) -> None:
  """Blanks the beam, or parks it if that fails.

  Further errors are not raised: they must not hide the error that came first.
  """
  for attempt in (scope.blank, scope.park):
    with contextlib.suppress(Exception):
      attempt()
      return
