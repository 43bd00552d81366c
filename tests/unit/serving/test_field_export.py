"""SavedModels of scanners of whole fields."""

import json
import os
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.fields import placement, rounds
from adaptive_stem_tf.serving import extra, field_latency, field_litert, field_scan, servables
from tests import exports as exports_lib

ROUNDS, SEED, BUDGET = 2, 5, 301


@pytest.fixture(scope="module")
def trained():
  """A scanner with random weights."""
  return exports_lib.trained_fields()


@pytest.fixture(scope="module")
def folder(exports):
  return exports(exports_lib.FIELDS)


@pytest.fixture(scope="module")
def run(folder):
  """Calls a signature as a server does."""
  version = servables.Version(folder)
  assert not version.error, version.error

  def call(name, **inputs):
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    return version.predict(
      name, {k: v.astype(np.int32) if v.ndim == 1 else v for k, v in arrays.items()}
    )

  return call


def specimen(rows, columns, count=1):
  random = np.random.default_rng(1)
  return random.uniform(-1, 1, [count, rows, columns, 1]).astype(np.float32)


def numbers(**changes):
  return {"budget": [BUDGET], "rounds": [ROUNDS], "seed": [SEED], **changes}


def carried(answer):
  return {name: value for name, value in answer.items() if name.startswith("state_")}


def scan(run, image, **changes):
  """Yields the answers of a whole scan."""
  rows, columns = image.shape[1:3]
  answer = run("survey", rows=[rows], columns=[columns], **numbers(**changes))
  yield answer
  for number in range(1, ROUNDS + 1):
    mask = answer["next_mask"]
    answer = run("plan", partial_field=image * mask, mask=mask, round_number=[number],
                 **numbers(**changes), **carried(answer))  # fmt: skip
    yield answer


