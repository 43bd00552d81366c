"""Decisions that take time: in a thread of their own, or by a simulated clock.

A decision that is slow holds up those behind it. If all of them were made up for in turn, none
would be in time any more where decisions take nearly as long as segments. So decisions that are
behind are left out, as few as let the newest be in time: the actor's memory goes on without what
these segments measured, from where the beam has been meanwhile.
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

_RECENT = 5  # decisions, whose shortest time says what the next may take


class Decision(NamedTuple):
  """What an actor decided after a segment."""

  direction: np.ndarray  # [2] px, step between probing positions of the segment that is directed
  angle: float  # rad
  # 10 * MSE of stopping after the segment; None if the model does not say
  predicted_error: float | None
  ready: float  # us, when it was there
  busy: float  # us that the model was at it


class Deciding(Protocol):
  """Decisions of one scan, in order: each starts from the state that the one before left."""

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Hands over what a segment measured.

    Args:
      observation: [n], in [-1, 1].
      flown: [2] px, the direction that the beam took instead of the last decision's; None if it
        took that.
      deadline: us, after which the decision is of no use; None if it will be waited for.
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
    """Ends what decides."""


class _Asked(NamedTuple):
  """What was asked."""

  observation: np.ndarray
  flown: np.ndarray | None
  when: float  # us
  deadline: float | None  # us


class _Recurrence:
  """A model, and the state of one scan."""

  def __init__(self, model: Decider):
    self._model, self._answer, self._probes = model, model.start(), model.scan.probes
    self._last = "state_pending" if model.scan.decision_delay else "state_direction"
    self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)

  def decide(self, asked: _Asked) -> tuple[np.ndarray, float, float | None]:
    """Returns the direction [2] px decided, its angle in rad, and the predicted 10 MSE if there is
    a head.
    """
    self._fly(asked.flown)
    self._answer = self._model.step(asked.observation, self._answer)
    error = self._answer.get("predicted_error")
    return (
      self._answer[self._last][0],
      float(self._answer["angle"][0, 0]),
      None if error is None else float(error[0, 0]),
    )

  def leave_out(self, asked: _Asked) -> None:
    """Goes on to the next segment without a decision."""
    self._fly(asked.flown)
    state = self._answer
    position = state["state_position"] + self._probes * state["state_direction"]
    moved = {"state_position": position, "state_segment": state["state_segment"] + 1}
    if "state_pending" in state:
      moved["state_direction"] = state["state_pending"]
    self._answer = {**state, **moved}

  def took(self, busy: float) -> None:
    """Takes down how long a decision took, us."""
    self._recent.append(busy)

  def behind(self, waiting: Sequence[_Asked], now: float) -> int:
    """Returns how many of the decisions that wait, the first, are left out at a time.

    As few as let the last be in time. If even that is too late, all, unless decisions take longer
    than they may: then the last is begun all the same, since the next would be no better off.
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
    self._waiting: list[tuple[_Asked, futures.Future]] = []
    self._all: list[futures.Future] = []
    self._thread = threading.Thread(target=self._work, name="decisions", daemon=True)
    self._thread.start()

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Starts to decide, once the decision before is made; arguments as `Deciding.ask`."""
    self._all.append(futures.Future())
    with self._changed:
      asked = _Asked(observation, flown, self._clock.now(), deadline)
      self._waiting.append((asked, self._all[-1]))
      self._changed.notify()

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    left = None if deadline is None else max(0.0, deadline - self._clock.now()) / 1e6
    try:
      decision = self._all[-1].result(left)
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
        waiting = [asked for asked, _ in self._waiting]
        behind = self._recurrence.behind(waiting, self._clock.now())
        taken, self._waiting = self._waiting[: behind + 1], self._waiting[behind + 1 :]
      for number, (asked, future) in enumerate(taken):
        try:
          future.set_result(self._decide(asked) if number == behind else self._leave_out(asked))
        except BaseException as error:  # whoever waits for it is told
          future.set_exception(error)

  def _leave_out(self, asked):
    self._recurrence.leave_out(asked)

  def _decide(self, asked):
    began = self._clock.now()
    decision = self._recurrence.decide(asked)
    ready = self._clock.now()
    self._recurrence.took(ready - began)
    return Decision(*decision, ready, ready - began)


def _is_made(future):
  return future.done() and future.exception() is None


class Simulated:
  """Decides when somebody wants to know, as if it had been decided at the time that a simulated
  clock says.

  Args:
    model: what decides.
    clock: simulated.
    duration: us that decision k takes; None for what it takes on this computer.
  """

  def __init__(
    self, model: Decider, clock: microscope.Clock, duration: Callable[[int], float] | None = None
  ):
    self._recurrence, self._clock, self._duration = _Recurrence(model), clock, duration
    self._waiting: list[_Asked] = []
    self._made: list[Decision | None] = []
    self._free = 0.0  # us, when the model is free

  def ask(
    self, observation: np.ndarray, flown: np.ndarray | None, deadline: float | None = None
  ) -> None:
    """Takes down what is asked; arguments as `Deciding.ask`."""
    self._work(self._clock.now())
    self._waiting.append(_Asked(observation, flown, self._clock.now(), deadline))

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    self._work(np.inf if deadline is None else deadline)
    decision = None if self._waiting else self._made[-1]
    if decision is None or (deadline is not None and decision.ready > deadline):
      self._clock.wait_until(self._clock.now() if deadline is None else deadline)
      return None
    self._clock.wait_until(decision.ready)
    return decision

  def made(self) -> list[Decision | None]:
    """Returns the first decisions, up to one that has not begun; None for those left out."""
    return list(self._made)

  def every(self) -> list[Decision | None]:
    """Returns every decision asked for; None for those left out."""
    self._work(np.inf)
    return list(self._made)

  def close(self) -> None:
    """Does nothing."""

  def _work(self, until):
    """Decides what begins before a time, us."""
    while self._waiting and (began := max(self._free, self._waiting[0].when)) < until:
      for _ in range(self._recurrence.behind(self._waiting, began)):
        self._recurrence.leave_out(self._waiting.pop(0))
        self._made.append(None)
      if self._waiting:
        self._made.append(self._decide(self._waiting.pop(0), began))

  def _decide(self, asked, began):
    wall = microscope.WallClock()
    started = wall.now()
    answer = self._recurrence.decide(asked)
    took = wall.now() - started if self._duration is None else self._duration(len(self._made))
    self._recurrence.took(took)
    self._free = began + took
    return Decision(*answer, self._free, took)
