"""Scans in rounds with a model that is arithmetic: order, counts, and planning ahead."""

import numpy as np
import pytest

from adaptive_stem_tf import intensities
from adaptive_stem_tf.serving import beam as beam_lib
from adaptive_stem_tf.serving import field_scan
from adaptive_stem_tf.serving import stop as stop_lib

SHAPE, BUDGET, ROUNDS = (40, 48), 384, 3
IMAGE = np.arange(40 * 48.0).reshape(SHAPE)
COUNTS = [96, 192, 288, 384]  # a quarter each


class Ranking:
  """Measures pixels in the order of a random rank, which each round changes."""

  def __init__(self, unit=IMAGE / 1919 * 2 - 1):
    self.plans = []
    self._unit = unit  # what it should be shown, in [-1, 1]
    self._rank = np.random.default_rng(0).random(SHAPE)

  def call(self, name, **inputs):
    if name == "survey":
      return self._chosen(np.zeros(SHAPE, bool), COUNTS[0])
    measured = inputs["mask"][0, ..., 0] > 0
    unit = self._unit * measured
    np.testing.assert_allclose(inputs["partial_field"][0, ..., 0], unit, atol=1e-6)
    images = ("completion", "standard_deviation", "interpolation")
    completed = dict.fromkeys(images, np.zeros([1, *SHAPE, 1]))
    if name == "complete":
      return completed
    number = int(inputs["round_number"][0])
    assert (inputs["state_mask"] <= inputs["mask"]).all()
    assert measured.sum() <= COUNTS[number]
    self.plans.append(int(measured.sum()))
    self._rank = 0.5 * self._rank + 0.5 * np.random.default_rng(number).random(SHAPE)
    return {**completed, **self._chosen(measured, COUNTS[number]), "state_mask": inputs["mask"]}

  def _chosen(self, measured, count):
    order = np.argsort(np.where(measured, -1.0, self._rank), axis=None)[:count]
    mask = np.zeros(SHAPE, bool)
    mask.flat[order] = True
    return {
      "next_positions": np.argwhere(mask & ~measured)[None].astype(np.int32),
      "state_mask": mask[None, ..., None].astype(np.float32),
    }


class Recording(beam_lib.Beam):
  """Keeps what is submitted and collected, in order."""

  def __init__(self):
    super().__init__(lambda positions: IMAGE[tuple(positions.T)])
    self.events = []

  def submit(self, positions):
    self.events.append(len(positions))
    super().submit(positions)

  def collect(self):
    self.events.append("collect")
    return super().collect()


def scan(beam=None, **changes):
  model, beam = Ranking(), beam or Recording()
  settings = field_scan.FieldSettings(SHAPE, BUDGET, ROUNDS, **changes)
  known = intensities.IntensityRange(np.array([0.0]), np.array([1919.0]))
  return field_scan.scan(model, settings, known, beam), model, beam


def check(scanned):
  at = scanned.positions
  assert len({tuple(one) for one in at}) == len(at) == BUDGET == scanned.mask.sum()
  np.testing.assert_array_equal(scanned.intensities, IMAGE[tuple(at.T)])
  assert scanned.mask[tuple(at.T)].all()
  np.testing.assert_array_equal(np.bincount(scanned.numbers), [96] * 4)


def test_rounds_are_measured_before_the_next_is_planned():
  scanned, model, beam = scan()
  check(scanned)
  assert model.plans == COUNTS[:-1]
  assert beam.events == [96, "collect"] * 4
  assert (np.diff(scanned.numbers) >= 0).all()


