"""Ending a scan early without losing what it measured."""

import signal
import threading
from collections.abc import Callable
from typing import Any

# Blanks the beam at once; Windows has no such signal.
_BLANK_NOW = getattr(signal, "SIGUSR1", None)


class IncompleteScan(RuntimeError):
  """A scan failed after it had measured something; the beam was blanked.

  Attributes:
    scan: the scan so far, completed: of the type that the scan would have returned.
  """

  def __init__(self, failure: Exception, scan: Any):
    super().__init__(str(failure))
    self.scan = scan


class NotBegunError(RuntimeError):
  """A scan was stopped before it had measured anything."""


class Stop:
  """A request to end a scan: no more segments are sent, and the scan so far is completed.

  Any thread may make it. Segments under way are measured first, unless the beam is to be blanked at
  once. As a context manager, it takes SIGTERM and Ctrl-C for requests, and SIGUSR1 for a request to
  blank at once. The second SIGTERM or Ctrl-C ends the command; the code that holds the microscope
  then blanks the beam.
  """

  def __init__(self):
    self._reason: str | None = None
    self._at_once = False
    self._blank: Callable[[], None] = lambda: None
    self._signal = 0
    self._previous: dict[int, Any] = {}

  @property
  def reason(self) -> str | None:
    """Why the scan is to end, such as `SIGTERM`; None while it is to go on."""
    return self._reason

  @property
  def exit_code(self) -> int:
    """Exit code of a command that a signal stopped, by the convention of shells; 0 if none did."""
    return 128 + self._signal if self._signal else 0

  def __bool__(self) -> bool:
    return self._reason is not None

  def check(self) -> None:
    """Raises NotBegunError if the end is requested; to be called before a scan begins."""
    if self:
      raise NotBegunError(f"the scan was stopped by {self.reason} before anything was measured.")

  def request(self, reason: str, at_once: bool = False) -> None:
    """Requests the end; the first reason is kept.

    Args:
      reason: who or what requests it.
      at_once: whether to blank the beam at once, without measuring segments under way.
    """
    self._reason = self._reason or reason
    if at_once:
      self._at_once = True
      self._blank()

  def on_blank(self, blank: Callable[[], None]) -> None:
    """Sets the function that blanks the beam at once; any thread, or a signal handler, calls it."""
    self._blank = blank
    if self._at_once:  # this was requested before
      blank()

  def __enter__(self) -> "Stop":
    if threading.current_thread() is threading.main_thread():
      self._previous = {
        number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)
      }
      if _BLANK_NOW is not None:
        self._previous[_BLANK_NOW] = signal.signal(_BLANK_NOW, self._on_blank_now)
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}

  def _on_blank_now(self, number, _):
    self._signal = self._signal or number
    self.request(signal.Signals(number).name, at_once=True)

  def _on_signal(self, number, _):
    if self:
      raise KeyboardInterrupt
    self._signal = number
    self.request("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
