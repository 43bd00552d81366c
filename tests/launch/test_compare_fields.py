"""python -m launch.compare_fields on tiny fields."""

import csv
import json

import numpy as np
import pytest

from adaptive_stem_tf import field_config
from adaptive_stem_tf.compare_fields import slads
from adaptive_stem_tf.learning import field_agent, field_learner
from adaptive_stem_tf.training import checkpoint, workdir
from tests.launch import commands

TINY = {
  "generator_channels": 2,
  "policy_channels": 3,
  "capacity": 4,
  "crop": 64,
  "generator_crop": 32,
  "rounds": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Two micrographs, one with an information bar, and their fields.json."""
  place = tmp_path_factory.mktemp("fields")
  random, (rows, columns) = np.random.default_rng(0), np.ogrid[:110, :120]
  for number in range(2):
    centres = random.uniform(20, 80, [3, 2])
    image = sum(np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 60) for r, c in centres)
    np.save(place / f"{number}.npy", image)
  entries = [
    {"file": "0.npy", "rows": 100, "split": "test", "modality": "SEM"},
    {"file": "1.npy", "rows": None, "split": "train", "modality": "STEM"},
  ]
  (place / "fields.json").write_text(json.dumps(entries))
  return place


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The workdir of a tiny run, not trained."""
  place = tmp_path_factory.mktemp("run")
  experiment = field_config.FieldExperiment().replace(**TINY)
  networks = field_agent.make_networks(experiment)
  learner = field_learner.FieldLearner(experiment, [np.zeros([64, 64, 1], np.float32)], networks)
  workdir.open_workdir(place, experiment)
  checkpoint.Checkpoints(place / workdir.CHECKPOINTS, learner).save(1)
  return place


def compare(*arguments):
  return commands.launch("compare_fields", "--noprogress", "--coverages=0.05", *arguments)


def test_fields_are_compared_without_a_model(folder, tmp_path, eagerly):
  ended = compare(
    f"--fields={folder}", f"--output_dir={tmp_path}", "--scans=farthest_points,spiral,gradient"
  )
  assert ended.code == 0, ended.err
  result = json.loads((tmp_path / "compare_fields.json").read_text())
  rows = result["per_field"]
  assert len(rows) == 2 * 3 * 2 * 3  # fields, scans, completions, seeds
  of = lambda file: {row["positions"] for row in rows if row["file"] == file}
  assert of("0.npy") == {round(0.05 * 100 * 120)} and of("1.npy") == {round(0.05 * 110 * 120)}
  assert {row["kind"] for row in rows} == {"SEM", "STEM"}
  assert result["static_pairs"] and "on the fields themselves" in result["chosen_on"]
  assert {path.name for path in tmp_path.iterdir()} == {
    "compare_fields.json", "compare_fields.csv", "compare_fields.md", "sheet.png", "ratios.png",
    "ratios.pdf", "rounds.gif"}  # fmt: skip
  with open(tmp_path / "compare_fields.csv", newline="") as file:
    lines = list(csv.DictReader(file))
  assert [float(line["ten_mse"]) for line in lines] == [row["ten_mse"] for row in rows]
  assert "has" in ended.out and "of the error of" in ended.out


def test_fields_are_compared_with_a_model_and_validation_fields(folder, run, tmp_path, eagerly):
  ended = compare(
    f"--fields={folder}", "--split=test", f"--validation_fields={folder}", f"--models=a={run}",
    "--scans=farthest_points,gradient,actor", "--seeds=1", f"--output_dir={tmp_path}",
    "--nopictures")  # fmt: skip
  assert ended.code == 0, ended.err
  result = json.loads((tmp_path / "compare_fields.json").read_text())
  assert {row["file"] for row in result["per_field"]} == {"0.npy"}
  assert "on 2 validation fields" in result["chosen_on"]
  assert {one["model"] for one in result["uncertainty"]} == {"a"}
  assert result["models"]["a"].endswith("iteration 1")
  assert "## Uncertainty" in (tmp_path / "compare_fields.md").read_text()


def test_slads_is_trained_and_compared_where_it_is_named(folder, tmp_path, monkeypatch, eagerly):
  train, taught = slads.train, []

  def shorter(pairs, plain):
    image, truth = next(iter(pairs))
    taught.append(train([(image[:64, :64], truth[:64, :64])], plain))
    return taught[-1]

  monkeypatch.setattr(slads, "train", shorter)
  ended = compare(
    f"--fields={folder}", "--split=test", "--scans=farthest_points,slads", "--seeds=1",
    "--completions=local_linear", f"--output_dir={tmp_path}", "--nopictures")  # fmt: skip
  assert ended.code == 0, ended.err
  assert len(taught) == 1 and np.isfinite(taught[0]).all() and taught[0].any()
  rows = json.loads((tmp_path / "compare_fields.json").read_text())["per_field"]
  assert {row["positions"] for row in rows} == {600} and len(rows) == 2
  errors = {row["scan"]: row["ten_mse"] for row in rows}
  assert 0 < errors["slads"] != errors["farthest_points"] > 0
  assert "| slads " in (tmp_path / "compare_fields.md").read_text()


def test_outlines_are_compared_where_they_are_named(folder, tmp_path, eagerly):
  ended = compare(
    f"--fields={folder}", "--split=test", "--scans=farthest_points,outline", "--seeds=1",
    f"--validation_fields={folder}", "--completions=local_linear", f"--output_dir={tmp_path}",
    "--nopictures")  # fmt: skip
  assert ended.code == 0, ended.err
  result = json.loads((tmp_path / "compare_fields.json").read_text())
  rows = {row["scan"]: row for row in result["per_field"]}
  assert {row["positions"] for row in rows.values()} == {600} and len(rows) == 2
  assert rows["outline"]["dice"] > rows["farthest_points"]["dice"]


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ([], "give either --fields or --simulated"),
    (["--simulated=1", "--coverages=2"], "coverages=2 should be numbers"),
    (["--simulated=1", "--seeds=1,1"], "repeats a number"),
    (["--simulated=1", "--scans=circle"], "scans=circle is unknown"),
    (["--simulated=1", "--completions=generator"], "needs a model"),
    (["--simulated=1", "--models=nowhere"], "nowhere holds no run"),
    (["--simulated=1", "--scans=outline", "--contiguous"], "contiguous=True and scans=outline"),
    (["--simulated=1", "--simulated_kinds=cats"], "simulated_kinds=cats is unknown"),
  ],
)
def test_mistakes_end_in_a_sentence(arguments, words, tmp_path):
  ended = compare(f"--output_dir={tmp_path}", *arguments)
  assert ended.code == 1 and words in ended.err
  assert not list(tmp_path.iterdir())
