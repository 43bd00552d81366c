"""The live scan: order, lateness, stopping, failure."""

import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import edge
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import deciding, engines, loop, microscope, model, twin
from adaptive_stem_tf.serving.live.rules import Rules
from tests import exports as exports_lib
from tests import tiny
from tests.unit.serving.live.scripted import ANGLES, Scripted

IMAGE = tiny.images(1)[0, ..., 0]
SEGMENT = 4 * 10.0  # us: probes times dwell


def scan(follows, took=0.0, known=(-1.0, 1.0), scope=None, watch=None, **rules):
  """Scans IMAGE with decisions that take `took` us, or took[k]."""
  scope = scope or twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  duration = (lambda k: took[k]) if isinstance(took, list) else lambda _: took
  decides = deciding.Simulated(follows, scope.clock, duration)
  return loop.run(scope, follows, decides, mapping(known), Rules(**rules), watch), scope


def mapping(known):
  """Returns a range of intensities, for one specimen: a known one, or that of what is measured."""
  return (Normalisation("known", *known) if known else Normalisation("measured")).start(1)


def path_of(*angles):
  """Returns the positions of segments at angles, from the centre, clipped to the field."""
  start, segments = np.full(2, 8.0), []
  for angle in angles:
    step = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    segments.append(start + np.arange(4)[:, None] * step)
    start = start + 4 * step
  return np.clip(np.concatenate(segments), 0, 15)


DIAGONAL = np.pi / 4


@pytest.mark.parametrize(
  "delay, flown", [(0, (DIAGONAL, *ANGLES[:3])), (1, (DIAGONAL, DIAGONAL, *ANGLES[:2]))]
)
def test_a_script_is_followed(delay, flown):
  follows = Scripted(delay=delay)
  scanned, scope = scan(follows)
  np.testing.assert_allclose(scanned.positions, path_of(*flown), atol=1e-4)
  pixels = np.floor(scanned.positions).astype(int)
  np.testing.assert_allclose(scanned.intensities, IMAGE[pixels[:, 0], pixels[:, 1]])
  np.testing.assert_allclose(
    np.concatenate(follows.seen), scanned.intensities[: 4 * len(follows.seen)]
  )
  assert len(follows.seen) == 3 - delay and [timing.directs for timing in scanned.timings] == [
    segment + 1 + delay for segment in range(3 - delay)
  ]
  assert scanned.segments == 4 and not scanned.stopped_early and scope.blanked


def test_what_lies_outside_the_range_is_neither_clipped_for_the_model_nor_for_the_user():
  follows, scope = Scripted(), twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  decides = deciding.Simulated(follows, scope.clock, lambda _: 0.0)
  ranges = Normalisation("known", -0.1, 0.1).start(1)
  scanned = loop.run(scope, follows, decides, ranges)
  assert np.abs(scanned.intensities).max() > 0.2
  np.testing.assert_allclose(np.concatenate(follows.seen), 10 * scanned.intensities[:12], atol=1e-5)
  seen = follows.partial[..., 1] > 0
  np.testing.assert_allclose(follows.partial[seen, 0], 10 * scanned.partial[seen, 0], atol=1e-5)


def test_what_was_measured_is_completed_in_the_detectors_units():
  follows = Scripted()
  offset = twin.DigitalTwin(500 + 100 * IMAGE.astype(np.float64), twin.Faults(dwell=10.0))
  scanned, _ = scan(follows, scope=offset, known=(400.0, 600.0))
  measured = scanned.partial[..., 1] > 0
  np.testing.assert_allclose(
    scanned.partial[..., 0][measured], (500 + 100 * IMAGE)[measured], rtol=1e-5
  )
  np.testing.assert_allclose(follows.partial[..., 0][measured], IMAGE[measured], atol=1e-5)
  np.testing.assert_allclose(scanned.completion[~measured], 550.0)  # 0.5 of -1 to 1


def test_without_a_calibration_the_first_segments_range_is_taken_and_kept():
  follows = Scripted()
  scanned, _ = scan(follows, known=None)
  first = scanned.intensities[:4]
  assert scanned.black_and_white == (first.min(), first.max())
  assert follows.seen[0].min() == -1 and follows.seen[0].max() == 1
  assert max(np.abs(np.concatenate(follows.seen))) > 1  # later ones are outside that range


def test_vacuum_becomes_0_until_there_is_a_range():
  follows, image = Scripted(), np.full([16, 16], 7.0)
  image[13:] = 9.0  # under the second segment, but for its first probe
  scan(follows, known=None, scope=twin.DigitalTwin(image, twin.Faults(dwell=10.0)))
  assert (follows.seen[0] == 0).all() and set(follows.seen[1]) == {-1.0, 1.0}


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


