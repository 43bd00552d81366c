"""Decisions that take time: in a thread of their own, or by a simulated clock."""

from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple, Protocol

import numpy as np

from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live.model import Decider


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

  def ask(self, observation: np.ndarray, flown: np.ndarray | None) -> None:
    """Hands over intensities [n] in [-1, 1], and the direction [2] px that the beam took instead of
    the last one.
    """

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """

  def every(self) -> list[Decision]:
    """Returns every decision asked for, late ones too, once they are ready."""

  def close(self) -> None:
    """Ends what decides."""


class _Recurrence:
  """A model, and the state of one scan."""

  def __init__(self, model: Decider):
    self._model, self._answer, self._spacing = model, model.start(), model.scan.spacing
    self._last = "state_pending" if model.scan.decision_delay else "state_direction"

  def decide(self, observation, flown) -> tuple[np.ndarray, float, float | None]:
    """Decides after a segment.

    Args:
      observation: [n] intensities of the segment, in [-1, 1].
      flown: [2] px, the direction that the beam took instead of the last one; None if it took it.

    Returns:
      The direction [2] px decided, its angle in rad, and the predicted 10 MSE if there is a head.
    """
    if flown is not None:
      self._answer = {**self._answer, self._last: np.asarray(flown, np.float32)[None]}
    self._answer = self._model.step(observation, self._answer)
    error = self._answer.get("predicted_error")
    return (
      self._answer[self._last][0],
      float(self._answer["angle"][0, 0]),
      None if error is None else float(error[0, 0]),
    )


class Threaded:
  """Decides in a thread, while the beam scans."""

  def __init__(self, model: Decider, clock: microscope.Clock):
    self._recurrence, self._clock = _Recurrence(model), clock
    self._pool = futures.ThreadPoolExecutor(1, "decisions")
    self._asked: list[futures.Future] = []

  def ask(self, observation: np.ndarray, flown: np.ndarray | None) -> None:
    """Starts to decide, once the decision before is made; arguments as `Deciding.ask`."""
    self._asked.append(self._pool.submit(self._decide, observation, flown))

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    try:
      left = None if deadline is None else max(0.0, deadline - self._clock.now()) / 1e6
      return self._asked[-1].result(left)
    except futures.TimeoutError:
      return None

  def every(self) -> list[Decision]:
    """Returns every decision asked for, late ones too, once they are ready."""
    return [future.result() for future in self._asked]

  def close(self) -> None:
    """Ends the thread."""
    self._pool.shutdown(cancel_futures=True)

  def _decide(self, observation, flown):
    began = self._clock.now()
    decision = self._recurrence.decide(observation, flown)
    ready = self._clock.now()
    return Decision(*decision, ready, ready - began)


class Simulated:
  """Decides at once, and says so when the simulated clock has reached the time that the decision
  takes.

  Args:
    model: what decides.
    clock: simulated.
    duration: us that decision k takes; None for what it takes on this computer.
  """

  def __init__(
    self, model: Decider, clock: microscope.Clock, duration: Callable[[int], float] | None = None
  ):
    self._recurrence, self._clock, self._duration = _Recurrence(model), clock, duration
    self._made: list[Decision] = []

  def ask(self, observation: np.ndarray, flown: np.ndarray | None) -> None:
    """Decides; arguments as `Deciding.ask`."""
    wall = microscope.WallClock()
    # after the one before
    began = max([self._clock.now(), *(decision.ready for decision in self._made[-1:])])
    started = wall.now()
    answer = self._recurrence.decide(observation, flown)
    took = wall.now() - started if self._duration is None else self._duration(len(self._made))
    self._made.append(Decision(*answer, began + took, took))

  def answer(self, deadline: float | None) -> Decision | None:
    """Returns the decision last asked for, None if it is not ready by `deadline`; None waits for
    it.
    """
    decision = self._made[-1]
    if deadline is not None and decision.ready > deadline:
      self._clock.wait_until(deadline)
      return None
    self._clock.wait_until(decision.ready)
    return decision

  def every(self) -> list[Decision]:
    """Returns every decision asked for."""
    return list(self._made)

  def close(self) -> None:
    """Does nothing."""
