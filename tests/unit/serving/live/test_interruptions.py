"""The live scan that fails, is stopped or blanked: the beam is off, what was measured is kept."""

import numpy as np
import pytest

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import deciding, loop, microscope, twin
from adaptive_stem_tf.serving.live.rules import Rules
from tests.unit.serving.live.scans import IMAGE, SEGMENT, mapping, scan
from tests.unit.serving.live.scripted import Scripted


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
