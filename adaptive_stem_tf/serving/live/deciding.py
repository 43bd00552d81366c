"""Decisions that take time: in a thread of their own, or by a simulated clock.

A slow decision holds up those behind it. If decisions take nearly as long as segments, and all that
are behind were made in turn, none would be in time any more. So decisions that are behind are left
out, as few as let the newest be in time: the actor's memory goes on without the intensities of
these segments, but with the positions of the beam.
"""

import collections
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import NamedTuple, Protocol

import numpy as np

from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live.model import Decider

_RECENT = 5  # decisions, whose shortest time is expected of the next


class Decision(NamedTuple):
  """The decision of an actor after a segment."""

  direction: np.ndarray  # [2] px, step between probing positions of the segment that is directed
  angle: float  # rad
  # 10 * MSE of stopping after the segment; None if the model does not predict it
  predicted_error: float | None
  ready: float  # us, time at which it was ready
  busy: float  # us that the model computed


class Deciding(Protocol):
  """Makes the decisions of one scan, in order: each starts from the state after the one before."""

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Requests a decision after a segment.

    Args:
      observation: [n], in [-1, 1].
      flown: [2] px, the direction that the beam took instead of the last decision's; None if it
        took that one.
      deadline: us, time after which the decision is of no use; None if the scan waits for it.
    """

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """

  def made(self) -> list[Decision | None]:
    """Returns the first decisions, up to one that is not ready; None for those left out."""

  def every(self) -> list[Decision | None]:
    """Returns every decision asked for, late ones too, once they are ready; None for those left
    out.
    """

  def close(self) -> None:
    """Ends the thread, if any."""


class _Request(NamedTuple):
  """A request for a decision, with the arguments of `Deciding.ask`."""

  observation: np.ndarray
  flown: np.ndarray | None
  when: float  # us, time of the request
  deadline: float | None  # us


