"""Ending a scan early without losing what it measured."""

import signal
import threading
from typing import Any


class IncompleteScan(RuntimeError):
  """A scan failed after it had measured something; the beam was blanked.

  Attributes:
    scan: what was measured until then, and its completion: what the scan would have returned.
  """

  def __init__(self, failure: Exception, scan: Any):
    super().__init__(str(failure))
    self.scan = scan


class NotBegunError(RuntimeError):
  """A scan was stopped before it had measured anything."""


class Stop:
  """A request to end a scan: no more segments are sent, and what was measured is completed.

  Any thread may make it. As a context manager it takes SIGTERM and Ctrl-C for requests; the second
  ends the command at once, blanked by whoever holds the microscope.
  """

  def __init__(self):
    self._reason: str | None = None
    self._signal = 0
    self._previous: dict[int, Any] = {}

  @property
  def reason(self) -> str | None:
    """Why the scan is to end, such as `SIGTERM`; None while it is to go on."""
    return self._reason

  @property
  def exit_code(self) -> int:
    """What a command ends with that a signal stopped, as shells have it; 0 if none did."""
    return 128 + self._signal if self._signal else 0

  def __bool__(self) -> bool:
    return self._reason is not None

  def check(self) -> None:
    """Raises NotBegunError if the end is requested: for the time before a scan begins."""
    if self:
      raise NotBegunError(f"the scan was stopped by {self.reason} before anything was measured.")

  def request(self, reason: str) -> None:
    """Requests the end; the first reason is kept."""
    self._reason = self._reason or reason

  def __enter__(self) -> "Stop":
    if threading.current_thread() is threading.main_thread():
      self._previous = {
        number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)
      }
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}

  def _on_signal(self, number, _):
    if self:
      raise KeyboardInterrupt
    self._signal = number
    self.request("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
