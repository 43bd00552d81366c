"""python -m launch.evaluate and launch.export on a run of two iterations."""

import json

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import integrity
from tests import disks
from tests import exports as exports_lib
from tests.launch import commands

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, images_file):
  """A run."""
  folder = tmp_path_factory.mktemp("trained")
  tf.config.run_functions_eagerly(True)
  ended = commands.train(folder, images_file, iterations=2)
  tf.config.run_functions_eagerly(False)
  assert ended.code == 0, ended.err
  return folder


def evaluate(workdir, output, *more):
  ended = commands.launch("evaluate", f"--workdir={workdir}", f"--output_dir={output}", *more)
  assert ended.code == 0, ended.err
  return json.loads((output / "evaluation.json").read_text()), ended.out


def test_a_run_is_evaluated_on_its_test_split(tmp_path, workdir):
  result, out = evaluate(workdir, tmp_path)
  assert result["count"] == 4 and result["iteration"] == 2 and result["split"] == "test"
  assert "10 MSE" in out and "adaptive" in out and "spiral" in out
  assert {path.name for path in tmp_path.iterdir()} == {
    "evaluation.json",
    "adaptive.png",
    "spiral.png",
  }


def test_other_splits_and_images_are_evaluated(tmp_path, workdir, images_file):
  every, _ = evaluate(workdir, tmp_path / "all", "--split=all")
  train, _ = evaluate(workdir, tmp_path / "train", "--split=train")
  test, _ = evaluate(workdir, tmp_path / "test")
  losses = lambda result: [row["adaptive"]["ten_mse"] for row in result["per_image"]]
  assert losses(every) == pytest.approx(losses(train) + losses(test), rel=1e-5)
  np.save(tmp_path / "others.npy", np.load(images_file)[::-1])
  others, _ = evaluate(
    workdir, tmp_path / "others", f"--images={tmp_path / 'others.npy'}", "--split=all"
  )
  assert losses(others) == pytest.approx(losses(every)[::-1], rel=1e-5)


def test_an_empty_split_is_refused(tmp_path, workdir):
  ended = commands.launch(
    "evaluate", f"--workdir={workdir}", f"--output_dir={tmp_path}", "--split=validation"
  )
  assert ended.code == 1 and "split=validation is empty: set --validation_fraction" in ended.err


def test_sources_beside_the_images_group_the_intervals(tmp_path, workdir, images_file):
  np.save(tmp_path / "images.npy", np.load(images_file))
  names = tmp_path / "images.json"
  names.write_text(json.dumps([{"file": f"file {k // 2}"} for k in range(20)]))
  result, _ = evaluate(workdir, tmp_path / "out", f"--images={tmp_path / 'images.npy'}")
  assert "source files" in result["intervals"]
  assert [row["source"] for row in result["per_image"]] == [
    "/file 8",
    "/file 8",
    "/file 9",
    "/file 9",
  ]
  names.write_text(json.dumps([{"file": "one"}]))
  ended = commands.launch(
    "evaluate",
    f"--workdir={workdir}",
    f"--output_dir={tmp_path / 'out'}",
    f"--images={tmp_path / 'images.npy'}",
  )
  assert (
    ended.code == 1 and "images.json has 1 entries and" in ended.err and "20 images" in ended.err
  )


def test_a_run_is_exported_once(tmp_path, workdir, images_file):
  tf.config.run_functions_eagerly(False)
  ended = commands.launch("export", f"--workdir={workdir}", f"--output={tmp_path / 'model' / '1'}")
  assert ended.code == 0, ended.err
  assert "Exported iteration 2" in ended.out
  loaded = tf.saved_model.load(str(tmp_path / "model" / "1"))
  images = tf.constant(np.float32(np.load(images_file)[:2]) / 150)
  assert loaded.signatures["scan"](image=images)["completion"].shape == [2, 16, 16, 1]
  again = commands.launch("export", f"--workdir={workdir}", f"--output={tmp_path / 'model' / '1'}")
  assert again.code == 1 and "a version is never replaced in place" in again.err


@pytest.mark.parametrize(
  "kind, more, wanted",
  [("lstm", ["--litert"], "litert/step.tflite"), (exports_lib.FIELDS, [], "manifest.json")],
)
def test_an_exported_scanner_is_written_again(tmp_path, exports, kind, more, wanted):
  tf.config.run_functions_eagerly(False)
  first, again = exports(kind), tmp_path / "again" / "2"
  ended = commands.launch("export", f"--workdir={first}", f"--output={again}", *more)
  assert ended.code == 0, ended.err
  assert f"Exported iteration {exports_lib.ITERATION} of {first} to {again}" in ended.out
  assert (again / integrity.FOLDER / wanted).is_file()
  theirs, ours = (tf.saved_model.load(str(folder)) for folder in (first, again))
  random = np.random.default_rng(0)
  side = 32 if kind == exports_lib.FIELDS else 16
  mask = np.float32(random.random([2, side, side, 1]) < 0.2)
  partial = mask * np.float32(random.uniform(-1, 1, mask.shape))
  given = (
    {"partial_field": tf.constant(partial), "mask": tf.constant(mask)}
    if kind == exports_lib.FIELDS
    else {"partial_scan": tf.constant(np.concatenate([partial, mask], axis=-1))}
  )
  complete = lambda loaded: loaded.signatures["complete"](**given)["completion"]
  np.testing.assert_array_equal(complete(ours), complete(theirs))


def test_an_exported_correction_is_not_written_again(tmp_path):
  folder = tmp_path / "correction" / "1"
  (folder / integrity.FOLDER).mkdir(parents=True)
  (folder / integrity.GRAPH).write_bytes(b"")
  (folder / integrity.FOLDER / integrity.CONFIG).write_text('{"cycle": {}}')
  ended = commands.launch("export", f"--workdir={folder}", f"--output={tmp_path / 'x' / '1'}")
  assert ended.code == 1 and f"{folder} is an exported distortion correction" in ended.err


def test_a_label_that_finds_no_room_can_be_given_later(tmp_path):
  version = tmp_path / "name" / "1"
  version.mkdir(parents=True)
  (version / "saved_model.pb").write_bytes(b"")
  arguments = [f"--output={version}", "--labels=stable"]
  with disks.full(10):
    ended = commands.launch("export", *arguments)
  assert ended.code == 1 and f"{tmp_path}/models.config cannot be written" in ended.err
  assert ended.err.endswith(f"label it then by python -m launch.export {' '.join(arguments)}")
  assert commands.launch("export", *arguments).code == 0
