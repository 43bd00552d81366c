"""Fields of any size are scanned in every way, with one dose."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config, integrity, microscope_config
from adaptive_stem_tf.compare_fields import (
  choice,
  comparison,
  exported,
  metrics,
  pictures,
  scanning,
  settings,
  specimen,
)
from adaptive_stem_tf.fields import static_scans
from adaptive_stem_tf.training import field_model
from tests import exports as exports_lib

SHAPE, COVERAGE, SEEDS = (70, 96), 0.05, (0, 4)
TINY = {"generator_channels": 2, "policy_channels": 3, "rounds": 2, "survey": 0.3}


def disc(noise=0.0):
  """Returns a specimen with a bright disc in its upper left."""
  rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
  distance = np.hypot(rows - 25.0, columns - 30.0)
  truth = np.tanh((12 - distance) / 2).astype(np.float32)
  return specimen.make("disc", truth, truth=truth)


@pytest.fixture(scope="module")
def model():
  return field_model.TrainedModel(field_config.FieldExperiment().replace(**TINY))


def compared(models, scans, completions, **decisions):
  request = settings.Request(
    (COVERAGE,), SEEDS, scans, completions, settings.Decisions(**decisions)
  )
  return comparison.Comparison(models, request, microscope_config.Beam())


@pytest.fixture(scope="module")
def rows(model):
  """Every cheap completion of every scan, with a model.

  Eagerly: tracing three policies takes longer than six scans of a field as small.
  """
  tf.config.run_functions_eagerly(True)
  measured = compared({"m": model}, settings.SCANS, settings.CHEAP).rows(disc(), COVERAGE)
  tf.config.run_functions_eagerly(False)
  return measured


def test_every_scan_has_the_same_number_of_positions(rows):
  assert {row["positions"] for row in rows[0]} == {round(COVERAGE * 70 * 96)}
  assert scanning.count(SHAPE, COVERAGE) == round(COVERAGE * 70 * 96)


def test_every_scan_completion_and_seed_has_a_row(rows):
  found = {(row["scan"], row["completion"], row["model"], row["seed"]) for row in rows[0]}
  assert len(found) == len(rows[0]) == len(settings.SCANS) * 3 * len(SEEDS)
  for scan, completion, owner, _ in found:
    learnt = scan in settings.LEARNT or completion == settings.GENERATOR
    assert owner == ("m" if learnt else "")
  assert all(row["ten_mse_truth"] == row["ten_mse"] for row in rows[0])  # no noise
  assert {one["scan"] for one in rows[1]} == set(settings.SCANS)


def test_the_rule_goes_where_structure_is(rows):
  error = lambda scan: np.mean([
    row["ten_mse"] for row in rows[0] if (row["scan"], row["completion"]) == (scan, "local_linear")
  ])  # fmt: skip
  assert error("gradient") < 0.8 * error("farthest_points")


def test_a_new_actor_is_the_rule(rows):
  errors = {
    scan: [
      row["ten_mse"] for row in rows[0] if row["scan"] == scan and row["completion"] == "linear"
    ]
    for scan in ("actor", "gradient")
  }
  np.testing.assert_allclose(errors["actor"], errors["gradient"], rtol=1e-4)


def test_rounds_nest_and_settings_are_followed(eagerly):
  measuring = compared({}, ("gradient",), ("local_linear",), rounds=3, survey=0.5)
  (scan,) = measuring.scans(disc(), COVERAGE)
  total = scanning.count(SHAPE, COVERAGE)
  assert scan.masks.shape == (4, len(SEEDS), *SHAPE)
  assert scan.masks[:, 0].sum((1, 2)).tolist() == [
    round(total * s) for s in (1 / 2, 2 / 3, 5 / 6, 1)
  ]
  assert (scan.masks[1:] >= scan.masks[:-1]).all()
  for order, mask in zip(scan.orders, scan.masks[-1]):
    assert {tuple(at) for at in order} == {tuple(at) for at in np.argwhere(mask)}


def test_contiguous_scans_measure_what_the_beam_crosses(model, eagerly):
  names = ("farthest_points", "zigzag", "gradient", "actor")
  measuring = compared({"m": model}, names, ("linear",), contiguous=True)
  total, dose = scanning.count(SHAPE, COVERAGE), []
  for scan in measuring.scans(disc(), COVERAGE):
    for order, mask in zip(scan.orders, scan.masks[-1]):
      assert mask.sum() == len(order) == total and mask[tuple(order.T)].all()
      # Pixels of earlier rounds are crossed blanked.
      assert (np.abs(np.diff(order, axis=0)).max(1) <= 3).mean() > 0.8
    assert (scan.masks[1:] >= scan.masks[:-1]).all()
    dose.append(scan.masks[-1][:, 10:40, 15:45].mean())
  assert dose[2] > 1.2 * dose[0]


def test_one_trace_serves_fields_of_all_sizes():
  """Of the policy's scan and of a completion; more rounds and networks are traced alike."""
  measuring = compared({}, ("gradient",), ("local_linear",), rounds=1)
  for side in (64, 70, 96):
    image = np.random.default_rng(side).normal(size=[side, 64]).astype(np.float32)
    scanned = specimen.make("field", image)
    assert measuring.rows(scanned, COVERAGE)[0]
  (scan,) = measuring._adaptive.values()
  traced = (scan._scan, measuring._plain.plain)
  assert [one.experimental_get_tracing_count() for one in traced] == [1, 1]