def test_a_scan_stops_when_its_predicted_error_is_low():
  errors = [3.0, 0.9, 0.2, 0.1]
  scanned, scope = scan(Scripted(errors), stop_below=1.0)
  assert (
    scanned.segments == 2
    and scanned.stopped_early
    and len(scanned.positions) == 8
    and scope.blanked
  )
  assert [timing.predicted_error for timing in scanned.timings] == [3.0]
  scanned, _ = scan(Scripted(errors, delay=1), stop_below=1.0)
  assert scanned.segments == 3 and scanned.stopped_early  # one was in flight
  assert scan(Scripted(errors), stop_below=0.05)[0].segments == 4
  assert not scan(Scripted(errors))[0].stopped_early


def test_a_watcher_sees_every_segment():
  seen, known = [], []

  def watch(progress):
    seen.append((len(progress.positions), sum(map(len, progress.intensities))))
    known.append([timing.late for timing in progress.timings()])
    assert progress.ranges.low == -1

  scanned, _ = scan(Scripted(), took=[10.0, 60.0, 10.0], watch=watch)
  assert seen == [(1, 4), (2, 8), (3, 12), (4, 16)]
  assert known == [[], [False], [False, True], [False, True, False]]


class Failing(twin.DigitalTwin):
  """Fails in its third segment, in a way of one's choice; its blanker may be broken too."""

  def __init__(self, failure, blanker=True):
    super().__init__(IMAGE, twin.Faults(dwell=10.0))
    self.failure, self.blanker, self.count, self.parked = failure, blanker, 0, False

  def collect(self):
    intensities = super().collect()
    self.blanked = False  # a beam that stays on unless somebody acts
    self.count += 1
    return self.failure(intensities) if self.count == 3 else intensities

  def blank(self):
    if not self.blanker:
      raise OSError("the blanker is broken too")
    super().blank()

  def park(self):
    self.parked = True
    super().park()


def breaks(_):
  raise microscope.MicroscopeError("the lens blew up")


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize(
  "failure, said",
  [
    (breaks, "the lens blew up"),
    (lambda values: values[:2], "4 positions .* shape \\[2\\]"),
    (lambda values: values * np.nan, "4 of 4 intensities are NaN"),
  ],
)
def test_the_beam_is_blanked_when_a_microscope_fails(failure, said, delay):
  scope = Failing(failure)
  with pytest.raises(stop_lib.IncompleteScan, match=said):
    scan(Scripted(delay=delay), scope=scope)
  assert scope.blanked and not scope.parked
  scope = Failing(failure, blanker=False)
  with pytest.raises(stop_lib.IncompleteScan, match=said):
    scan(Scripted(delay=delay), scope=scope)
  assert scope.parked


@pytest.mark.parametrize("delay", [0, 1])
def test_what_was_measured_before_a_failure_is_kept(delay):
  whole, _ = scan(Scripted(delay=delay))
  with pytest.raises(stop_lib.IncompleteScan) as failed:
    scan(Scripted(delay=delay), scope=Failing(breaks))
  kept = failed.value.scan
  np.testing.assert_array_equal(kept.positions, whole.positions[:8])
  np.testing.assert_array_equal(kept.intensities, whole.intensities[:8])
  assert kept.segments == 2 and kept.ended_by == "the lens blew up" and whole.ended_by is None
  assert np.isfinite(kept.completion).all() and len(kept.timings) == 2


def test_a_model_that_fails_too_leaves_what_was_measured():
  follows = Scripted()

  def raises(*_):
    raise ValueError("out of tune")

  follows.step = follows.complete = raises
  with pytest.raises(stop_lib.IncompleteScan, match="out of tune") as failed:
    scan(follows)
  kept = failed.value.scan
  assert len(kept.intensities) == 4 and np.isnan(kept.completion).all() and kept.timings == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_direction_that_is_not_finite_ends_the_scan_before_the_beam_goes_there(value):
  follows, scope = Scripted(), twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  step = follows.step
  follows.step = lambda *asked: {**step(*asked), "state_direction": np.full([1, 2], value)}
  with pytest.raises(stop_lib.IncompleteScan, match="which is not finite: nothing is sent"):
    scan(follows, scope=scope)
  assert scope.blanked and scope.clock.now() == SEGMENT  # the first segment, decided by nobody


@pytest.mark.parametrize("delay", [0, 1])
def test_a_scan_is_stopped_on_request(delay):
  whole, _ = scan(Scripted(delay=delay))
  stop, scope = stop_lib.Stop(), Failing(lambda values: values)
  follows = Scripted(delay=delay)
  watch = lambda progress: len(progress.positions) == 2 and stop.request("a person")
  decides = deciding.Simulated(follows, scope.clock, lambda _: 10.0)
  scanned = loop.run(scope, follows, decides, mapping((-1, 1)), Rules(), watch, stop)
  measured = 8 + 4 * delay  # what is under way is measured
  np.testing.assert_array_equal(scanned.intensities, whole.intensities[:measured])
  assert scanned.ended_by == "a person" and not scanned.stopped_early
  assert scope.blanked and scope.parked and scanned.completion.shape == (16, 16)


