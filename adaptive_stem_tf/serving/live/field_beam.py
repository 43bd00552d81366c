"""The beam of a microscope, or of a digital twin, that scans a whole field in rounds."""

import collections
import time
from collections.abc import Callable

import numpy as np

from adaptive_stem_tf.serving import beam as beam_lib
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import microscope

# A scan generator's server buffers commands and samples. With more positions under way than it has
# room for, both ends would block, each waiting for the other to read.
SEGMENT, UNDER_WAY = 4096, 16_384  # positions
# Nor may positions be under way for longer than somebody who stops the scan is ready to wait.
_SEGMENT_US, _UNDER_WAY_US = 1e5, 4e5

Watcher = Callable[[np.ndarray, np.ndarray], None]  # positions [n, 2] px, intensities [n]


class FieldBeam(beam_lib.Beam):
  """Visits the middle of pixels, in segments; a simulated clock goes on while a model computes.

  Args:
    scope: the microscope.
    decision_us: time that planning a round takes by a simulated clock, us; 0 for the time that it
      takes here.
    stop: when it is requested, no more segments are sent, and the beam is parked once those under
      way are measured, or at once if it says so.
    watch: called after every segment.
  """

  def __init__(
    self,
    scope: microscope.Microscope,
    decision_us: float = 0.0,
    stop: stop_lib.Stop | None = None,
    watch: Watcher | None = None,
  ):
    super().__init__(scope.probe)
    self._scope, self._decision_us, self._watch = scope, decision_us, watch
    self._segment = int(np.clip(_SEGMENT_US / scope.dwell, 1, SEGMENT))
    self._most = int(np.clip(_UNDER_WAY_US / scope.dwell, self._segment, UNDER_WAY))
    self.stop = self.stop if stop is None else stop
    self.stop.on_blank(scope.withdraw)
    self._counts: collections.deque[int] = collections.deque()  # segments of what was submitted
    self._waiting: collections.deque[np.ndarray] = collections.deque()  # segments not sent yet
    self._sent: collections.deque[np.ndarray] = collections.deque()  # segments under way
    self._thinking: float | None = None  # s, time since which the beam waits for positions

  def submit(self, positions: np.ndarray) -> None:
    """Queues positions [N, 2] px."""
    if self._thinking is not None and isinstance(self._scope.clock, microscope.SimulatedClock):
      took = self._decision_us or 1e6 * (time.perf_counter() - self._thinking)
      self._scope.clock.wait_until(self._scope.clock.now() + took)
    self._thinking = None
    segments = np.split(positions, range(self._segment, len(positions), self._segment))
    self._counts.append(len(segments))
    self._waiting.extend(segments)
    self._send()

  def collect(self) -> np.ndarray:
    """Returns the intensities [N] of the oldest positions submitted, once they are measured.

    They are fewer if the beam was stopped or failed (`failure`); it is then blanked.
    """
    values = [np.empty(0)]
    for _ in range(self._counts.popleft()):
      if not self._sent:  # the beam was stopped, or failed, before this segment was sent
        break
      self._guarded(lambda: values.append(self._collected()))
      positions = self._sent.popleft()
      if self._scope.withdrawn and len(values[-1]) < len(positions):
        self._sent.clear()
      if self._watch and not self.failure:
        self._watch(positions[: len(values[-1])], values[-1])
      self._send()
    if self.stop and not self._sent:
      self._guarded(self._scope.park)
    self._thinking = time.perf_counter()
    return np.concatenate(values)

  def _collected(self):
    """Returns the intensities of the oldest segment under way: fewer if the beam was withdrawn."""
    try:
      return self._scope.collect()
    except microscope.WithdrawnError as error:
      self.stop.request(str(error))
      return error.measured

  def _send(self):
    while self._waiting and not self.ended and self._has_room():
      self._guarded(lambda: self._scope.submit(self._waiting[0] + 0.5))
      self._sent.append(self._waiting.popleft())

  def _has_room(self):
    return sum(map(len, self._sent)) + len(self._waiting[0]) <= self._most

  def _guarded(self, act):
    """Calls `act`; if that fails, blanks the beam and keeps the failure."""
    if self.failure:
      return
    try:
      act()
    except microscope.MicroscopeError as error:
      self.failure = error
      microscope.secure(self._scope)