class _Recurrence:
  """A model, and the state of one scan."""

  def __init__(self, model: Decider):
    self._model, self._answer, self._probes = model, model.start(), model.scan.probes
    self._last = "state_pending" if model.scan.decision_delay else "state_direction"
    self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)

  def decide(self, request: _Request) -> tuple[np.ndarray, float, float | None]:
    """Returns direction [2] px, its angle in rad, and the predicted 10 MSE, None without a head."""
    self._fly(request.flown)
    self._answer = self._model.step(request.observation, self._answer)
    error = self._answer.get("predicted_error")
    return (
      self._answer[self._last][0],
      float(self._answer["angle"][0, 0]),
      None if error is None else float(error[0, 0]),
    )

  def leave_out(self, request: _Request) -> None:
    """Goes on to the next segment without a decision."""
    self._fly(request.flown)
    state = self._answer
    position = state["state_position"] + self._probes * state["state_direction"]
    changes = {"state_position": position, "state_segment": state["state_segment"] + 1}
    if "state_pending" in state:
      changes["state_direction"] = state["state_pending"]
    self._answer = {**state, **changes}

  def took(self, busy: float) -> None:
    """Records how long a decision took, us."""
    self._recent.append(busy)

  def behind(self, waiting: Sequence[_Request], now: float) -> int:
    """Returns the number of decisions to leave out, from the first that waits, at the time `now`.

    It is the least number that lets the last be in time. If the last would be too late even then,
    all are left out. But if decisions always take longer than they may, the last is begun all the
    same, since the next would be no better off.
    """
    last, shortest = waiting[-1], min(self._recent, default=0.0)
    if last.deadline is None or not shortest:
      return 0
    fit = int((last.deadline - now) // shortest)
    if fit < 1 and last.deadline - last.when < shortest:
      fit = 1
    return int(np.clip(len(waiting) - fit, 0, len(waiting)))

  def _fly(self, flown):
    if flown is not None:
      self._answer = {**self._answer, self._last: np.asarray(flown, np.float32)[None]}


class Threaded:
  """Decides in a thread, while the beam scans."""

  def __init__(self, model: Decider, clock: microscope.Clock):
    self._recurrence, self._clock = _Recurrence(model), clock
    self._changed, self._closed = threading.Condition(), False
    self._waiting: list[tuple[_Request, futures.Future]] = []
    self._all: list[futures.Future] = []
    self._thread = threading.Thread(target=self._work, name="decisions", daemon=True)
    self._thread.start()

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Starts to decide, once the decision before is made; arguments as `Deciding.ask`."""
    self._all.append(futures.Future())
    with self._changed:
      request = _Request(observation, flown, self._clock.now(), deadline)
      self._waiting.append((request, self._all[-1]))
      self._changed.notify()

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    seconds = None if deadline is None else max(0.0, deadline - self._clock.now()) / 1e6
    try:
      decision = self._all[-1].result(seconds)
    except futures.TimeoutError:
      return None
    if decision is None and deadline is not None:  # left out: the beam goes on at its time
      self._clock.wait_until(deadline)
    return decision

  def made(self) -> list[Decision | None]:
    """Returns the first decisions, up to one that is not ready; None for those left out."""
    return [future.result() for future in itertools.takewhile(_is_made, list(self._all))]

  def every(self) -> list[Decision | None]:
    """Returns every decision asked for, late ones too, once they are ready; None for those left
    out.
    """
    return [future.result() for future in self._all]

  def close(self) -> None:
    """Ends the thread."""
    with self._changed:
      self._closed = True
      self._changed.notify()
    self._thread.join()

  def _work(self):
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._closed or self._waiting)
        if self._closed:
          return
        waiting = [request for request, _ in self._waiting]
        behind = self._recurrence.behind(waiting, self._clock.now())
        batch, self._waiting = self._waiting[: behind + 1], self._waiting[behind + 1 :]
      for number, (request, future) in enumerate(batch):
        try:
          future.set_result(self._decide(request) if number == behind else self._leave_out(request))
        except BaseException as error:  # raised where the scan waits for the decision
          future.set_exception(error)

  def _leave_out(self, request):
    self._recurrence.leave_out(request)

  def _decide(self, request):
    began = self._clock.now()
    decision = self._recurrence.decide(request)
    ready = self._clock.now()
    self._recurrence.took(ready - began)
    return Decision(*decision, ready, ready - began)


def _is_made(future):
  return future.done() and future.exception() is None


class Simulated:
  """Makes decisions when they are asked for, as if they had been made at the times of a simulated
  clock.

  Args:
    model: decides.
    clock: the simulated clock.
    duration: us that decision k takes; None for the time that it takes on this computer.
  """

  def __init__(
    self, model: Decider, clock: microscope.Clock, duration: Callable[[int], float] | None = None
  ):
    self._recurrence, self._clock, self._duration = _Recurrence(model), clock, duration
    self._waiting: list[_Request] = []
    self._decisions: list[Decision | None] = []
    self._free = 0.0  # us, time from which the model is free

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Queues a request; arguments as `Deciding.ask`."""
    self._work(self._clock.now())
    self._waiting.append(_Request(observation, flown, self._clock.now(), deadline))

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    self._work(np.inf if deadline is None else deadline)
    decision = None if self._waiting else self._decisions[-1]
    if decision is None or (deadline is not None and decision.ready > deadline):
      self._clock.wait_until(self._clock.now() if deadline is None else deadline)
      return None
    self._clock.wait_until(decision.ready)
    return decision

  def made(self) -> list[Decision | None]:
    """Returns the first decisions, up to one that has not begun; None for those left out."""
    return list(self._decisions)

  def every(self) -> list[Decision | None]:
    """Returns every decision asked for; None for those left out."""
    self._work(np.inf)
    return list(self._decisions)

  def close(self) -> None:
    """Does nothing."""

  def _work(self, until):
    """Makes the decisions that begin before a time, us."""
    while self._waiting and (began := max(self._free, self._waiting[0].when)) < until:
      for _ in range(self._recurrence.behind(self._waiting, began)):
        self._recurrence.leave_out(self._waiting.pop(0))
        self._decisions.append(None)
      if self._waiting:
        self._decisions.append(self._decide(self._waiting.pop(0), began))

  def _decide(self, request, began):
    wall = microscope.WallClock()
    start = wall.now()
    answer = self._recurrence.decide(request)
    took = wall.now() - start if self._duration is None else self._duration(len(self._decisions))
    self._recurrence.took(took)
    self._free = began + took
    return Decision(*answer, self._free, took)