def test_a_rehearsal_plans_every_round():
  model = Ranking(np.indices(SHAPE).sum(0) / sum(SHAPE) * 2 - 1)
  field_scan.rehearse(model, field_scan.FieldSettings(SHAPE, BUDGET, ROUNDS))
  assert model.plans == COUNTS[:-1]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_what_is_under_way_is_neither_planned_again_nor_waited_for(share):
  scanned, model, beam = scan(plan_ahead=share)
  check(scanned)
  rest = round(share * 96)
  assert model.plans == [count - rest for count in COUNTS[:-1]]
  # The next round is submitted before the rest of this one is collected.
  assert beam.events == [
    96 - rest, rest, "collect", 96 - rest, rest, "collect", "collect", 96 - rest, rest, "collect",
    "collect", 96, "collect", "collect",
  ]  # fmt: skip
  assert (np.diff(scanned.numbers) >= 0).all()


def test_the_rest_is_spread_over_the_field():
  scanned, _, _ = scan(plan_ahead=0.25)
  rest = scanned.positions[scanned.numbers == 0][72:]
  counts, _, _ = np.histogram2d(*rest.T, bins=2, range=[[0, 40], [0, 48]])
  assert counts.min() >= 3


def test_a_beam_that_is_on_while_it_moves_has_the_same_budget():
  scanned, model, _ = scan(contiguous=True)
  check(scanned)
  assert model.plans == COUNTS[:-1]
  survey = scanned.positions[scanned.numbers == 0]
  assert (np.abs(np.diff(survey, axis=0)).max(1) == 1).mean() > 0.95


@pytest.mark.parametrize(
  "changes, words",
  [
    ({"plan_ahead": 1.0}, "plan_ahead=1 is out of range"),
    ({"plan_ahead": 0.5, "contiguous": True}, "plan_ahead=0.5 and contiguous=True disagree"),
  ],
)
def test_settings_that_disagree_are_refused(changes, words):
  with pytest.raises(ValueError, match=words):
    scan(**changes)


class Ending(Recording):
  """Ends after 150 positions, in the middle of the first round: stopped, or broken."""

  def __init__(self, failure=None):
    super().__init__()
    self.left, self._fails_with = 150, failure

  def collect(self):
    values = super().collect()[: self.left]
    self.left -= len(values)
    if not self.left:
      self.failure = self._fails_with
      if not self.failure:
        self.stop.request("a person")
    return values


def test_a_scan_that_is_stopped_keeps_and_completes_what_was_measured():
  whole = scan(Recording())[0]
  stopped = scan(Ending())[0]
  assert stopped.ended_by == "a person" and whole.ended_by is None
  with pytest.raises(stop_lib.IncompleteScan, match="the lens blew up") as failed:
    scan(Ending(RuntimeError("the lens blew up")))
  assert failed.value.scan.ended_by == "the lens blew up"
  for kept in (stopped, failed.value.scan):
    np.testing.assert_array_equal(kept.positions, whole.positions[:150])
    np.testing.assert_array_equal(kept.intensities, whole.intensities[:150])
    assert kept.mask.sum() == 150 and kept.completion.shape == SHAPE


def test_a_model_that_fails_leaves_what_was_measured():
  model, beam = Ranking(), Recording()
  call = model.call

  def failing(name, **inputs):
    if name != "survey":
      raise ValueError("out of tune")
    return call(name, **inputs)

  model.call = failing
  known = intensities.IntensityRange(np.array([0.0]), np.array([1919.0]))
  settings = field_scan.FieldSettings(SHAPE, BUDGET, ROUNDS)
  with pytest.raises(stop_lib.IncompleteScan, match="out of tune") as failed:
    field_scan.scan(model, settings, known, beam)
  assert failed.value.scan.mask.sum() == COUNTS[0]
  assert np.isnan(failed.value.scan.completion).all()


def test_a_beam_that_is_stopped_before_it_begins_measures_nothing():
  beam = Recording()
  beam.stop.request("Ctrl-C")
  with pytest.raises(stop_lib.NotBegunError):
    scan(beam)
  assert beam.events == []


def test_a_field_of_which_nothing_was_measured_is_not_completed():
  with pytest.raises(ValueError, match="no pixel of the field was measured"):
    field_scan.complete(Ranking(), np.full([8, 8], np.nan), intensities.unknown_range(1))
