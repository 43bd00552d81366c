"""The fast path follows the SavedModel."""

import shutil

import numpy as np
import pytest

from adaptive_stem_tf import integrity
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.serving import edge, equivalence, export, extra, litert, local, stepping
from tests import tiny


@pytest.fixture(
  scope="module",
  params=[
    "lstm",
    "dnc",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gru", "projected", "nearest")),
  ],
)
def fast(request, exports):
  """A model that was exported with its fast path: its folder."""
  return exports(request.param)


def loaded(folder, **keywords):
  return edge.EdgeModel(folder / extra.FOLDER / litert.FOLDER, **keywords)


def test_calls_and_scans_equal_the_savedmodels(fast):
  images = tiny.images(6)
  result = equivalence.compare(fast, images)
  assert result["images"] == 6
  assert 0 < result["decision_relative_difference"] < 1e-5
  assert result["completions"]["float32"]["relative_difference"] < 1e-4
  assert result["identical_paths"] == 1
  assert result["litert_ten_mse"] == pytest.approx(result["savedmodel_ten_mse"], rel=1e-4)


def test_differences_are_found(fast):
  """The comparison itself can fail: another scan, another answer."""
  ours, theirs = local.LocalModel(fast), loaded(fast)
  image = tiny.images(1)
  answer = ours.start(1)
  observation = stepping.read(image, answer["positions"])
  expected, made = (
    ours.step(observation, answer),
    theirs.step(observation + np.float32(0.01), answer),
  )
  assert max(equivalence._relative(made[name], expected[name]) for name in expected) > 1e-5
  path = np.zeros([2, 3, 2], np.float32)
  other = path.copy()
  other[1, 2, 0] = 1
  assert equivalence._identical(path, other, tiny.SIZE) == 0.5


def test_a_missing_interpreter_is_named(fast, monkeypatch):
  monkeypatch.setattr(edge, "Interpreter", None)
  with pytest.raises(RuntimeError, match="need ai-edge-litert: pip install"):
    edge.EdgeModel(fast / extra.FOLDER / litert.FOLDER)


def test_the_folder_of_the_exported_model_will_do(fast):
  given, found = loaded(fast).start(), edge.EdgeModel(fast).start()
  assert all(np.array_equal(given[name], found[name]) for name in given)


def test_only_built_in_operations_are_used(fast):
  for path in (fast / extra.FOLDER / litert.FOLDER).glob("*.tflite"):
    details = edge.Interpreter(model_path=str(path))._get_ops_details()
    assert not [
      detail["op_name"]
      for detail in details
      if "Flex" in detail["op_name"] or detail["op_name"] == "CUSTOM"
    ]


def test_the_manifest_covers_the_fast_path(fast, tmp_path):
  folder = shutil.copytree(fast, tmp_path / "1")
  assert integrity.damage(folder) is None
  path = folder / extra.FOLDER / litert.FOLDER / "step.tflite"
  path.write_bytes(path.read_bytes()[:-1])
  assert "litert/step.tflite is damaged" in integrity.damage(folder)


def test_bad_input_is_refused(fast):
  model = loaded(fast)
  answer = model.start()
  good = np.zeros([1, tiny.PROBES], np.float32)
  assert model.step(good, answer)["positions"].shape == (1, tiny.PROBES, 2)
  for wrong, said in (
    (np.full_like(good, np.nan), "not finite"),
    (good[:, 1:], r"observation is float32 \[1, 3\]"),
    (good.astype(np.float64), "observation is float64"),
    (np.tile(good, [2, 1]), r"\[2, 4\]"),
  ):
    with pytest.raises(ValueError, match=said):
      model.step(wrong, answer)
  with pytest.raises(ValueError, match="one specimen at a time"):
    model.start(2)
  with pytest.raises(ValueError, match="not finite"):
    model.complete(np.full([1, tiny.SIZE, tiny.SIZE, 2], np.inf, np.float32))
  with pytest.raises(FileNotFoundError, match="step.tflite is missing|start.npz is missing"):
    edge.EdgeModel(fast.parent)
  with pytest.raises(FileNotFoundError, match="complete_int4.tflite is missing"):
    loaded(fast, precision="int4")


def test_answers_are_not_overwritten_by_the_next(fast):
  model = loaded(fast)
  first = model.step(np.zeros([1, tiny.PROBES], np.float32), model.start())
  kept = {name: value.copy() for name, value in first.items()}
  model.step(np.ones([1, tiny.PROBES], np.float32), first)
  for name, value in kept.items():
    np.testing.assert_array_equal(first[name], value)


def test_what_cannot_be_converted_is_refused():
  bfloat16 = model.fresh(tiny.experiment(precision="bfloat16"))
  with pytest.raises(
    export.ExportError, match="precision=bfloat16 of the generator has no LiteRT arithmetic"
  ):
    litert.check(bfloat16)
  with pytest.raises(export.ExportError, match="precision int4 is unknown: choose float16 or int8"):
    litert.check(model.fresh(tiny.experiment()), ["int4"])
