"""The live scan when decisions take longer than segments."""

import dataclasses
import threading

import numpy as np
import pytest

from adaptive_stem_tf.serving.live import deciding, loop, microscope, twin
from tests.unit.serving.live.scans import DIAGONAL, IMAGE, SEGMENT, mapping, path_of, scan
from tests.unit.serving.live.scripted import ANGLES, Scripted

# Segments take 40 us, and decisions may take as long.


def test_decisions_in_time_let_the_beam_wait_only_without_a_delay():
  scanned, scope = scan(Scripted(), took=30.0)
  assert [timing.idle_us for timing in scanned.timings] == [30, 30, 30] and not any(
    t.late for t in scanned.timings
  )
  assert scope.clock.now() == 4 * SEGMENT + 3 * 30
  scanned, scope = scan(Scripted(delay=1), took=30.0)
  assert [timing.idle_us for timing in scanned.timings] == [0, 0] and not any(
    t.late for t in scanned.timings
  )
  assert scope.clock.now() == 4 * SEGMENT
  assert [(t.took_us, t.deadline_us, t.asked_us) for t in scanned.timings] == [
    (30, 40, 40),
    (30, 40, 80),
  ]


def test_late_decisions_are_waited_for_if_told_so():
  scanned, scope = scan(Scripted(), took=[10.0, 100.0, 40.0], late="wait")
  assert [timing.late for timing in scanned.timings] == [False, True, False]
  np.testing.assert_allclose(scanned.positions, path_of(DIAGONAL, *ANGLES[:3]), atol=1e-4)
  assert scope.clock.now() == 4 * SEGMENT + 150
  assert [timing.idle_us for timing in scanned.timings] == [10, 100, 40]
  scanned, scope = scan(Scripted(delay=1), took=[70.0, 10.0], late="wait")
  assert [timing.idle_us for timing in scanned.timings] == [30, 0]
  assert scope.clock.now() == 4 * SEGMENT + 30


MIRRORED = ANGLES[0] - np.pi  # in both axes


def test_the_last_direction_is_repeated_when_a_decision_is_late():
  follows = Scripted()
  scanned, scope = scan(follows, took=[10.0, 60.0, 10.0])
  # The second decision comes 20 us too late, while the third segment is scanned: the actor's third
  # starts from the state it left, with the direction that was flown: 0.5 rad, mirrored, since it
  # would end at (21.9, 17.4).
  np.testing.assert_allclose(
    scanned.positions, path_of(DIAGONAL, ANGLES[0], MIRRORED, ANGLES[2]), atol=1e-4
  )
  assert [timing.late for timing in scanned.timings] == [False, True, False]
  assert [timing.took_us for timing in scanned.timings] == [10, 60, 10]
  np.testing.assert_allclose([t.angle for t in scanned.timings], ANGLES[:3], rtol=1e-6)
  np.testing.assert_allclose(
    [t.flown for t in scanned.timings], [ANGLES[0], MIRRORED, ANGLES[2]], rtol=1e-6
  )
  assert int(follows.states[2]["state_time"][0]) == 2
  flown = np.sqrt(2) * np.array([np.cos(MIRRORED), np.sin(MIRRORED)])
  np.testing.assert_allclose(follows.states[2]["state_direction"][0], flown, rtol=1e-6)
  assert scope.clock.now() == 4 * SEGMENT + 10 + 40 + 10


def test_a_direction_that_is_repeated_is_mirrored_at_the_border():
  # Four segments along the diagonal from (8, 8) would end at (24, 24): the second ends on the
  # border, at 16.
  scanned, _ = scan(Scripted(), took=1e6)
  np.testing.assert_allclose(
    scanned.positions, path_of(DIAGONAL, DIAGONAL, DIAGONAL - np.pi, DIAGONAL - np.pi), atol=1e-4
  )


def test_with_a_delay_too_the_last_direction_is_repeated():
  follows = Scripted(delay=1)
  scanned, scope = scan(follows, took=[50.0, 10.0])
  # Two segments along the diagonal end on the border: the third, repeated, is mirrored there.
  np.testing.assert_allclose(
    scanned.positions, path_of(DIAGONAL, DIAGONAL, DIAGONAL - np.pi, ANGLES[1]), atol=1e-4
  )
  np.testing.assert_allclose(follows.states[1]["state_pending"], -1.0)
  # Decision 1 is asked for at 80 us, but decision 0 is busy until 90: it takes 20 us, and the beam
  # waits for neither.
  assert [(timing.took_us, timing.busy_us) for timing in scanned.timings] == [(50, 50), (20, 10)]
  assert scope.clock.now() == 4 * SEGMENT


