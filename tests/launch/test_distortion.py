"""python -m launch.train_distortion, launch.evaluate_distortion, and what is made of a
correction.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.training import metrics_writer
from tests import tiny
from tests.launch import commands
from tests.launch.test_train import same_run

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")

OWN = {**tiny.CYCLE_FIELDS, "batch_size": tiny.BATCH, "lag_us": 10.0}
RUN = (
  f"--threads={tiny.THREADS}",
  "--noprogress",
  "--jit=none",
  "--log_every=1",
  "--checkpoint_every=2",
  "--picture_every=0",
)


@pytest.fixture(scope="module")
def completer(tmp_path_factory, images_file):
  """The workdir of a run whose scans are corrected."""
  return tiny.completer(tmp_path_factory.mktemp("completer"), images=str(images_file))


def train(workdir, *more, **changes):
  flags = [f"--{name}={value}" for name, value in {**OWN, **changes}.items()]
  return commands.launch("train_distortion", *RUN, *flags, f"--workdir={workdir}", *more)


def done(ended):
  assert ended.code == 0, ended.err
  return ended


def refused(ended, words):
  assert ended.code == 1 and words in ended.err and "Traceback" not in ended.err, ended
  return ended


@pytest.fixture(scope="module")
def runs(tmp_path_factory, completer):
  """Two cyclic corrections, of a better and a worse microscope, and the bound of the better."""
  folder = tmp_path_factory.mktemp("corrections")
  tf.config.run_functions_eagerly(True)
  for name, changes in (
    ("weak", {"lag_us": 5.0, "iterations": 2, "picture_every": 2}),
    ("strong", {"iterations": 1}),
    ("bound", {"lag_us": 5.0, "iterations": 1, "paired": True}),
  ):
    done(train(folder / name, completer=completer, **changes))
  tf.config.run_functions_eagerly(False)
  return folder


def test_two_iterations_fill_the_workdir(runs, completer, images_file):
  assert {path.name for path in (runs / "weak").iterdir()} == {
    "config.json",
    "inputs.json",
    "scans.npz",
    "metrics.csv",
    "checkpoints",
    "tensorboard",
    "learning_curves.png",
    "learning_curves.pdf",
    "examples.png",
  }
  rows = metrics_writer.read_rows(runs / "weak" / "metrics.csv")
  assert [row["iteration"] for row in rows] == [1, 2] and all(
    np.isfinite(list(row.values())).all() for row in rows
  )
  written = json.loads((runs / "weak" / "config.json").read_text())
  assert written["cycle"]["completer"] == str(completer) and written["data"]["images"] == str(
    images_file
  )
  assert written["scan"]["path"] == "spiral" and written["system"]["lag_us"] == 5.0
  with np.load(runs / "weak" / "scans.npz") as scans:
    assert scans["intensities"].shape == (8, 8, 16)  # half of 16 specimens


@pytest.mark.usefixtures("eagerly")
def test_resuming_keeps_flags_not_given_and_equals_running_through(tmp_path, completer):
  """Though the specimens, which were in memory, are streamed then."""
  straight, resumed = tmp_path / "straight", tmp_path / "resumed"
  given = {"completer": completer, "iterations": 3, "pickup_px": 1.0}
  done(train(straight, **given))
  with commands.terminated(2):
    assert "Stopped and saved" in done(train(resumed, **given)).out
  # Of the distortions only some are given again, at half strength of what is twice as bad.
  again = done(
    commands.launch(
      "train_distortion", *RUN, f"--workdir={resumed}", "--lag_us=20", "--strength=0.5",
      "--images_in=stream"
    )
  )  # fmt: skip
  assert f"Resuming {resumed} at iteration 2." in again.out and "Finished" in again.out
  assert (resumed / "specimens.npy").exists() and (resumed / "scans").is_dir()
  same_run(straight, resumed, 3)


@pytest.mark.slow
def test_kill_9_and_resume_equals_running_through(tmp_path, completer, eagerly):
  iterations = 12
  flags = [
    f"--{name}={value}"
    for name, value in {**OWN, "iterations": iterations, "completer": completer}.items()
  ]
  rows = tmp_path / "killed" / "metrics.csv"
  commands.kill_9("train_distortion", [*flags, *RUN, f"--workdir={tmp_path / 'killed'}"], rows, 5)
  assert 5 <= len(metrics_writer.read_rows(rows)) < iterations
  for name in ("killed", "straight"):
    ended = done(train(tmp_path / name, completer=completer, iterations=iterations))
    assert ("Resuming" in ended.out) == (name == "killed")
  same_run(tmp_path / "killed", tmp_path / "straight", iterations)


def test_flags_that_contradict_the_workdir_are_refused(runs):
  before = (runs / "weak" / "metrics.csv").read_text()
  said = refused(
    commands.launch(
      "train_distortion", *RUN, f"--workdir={runs / 'weak'}", "--lag_us=3", "--history=9"
    ),
    "lag_us is 5.0 there and 3.0 here",
  ).err
  assert "history is 8 there and 9 here" in said and "pickup_px" not in said
  assert (runs / "weak" / "metrics.csv").read_text() == before


def test_missing_and_wrong_completers_are_sentences(tmp_path, runs, completer):
  workdir = tmp_path / "run"
  refused(train(workdir), "completer is missing: give the workdir of a run (launch.train)")
  refused(train(workdir, completer=tmp_path), "holds no run: config.json is missing")
  refused(train(workdir, completer=runs / "weak"), "cannot be read: unknown fields")
  refused(train(workdir, completer=completer, history=2), "history=2 and batch_size=4 disagree")
  refused(
    train(workdir, f"--images={tmp_path / 'none.npy'}", completer=completer),
    "none.npy is not a file",
  )
  assert not workdir.exists()
  refused(train(completer), "cannot be read: unknown fields")


def test_a_strength_of_nothing_is_refused(tmp_path, completer):
  ended = commands.launch(
    "train_distortion", f"--completer={completer}", f"--workdir={tmp_path}", "--strength=0.5"
  )
  refused(ended, "strength=0.5 scales nothing: give the distortions' flags")


def evaluate(output, *correctors, more=()):
  return commands.launch(
    "evaluate_distortion",
    f"--correctors={','.join(correctors)}",
    f"--output_dir={output}",
    "--noprogress",
    *more,
  )


@pytest.mark.usefixtures("eagerly")
def test_corrections_are_evaluated(tmp_path, runs):
  correctors = (
    f"weak/cyclic={runs / 'weak'}",
    f"weak/paired={runs / 'bound'}",
    f"strong/cyclic={runs / 'strong'}",
  )
  ended = done(evaluate(tmp_path, *correctors, more=["--cross", "--examples=2"]))
  written = json.loads((tmp_path / "distortion.json").read_text())
  weak, strong = (written["microscopes"][name] for name in ("weak", "strong"))
  assert list(weak["ways"]) == [
    "undistorted",
    "uncorrected",
    "cyclic",
    "paired",
    "cyclic of strong",
  ]
  assert list(strong["ways"]) == [
    "undistorted",
    "uncorrected",
    "cyclic of weak",
    "paired of weak",
    "cyclic",
  ]
  assert (
    weak["count"] == 4
    and weak["iterations"] == {"cyclic": 2, "paired": 1}
    and written["split"] == "test"
  )
  assert weak["missed_px_rms"]["mean"] < strong["missed_px_rms"]["mean"]
  assert weak["ways"]["undistorted"] == strong["ways"]["undistorted"]
  table = (tmp_path / "distortion.md").read_text()
  assert table in ended.out and table.count("\n|") == 1 + 2 * 6 and "| weak | " in table
  assert {path.name for path in tmp_path.iterdir()} == {
    "distortion.json",
    "distortion.md",
    "recovery.png",
    "recovery.pdf",
    "weak.png",
    "strong.png",
    "weak_displacements.png",
    "strong_displacements.png",
  }


def test_without_cross_each_microscope_has_its_own(tmp_path, runs, eagerly):
  done(evaluate(tmp_path, f"weak/cyclic={runs / 'weak'}", f"strong/bound={runs / 'bound'}"))
  written = json.loads((tmp_path / "distortion.json").read_text())["microscopes"]
  assert list(written["weak"]["ways"])[2:] == ["cyclic"] and list(written["strong"]["ways"])[
    2:
  ] == ["bound"]
  assert not (tmp_path / "strong_displacements.png").exists()  # a paired bound learns none


@pytest.mark.parametrize(
  "correctors, words",
  [
    (["weak={weak}"], "is not MICROSCOPE/METHOD=WORKDIR"),
    (["weak/={weak}"], "is not MICROSCOPE/METHOD=WORKDIR"),
    (["weak/cyclic"], "is not MICROSCOPE/METHOD=WORKDIR"),
    (["weak/undistorted={weak}"], "undistorted is what correctors are compared with"),
    (["weak/cyclic={weak}", "weak/cyclic={bound}"], "correctors name weak/cyclic twice"),
    (
      ["weak/a={weak}", "weak/b={strong}"],
      "not trained on the same microscope's scans (system differ)",
    ),
    (["weak/cyclic={completer}"], "cannot be read"),
    (["weak/cyclic=nowhere"], "nowhere holds no run"),
  ],
)
def test_mistaken_correctors_are_sentences(tmp_path, runs, completer, correctors, words):
  places = {"completer": completer, **{name: runs / name for name in ("weak", "strong", "bound")}}
  refused(evaluate(tmp_path / "out", *(one.format(**places) for one in correctors)), words)
  assert not list(tmp_path.rglob("*.json"))


def test_an_empty_split_is_refused(tmp_path, runs):
  refused(
    evaluate(tmp_path, f"weak/cyclic={runs / 'weak'}", more=["--split=validation"]),
    "split=validation is empty",
  )


def test_a_correction_is_exported_and_corrects_scans(tmp_path, runs, model):
  corrector = tmp_path / "corrector" / "1"
  assert (
    "Exported iteration 2"
    in done(commands.launch("export", f"--workdir={runs / 'weak'}", f"--output={corrector}")).out
  )
  np.save(tmp_path / "image.npy", tiny.images(1, 24)[0, ..., 0])
  scan = lambda output, *more: commands.launch(
    "scan",
    f"--image={tmp_path / 'image.npy'}",
    f"--model={model}",
    f"--output_dir={tmp_path / output}",
    *more,
  )
  done(scan("plain")), done(scan("corrected", f"--corrector={corrector}"))
  told = {
    name: json.loads((tmp_path / name / "scan.json").read_text()) for name in ("plain", "corrected")
  }
  assert told["plain"]["corrector"] is None and told["corrected"]["corrector"] == str(corrector)
  assert len(list((tmp_path / "corrected").iterdir())) == 7
  plain, corrected = (
    np.load(tmp_path / name / "completion.npy") for name in ("plain", "corrected")
  )
  assert plain.shape == corrected.shape == (16, 16) and np.abs(plain - corrected).max() > 1e-4
  refused(scan("other", f"--corrector={model}"), "has no signature correct")
  assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("flag", ["--litert", "--litert_precisions=int8"])
def test_corrections_have_no_fast_path(tmp_path, runs, flag):
  ended = commands.launch(
    "export", f"--workdir={runs / 'weak'}", f"--output={tmp_path / '1'}", flag
  )
  refused(ended, "holds a distortion correction, which has no LiteRT form: leave --litert out")
  assert not (tmp_path / "1").exists()