def test_even_rounds_are_farthest_points(eagerly):
  measuring = compared({}, ("gradient",), ("local_linear",), gradient_power=0.0, pairs=0.0)
  (scan,) = measuring.scans(disc(), COVERAGE)
  for seed, mask in zip(SEEDS, scan.masks[-1]):
    even = static_scans.positions("farthest_points", SHAPE, int(mask.sum()), seed)
    assert mask[tuple(even.T)].all()


def test_the_even_scan_has_the_surveys_pairs(eagerly):
  measuring = compared({}, ("even",), ("local_linear",), pairs=0.1)
  (scan,) = measuring.scans(disc(), COVERAGE)
  for mask in scan.masks[-1]:
    pairs = (mask[:, 1:] & mask[:, :-1]).sum()
    assert pairs == pytest.approx(0.1 * mask.sum(), abs=8)


def test_trainings_of_one_name_have_numbers(model, eagerly):
  measuring = compared({"m": model, "m#2": model}, ("actor",), ("generator",))
  rows = measuring.rows(disc(), COVERAGE)[0]
  assert {(row["model"], row["training"]) for row in rows} == {("m", 1), ("m", 2)}
  assert len(rows) == 2 * len(SEEDS)


def test_doses_add_noise_of_the_right_size():
  measuring = compared({}, ("raster",), ("linear",), electrons=50.0)
  measured = measuring.measured(disc())
  bright = disc().image > 0.99
  # Counts of mean 50 on a scale of 2: 2 sqrt(50) / 50.
  assert measured[0][bright].std() == pytest.approx(2 / np.sqrt(50), rel=0.2)
  assert not np.array_equal(measured[0], measured[1])


def test_learnt_scans_need_a_model():
  with pytest.raises(ValueError, match="scan=actor needs a model"):
    compared({}, ("actor",), ("linear",))


def test_an_exported_model_scans_as_the_run_does(exports, tmp_path):
  folder = exports(exports_lib.FIELDS)
  assert integrity.is_exported(folder) and not integrity.is_exported(tmp_path)
  measured = []
  for model, eagerly in (
    (exported.ExportedModel(folder), False),
    (exports_lib.trained_fields(), True),
  ):
    tf.config.run_functions_eagerly(eagerly)
    rows = compared({"m": model}, ("actor",), ("generator",)).rows(disc(), COVERAGE)[0]
    measured.append([row["ten_mse"] for row in rows])
  tf.config.run_functions_eagerly(False)
  errors, wanted = measured
  np.testing.assert_allclose(errors, wanted, rtol=1e-3)


def test_captions_of_sheets_are_words_with_errors(eagerly):
  pair, shown = choice.Pair("farthest_points", "local_linear"), ("gradient", "local_linear", "")
  comparing = compared({}, (pair.scan, shown[0]), ("local_linear",))
  line = pictures.scan_for_sheet(comparing, disc(), COVERAGE, shown, pair)
  errors = [
    metrics.ten_mse(image[None], disc().target)[0] for image in (line.static, line.adaptive)
  ]
  assert line.captions == (
    f"static: farthest points, local linear\n10 MSE {errors[0]:.4f}",
    f"adaptive: gradient, local linear\n10 MSE {errors[1]:.4f}",
  )