@pytest.mark.parametrize("delay", [0, 1])
def test_one_slow_decision_does_not_make_all_later_ones_late(delay):
  follows = Scripted(delay=delay)
  follows.scan = dataclasses.replace(follows.scan, segments=14)
  took = [36.0] * 14
  took[2] = 150.0  # of 40 us
  scanned, _ = scan(follows, took=took)
  late = [timing.late for timing in scanned.timings]
  behind = 3 if delay else 1
  assert late == [False] * 2 + [True] * (1 + behind) + [False] * (10 - behind - delay)
  times = [timing.took_us for timing in scanned.timings[3:]]
  assert times[:behind] == [None] * behind and times[behind:] == [36] * (len(times) - behind)
  # The actor goes on from where the beam is, after as many segments.
  state = follows.states[3]
  starts = np.concatenate([[[8.0, 8.0]], 8 + 4 * np.cumsum(_steps(scanned), 0)])
  np.testing.assert_allclose(state["state_position"][0], starts[3 + behind], atol=1e-3)
  assert state["state_segment"][0] == 3 + behind


def _steps(scanned):
  """Returns the steps [T, 2] px that were flown."""
  flown = [DIAGONAL] * (14 - len(scanned.timings)) + [timing.flown for timing in scanned.timings]
  return np.sqrt(2) * np.stack([np.cos(flown), np.sin(flown)], 1)


def test_decisions_that_are_always_too_slow_are_made_all_the_same():
  follows = Scripted(delay=1)
  follows.scan = dataclasses.replace(follows.scan, segments=14)
  scanned, _ = scan(follows, took=60.0)
  made = [timing.busy_us is not None for timing in scanned.timings]
  assert all(timing.late for timing in scanned.timings) and 7 <= sum(made) < 12


class Hand:
  """A clock that is set by hand."""

  time = 0.0

  def now(self):
    return self.time

  def wait_until(self, when):
    self.time = max(self.time, when)


class Blocked(Scripted):
  """Decides when it is let."""

  def __init__(self):
    super().__init__(delay=1)
    self.let = threading.Semaphore(0)
    self.begun = threading.Semaphore(0)

  def step(self, observation, answer):
    self.begun.release()
    assert self.let.acquire(timeout=20)
    return super().step(observation, answer)


def test_in_real_time_too_decisions_that_are_behind_are_left_out():
  follows, clock, flown = Blocked(), Hand(), np.ones(2)
  decides = deciding.Threaded(follows, clock)
  decides.ask(np.zeros(4), None, 100.0)
  follows.begun.acquire(timeout=20)
  clock.time = 40.0
  follows.let.release()  # took 40
  assert decides.answer(None).busy == 40
  decides.ask(np.zeros(4), None, 200.0)
  follows.begun.acquire(timeout=20)
  for time in (200.0, 300.0, 400.0):
    clock.time = time
    decides.ask(np.full(4, time), flown, time + 100.0)
  clock.time = 410.0
  follows.let.release(3)  # two of three that wait fit into the 90 us that are left
  seen = [decision is not None for decision in decides.every()]
  assert seen == [True, True, False, True, True] and decides.made() == decides.every()
  assert [int(values[0]) for values in follows.seen] == [0, 0, 300, 400]
  decides.close()


def test_a_deadline_can_be_given():
  scanned, _ = scan(Scripted(), took=30.0, deadline=25.0)
  assert all(timing.late and timing.deadline_us == 25 for timing in scanned.timings)
  np.testing.assert_allclose(scanned.positions[:8], path_of(DIAGONAL, DIAGONAL), atol=1e-4)


class Gated(Scripted):
  """Takes its second decision only when a gate opens."""

  def __init__(self):
    super().__init__()
    self.gate = threading.Event()

  def step(self, observation, answer):
    if len(self.seen) == 1:
      assert self.gate.wait(20)
    return super().step(observation, answer)


def test_in_real_time_a_late_decision_is_repeated_and_its_state_kept():
  follows = Gated()
  # segments of 160 ms
  scope = twin.DigitalTwin(IMAGE, twin.Faults(dwell=4e4), microscope.WallClock())
  collect = scope.collect

  def opening():
    if len(scope._finished) and scope.clock.now() - began > 4e5:  # the third segment is under way
      follows.gate.set()
    return collect()

  began, scope.collect = scope.clock.now(), opening
  decides = deciding.Threaded(follows, scope.clock)
  scanned = loop.run(scope, follows, decides, mapping((-1, 1)))
  decides.close()
  assert [timing.late for timing in scanned.timings] == [False, True, False]
  np.testing.assert_allclose(
    scanned.positions, path_of(DIAGONAL, ANGLES[0], MIRRORED, ANGLES[2]), atol=1e-4
  )
  assert scanned.timings[1].took_us > scanned.timings[1].deadline_us == 1.6e5
