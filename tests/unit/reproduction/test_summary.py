"""The summary of all figures: what was claimed, and what was found."""

import json

import pytest

from adaptive_stem_tf.reproduction import summary, supplement, table


def result(name, values):
  figure = supplement.FIGURES[name]
  labels = {line.run: line.label for line in figure.lines if line.run in values}
  notes = {"scale": "small", "specimens": "crops.npy", "iterations": 3, "seeds": [0, 1, 2]}
  values = {
    run: {metric: dict(enumerate(of_seeds)) for metric, of_seeds in metrics.items()}
    for run, metrics in values.items()
  }
  return table.build(name, figure, labels, values, notes, comparable=False)


@pytest.fixture
def folder(tmp_path):
  """Results of two figures."""
  low, high = {"test": [1.0, 1.01, 1.02], "early": [1.0] * 3}, {"test": [2.0, 2.1, 2.2]}
  high["early"] = [0.5, 0.51, 0.52]
  table.write(result("s2a", {"lstm": low, "exponential": high}), tmp_path / "s2a")
  table.write(result("s2f", {"narrow": low}), tmp_path / "s2f")
  return tmp_path


def test_claims_are_counted_by_verdict(folder):
  said = summary.write(folder)
  assert said.startswith("Of 4 claims 1 agree, 1 disagree, 2 were not run.")
  rows = json.loads((folder / "summary.json").read_text())
  assert [(row["figure"], row["agreement"], row["seeds"]) for row in rows] == [
    ("s2a", "disagrees", 3),
    ("s2a", "agrees", 3),
    ("s2f", "not run", 0),
    ("s2f", "not run", 0),
  ]
  assert (
    rows[1]["compared"] == "test 10 MSE, mean: Cyclic, exponential decay beside Exponential decay"
  )
  assert rows[1]["effect"]["high"] < 0.55


def test_a_row_shows_the_effect_with_its_interval(folder):
  summary.write(folder)
  text = (folder / "summary.md").read_text()
  line = next(line for line in text.splitlines() if "a cyclic rate ends lower" in line)
  assert "| 0.481 [" in line and line.endswith("| 3 | agrees |")
  assert "Not drawn: s2b, s2c, s2d, s2e, s3a" in text


def test_metrics_of_one_run_are_named_twice():
  values = {"fixed_lstm": {"test": [2.0, 2.1, 2.2], "test_half": [1.0, 1.1, 1.2]}}
  rows = summary.gather({"controllers": result("controllers", values)})
  row = next(row for row in rows if row["claim"].endswith("helps fixed path 2"))
  assert row["compared"] == "test 10 MSE half-way, mean: Fixed 2 (of LSTM) beside test 10 MSE, mean"


def test_a_folder_without_results_is_refused(tmp_path):
  with pytest.raises(ValueError, match="holds no result of a figure"):
    summary.write(tmp_path)