def test_positions_are_those_of_training_code(run, trained):
  image = specimen(64, 96)
  offset = tf.constant([[SEED, SEED // placement.TILE + 45 * SEED]]) % placement.TILE
  counts = rounds.budget(tf.constant([BUDGET / (64 * 96)]), 64 * 96, trained.survey, ROUNDS)
  rank, valid = placement.rank_map(64, 96, offset), tf.ones(image.shape)
  plan = rounds.FieldPlan(counts, rank, valid, trained.pairs)
  initial = trained.initial_state(1, 8, 12)
  expected = rounds.scan(tf.constant(image), plan, trained.policy, initial, trained.complete, 8)
  masks = [answer["next_mask"] for answer in scan(run, image)]
  np.testing.assert_array_equal(np.stack(masks), expected.masks)


def test_a_field_of_any_size_gets_exactly_its_budget(run):
  image, masks = specimen(70, 45), []
  for answer in scan(run, image):
    mask, positions = answer["next_mask"][0, ..., 0], answer["next_positions"][0]
    before = masks[-1] if masks else np.zeros_like(mask)
    np.testing.assert_array_equal(np.argwhere(mask > before), positions)
    assert (mask >= before).all()
    masks.append(mask)
  assert masks[-1].sum() == BUDGET and masks[0].sum() == round(BUDGET / 4)


def test_another_seed_gives_another_survey(run):
  first, second = (
    run("survey", rows=[64], columns=[64], **numbers(seed=[seed]))["next_mask"] for seed in (0, 1)
  )
  assert (first != second).any()


def test_it_completes_as_the_network_does(run, trained):
  image = specimen(40, 64, 2)
  mask = np.float32(np.random.default_rng(2).random(image.shape) < 0.1)
  answer = run("complete", partial_field=image * mask, mask=mask)
  expected = trained.complete(tf.constant(image * mask), tf.constant(mask))
  np.testing.assert_allclose(answer["completion"], expected.mean, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    2 * np.log(answer["standard_deviation"]), expected.log_variance, rtol=1e-4, atol=1e-4
  )
  np.testing.assert_allclose(answer["interpolation"], expected.plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  "changes, words",
  [
    ({"mask": np.full([1, 64, 64, 1], 0.5, np.float32)}, "mask has values other than 0 and 1"),
    ({"partial_field": np.ones([1, 64, 64, 1], np.float32)}, "intensities where mask is 0"),
    ({"partial_field": np.full([1, 64, 64, 1], np.nan, np.float32)}, "are not finite"),
    ({"mask": np.zeros([1, 64, 60, 1], np.float32)}, "differ in shape"),
    ({"budget": [64 * 64 + 1]}, "budget is greater than the number of pixels"),
    ({"rounds": [17]}, "rounds is not among 0 to 16"),
    ({"round_number": [3]}, "round_number is not among the rounds"),
    ({"budget": [20]}, "more is measured than the budget allows"),
    ({"state_recurrent": np.zeros([1, 4, 8, 3], np.float32)}, "state_recurrent has another shape"),
  ],
)
def test_what_is_wrong_is_refused_by_the_graph(run, changes, words):
  answer = run("survey", rows=[64], columns=[64], **numbers())
  mask = answer["next_mask"]
  request = {"partial_field": 0 * mask, "mask": mask, "round_number": [1], **numbers()}
  with pytest.raises(tf.errors.InvalidArgumentError, match=words):
    run("plan", **{**request, **carried(answer), **changes})


def test_fields_that_are_too_small_are_refused(run):
  with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than 32 px"):
    run("survey", rows=[31], columns=[64], **numbers())


def test_what_travels_along_describes_it(folder, trained):
  extras = folder / extra.FOLDER
  read = field_config.FieldExperiment.from_json((extras / "config.json").read_text())
  assert read == trained.experiment
  manifest = json.loads((extras / "manifest.json").read_text())
  assert manifest["iteration"] == exports_lib.ITERATION and {"survey", "plan", "complete"} <= set(
    manifest["signatures"]
  )
  assert (extras / extra.WARM_UP).is_file()


def test_times_are_of_every_call_of_a_scan(folder):
  times = field_latency.measure(field_scan.ExportedFields(folder), 64, 0.1, 2)
  assert list(times) == ["survey", "plan", "complete", "scan"]
  parts = ("survey", *["plan"] * ROUNDS, "complete")
  assert times["scan"]["min"] >= sum(times[name]["min"] for name in parts) > 0
  assert all(0 < one["min"] <= one["median"] <= one["max"] for one in times.values())
  assert times["scan"]["processor"] >= sum(times[name]["processor"] for name in parts) > 0


@pytest.mark.slow
def test_fast_paths_give_what_the_functions_give(trained, folder, tmp_path):
  pytest.importorskip("ai_edge_litert.interpreter")
  field_litert.convert(trained, tmp_path, 64)
  found = field_latency.measure_fast(tmp_path, field_scan.ExportedFields(folder), 0.1, 1)
  assert found["side"] == 64 and found["difference"] < 1e-4
  assert found["other_positions"] < 1e-2  # of some 120 a round
  assert all(found[name][key] > 0 for name in ("plan", "complete") for key in ("min", "processor"))


def test_fast_paths_have_a_thread_for_each_core_on_macos_too(monkeypatch, tmp_path):
  threads = []

  class Interpreter:
    def __init__(self, path, num_threads):
      threads.append(num_threads)

    def get_signature_runner(self):
      return types.SimpleNamespace(get_input_details=lambda: {"mask": {"shape": [1, 64, 64, 1]}})

  library = types.SimpleNamespace(interpreter=types.SimpleNamespace(Interpreter=Interpreter))
  monkeypatch.setitem(sys.modules, "ai_edge_litert", library)
  monkeypatch.delattr("os.sched_getaffinity", raising=False)  # which macOS does not have
  assert field_litert.FastFields(tmp_path).side == 64
  assert threads == [os.cpu_count()] * 2
