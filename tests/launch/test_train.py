"""python -m launch.train, from flags to a workdir."""

import json

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.training import metrics_writer
from tests import tiny
from tests.launch import commands

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


def state(workdir, step):
  """Returns every tensor of a checkpoint by name."""
  reader = tf.train.load_checkpoint(str(workdir / "checkpoints" / f"step_{step:09d}" / "state"))
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if "OBJECT_GRAPH" not in name
  }


def same_run(ours, theirs, step):
  assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text()
  ours, theirs = state(ours, step), state(theirs, step)
  assert ours.keys() == theirs.keys() and len(ours) > 50
  for name, value in ours.items():
    np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_two_iterations_fill_the_workdir(tmp_path, images_file, eagerly):
  ended = commands.train(tmp_path, images_file, "--picture_every=1", iterations=2)
  assert ended.code == 0, ended.err
  assert (
    "16 training, 0 validation, 4 test specimens of 16 x 16 px" in ended.out
    and "Finished" in ended.out
  )
  rows = metrics_writer.read_rows(tmp_path / "metrics.csv")
  assert [row["iteration"] for row in rows] == [1, 2] and all(
    np.isfinite(list(row.values())).all() for row in rows
  )
  written = json.loads((tmp_path / "config.json").read_text())
  assert written["scan"]["segments"] == tiny.SEGMENTS and written["data"]["images"] == str(
    images_file
  )
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {
    "config.json",
    "inputs.json",
    "metrics.csv",
    "checkpoints",
    "tensorboard",
    "learning_curves.png",
    "learning_curves.pdf",
    "examples.png",
  }


def test_resuming_keeps_flags_not_given_and_equals_running_through(tmp_path, images_file, eagerly):
  """Though the specimens, which were in memory, are streamed then."""
  straight, resumed = tmp_path / "straight", tmp_path / "resumed"
  given = {**tiny.SMALLER, "iterations": 4}
  assert commands.train(straight, images_file, **given).code == 0
  with commands.terminated(3):
    stopped = commands.train(resumed, images_file, **given)
  assert stopped.code == 0 and "Stopped and saved, the same command goes on" in stopped.out
  again = commands.launch(
    "train",
    f"--workdir={resumed}",
    "--noprogress",
    "--jit=none",
    "--log_every=1",
    "--checkpoint_every=2",
    "--picture_every=0",
    f"--threads={tiny.THREADS}",
    "--images_in=stream",
  )
  assert again.code == 0, again.err
  assert f"Resuming {resumed} at iteration 3." in again.out and "Finished" in again.out
  assert (resumed / "specimens.npy").exists()
  same_run(straight, resumed, 4)


def test_a_flag_that_contradicts_the_workdir_is_refused(tmp_path, images_file, eagerly):
  assert commands.train(tmp_path, images_file, iterations=1).code == 0
  before = (tmp_path / "metrics.csv").read_text()
  ended = commands.train(tmp_path, images_file, iterations=1, units=9)
  assert (
    ended.code == 1 and "units is 8 there and 9 here" in ended.err and "Traceback" not in ended.err
  )
  assert (tmp_path / "metrics.csv").read_text() == before


@pytest.mark.parametrize(
  "way, iterations", [("eager", 10), pytest.param("graph", 300, marks=pytest.mark.slow)]
)
def test_kill_9_and_resume_equals_running_through(tmp_path, images_file, request, way, iterations):
  arguments = [
    *tiny.flags(iterations=iterations, **(tiny.SMALLER if way == "eager" else {})),
    f"--images={images_file}",
    "--log_every=1",
    "--picture_every=0",
    f"--checkpoint_every={iterations // 8}",
  ]
  if way == "eager":
    request.getfixturevalue("eagerly")
  else:
    arguments.append("--jit=auto")
  rows = tmp_path / "killed" / "metrics.csv"
  commands.kill_9(
    "train", [*arguments, f"--workdir={tmp_path / 'killed'}"], rows, iterations // 3, way == "eager"
  )
  reached = len(metrics_writer.read_rows(rows))
  assert iterations // 3 <= reached < iterations
  for workdir in ("killed", "straight"):
    ended = commands.launch("train", *arguments, f"--workdir={tmp_path / workdir}")
    assert ended.code == 0, ended.err
    assert ("Resuming" in ended.out) == (workdir == "killed")
  same_run(tmp_path / "killed", tmp_path / "straight", iterations)