@pytest.mark.parametrize("delay", [0, 1])
def test_a_beam_is_blanked_at_once_on_request(delay):
  whole, _ = scan(Scripted(delay=delay))
  stop, scope = stop_lib.Stop(), Failing(lambda values: values)
  follows = Scripted(delay=delay)
  watch = lambda progress: len(progress.positions) == 2 and stop.request("a person", at_once=True)
  decides = deciding.Simulated(follows, scope.clock, lambda _: 10.0)
  scanned = loop.run(scope, follows, decides, mapping((-1, 1)), Rules(), watch, stop)
  np.testing.assert_array_equal(scanned.intensities, whole.intensities[:8])
  assert scanned.ended_by == "a person" and scanned.completion.shape == (16, 16)
  # A position of the segment under way had begun when the decision was there.
  assert scope.blanked and scope.parked and scope.lit == (8 + delay) * scope.dwell


def test_a_beam_that_is_blanked_before_a_segment_is_measured_leaves_no_scan():
  stop, scope = stop_lib.Stop(), twin.DigitalTwin(IMAGE)
  submit = scope.submit
  scope.submit = lambda positions: (submit(positions), stop.request("a person", at_once=True))
  decides = deciding.Simulated(Scripted(), scope.clock)
  with pytest.raises(stop_lib.NotBegunError, match="a person before anything was measured"):
    loop.run(scope, Scripted(), decides, mapping((-1, 1)), stop=stop)
  assert scope.clock.now() == 0 and scope.blanked and scope.lit == 0


def test_a_scan_that_is_stopped_before_it_begins_lights_nothing():
  stop, scope = stop_lib.Stop(), twin.DigitalTwin(IMAGE)
  stop.request("Ctrl-C")
  decides = deciding.Simulated(Scripted(), scope.clock)
  with pytest.raises(stop_lib.NotBegunError, match="Ctrl-C before anything was measured"):
    loop.run(scope, Scripted(), decides, mapping((-1, 1)), stop=stop)
  assert scope.clock.now() == 0 and scope.blanked


def test_the_beam_is_blanked_when_the_model_or_a_person_interrupts():
  for error in (RuntimeError("no more memory"), KeyboardInterrupt()):
    scope = Failing(lambda values: values)

    def raises(*_, error=error):
      raise error

    follows = Scripted()
    follows.step = raises
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else RuntimeError
    with pytest.raises(expected):
      scan(follows, scope=scope)
    assert scope.blanked


@pytest.mark.parametrize(
  "rules", [{"late": "hurry"}, {"deadline": -1.0}, {"stop_below": float("nan")}]
)
def test_impossible_rules_are_refused(rules):
  with pytest.raises(ValueError, match=next(iter(rules))):
    Rules(**rules)


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


@pytest.fixture(scope="module")
def exported(exports):
  """Folders of exported models, by delay; the one with a delay may stop early, and has a fast
  path.
  """
  return {0: exports(exports_lib.PLAIN), 1: exports("stopping")}


@pytest.mark.parametrize("delay, engine", [(0, "tensorflow"), (1, "tensorflow"), (1, "litert")])
def test_an_exported_model_scans_a_perfect_twin_as_in_training(exported, delay, engine):
  follows = model.ExportedModel(exported[delay], engine)
  assert follows.scan.truncate == bool(delay)
  scanned, _ = scan(follows, known=(-1.0, 1.0))
  whole = tf.saved_model.load(str(exported[delay])).signatures["scan"](
    image=tf.constant(IMAGE[None, ..., None])
  )
  np.testing.assert_allclose(scanned.positions, np.clip(whole["path"][0], 0, 15), atol=1e-4)
  np.testing.assert_allclose(scanned.partial, whole["partial_scan"][0], atol=1e-6)
  np.testing.assert_allclose(scanned.completion, whole["completion"][0, ..., 0], atol=1e-4)
  assert all((timing.predicted_error is not None) == bool(delay) for timing in scanned.timings)


def test_the_fast_path_is_taken_where_there_is_one(exported, monkeypatch):
  fast, slow = exported[1], exported[0]
  assert (
    engines.choose(fast).name == "litert" and engines.choose(fast, "tensorflow").name != "litert"
  )
  assert engines.choose(slow).name == "tensorflow" and "no fast path" in engines.choose(slow).words
  monkeypatch.setattr(edge, "Interpreter", None)
  assert engines.choose(fast).name == "tensorflow" and "`edge`" in engines.choose(fast).words


def test_folders_without_a_model_are_refused(tmp_path, exported):
  with pytest.raises(ValueError, match="holds no saved_model.pb: give a folder NAME/VERSION"):
    model.ExportedModel(tmp_path)
  (tmp_path / "saved_model.pb").write_bytes(b"")
  with pytest.raises(ValueError, match="has no configuration of ours"):
    model.ExportedModel(tmp_path)
  with pytest.raises(
    ValueError, match="engine='gpu' is unknown: choose auto, tensorflow or litert"
  ):
    model.ExportedModel(exported[0], "gpu")
  with pytest.raises(
    FileNotFoundError, match="litert/start.npz is missing: launch.export --litert writes it"
  ):
    model.ExportedModel(exported[0], "litert")
