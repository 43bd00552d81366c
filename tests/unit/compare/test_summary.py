"""Means, intervals and paired differences of a comparison."""

import csv
import json

import numpy as np
import pytest

from adaptive_stem_tf import config
from adaptive_stem_tf.compare import drawings, measure, scanning, summary, tables
from adaptive_stem_tf.evaluation import metrics as metrics_lib
from adaptive_stem_tf.evaluation import statistics

SOURCES = ["a", "a", "b", "b", "c", "c"]
KINDS = ["x"] * 4 + ["y"] * 2
HEAD = {
  "images": "crops.npy",
  "split": "test",
  "count": 6,
  "files": 3,
  "probing_positions": 16,
  "seeds": [0, 1],
  "generator_iterations": 5,
  "equal_time": False,
  "pitches": {"spiral": 4.0},
  "pitches_chosen": "given",
  "beam": {"dwell_us": 1.0, "beam_speed": 1.0, "settling_us": 0.0, "flyback_us": 0.0},
  "models": {},
}


def metrics(errors):
  values = {metric: np.array(errors, float) for metric in metrics_lib.METRICS}
  return dict.fromkeys(summary.TARGETS, values)


@pytest.fixture(scope="module")
def compared():
  """Scans whose errors are known: two seeds of the adaptive one, of which the polygon is the better
  spiral.
  """
  scans = {
    "adaptive": [metrics([1, 2, 3, 4, 5, 6]), metrics([3, 4, 5, 6, 7, 8])],
    "spiral": [metrics([9] * 6), metrics([9] * 6)],
    "spiral_polygon": [metrics([4, 4, 4, 4, 8, 8]), metrics([4, 4, 4, 4, 8, 8])],
    "grid": [metrics([1] * 6), metrics([1] * 6)],
  }
  facts = {
    "probing_positions": 16,
    "distinct_pixels": 15.5,
    "distinct_share": 0.06,
    "time_us": 160.0,
  }
  contenders = [
    measure.Contender(
      name,
      name,
      name == "adaptive",
      config.ScanGeometry(),
      (measure.Entry(0, None, None), measure.Entry(1, None, None)),
    )
    for name in scans
  ]
  made = measure.Measurements(
    {scanning.CLEAN.name: {"own": scans, "linear": scans}, "measured range": {"own": scans}},
    dict.fromkeys(scans, facts),
    {},
  )
  return {**HEAD, **summary.build(made, contenders, SOURCES, KINDS)}


def own(compared, scan):
  return compared["conditions"][scanning.CLEAN.name]["own"]["scans"][scan]


def test_means_are_over_seeds(compared):
  summarised = own(compared, "adaptive")["filtered"]["ten_mse"]
  assert (
    summarised["mean"] == 4.5 and summarised["seeds"] == [3.5, 5.5] and summarised["count"] == 6
  )
  low, high = summarised["interval_95"]
  assert low < 4.5 < high and summarised["files"] == 3


def test_intervals_hold_what_seeds_differ_by(compared):
  """The interval is that of both seeds, not that of each image's mean over seeds."""
  errors = np.array([[1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8.0]])
  adaptive = own(compared, "adaptive")["filtered"]["ten_mse"]
  expected = statistics.summarise(errors, SOURCES)
  assert adaptive == {**expected, "seeds": [3.5, 5.5]} and adaptive["num_seeds"] == 2
  assert adaptive["interval_95"] != statistics.summarise(errors.mean(0), SOURCES)["interval_95"]
  minus = own(compared, "adaptive")["minus_better_spiral"]["filtered"]["ten_mse"]
  expected = statistics.summarise(errors - [4, 4, 4, 4, 8, 8], SOURCES)
  assert minus["interval_95"] == expected["interval_95"] and minus["num_seeds"] == 2
  by_kind = compared["by_kind"]["own"]["x"]["scans"]["adaptive"]
  expected = statistics.summarise(errors[:, :4], SOURCES[:4])
  assert by_kind["ten_mse"]["interval_95"] == expected["interval_95"]


def test_seeds_of_unequal_numbers_are_not_paired():
  """Three seeds against one: of the one, no spread is known."""
  ours, theirs = np.arange(18.0).reshape(3, 6), np.ones([1, 6])
  expected = statistics.summarise(ours, SOURCES, minus=theirs)
  assert summary._minus(ours, theirs, SOURCES) == expected and expected["num_seeds"] == 1
  assert expected["mean"] == pytest.approx(7.5)


def test_differences_are_paired_with_the_better_spiral(compared):
  made = compared["conditions"][scanning.CLEAN.name]["own"]
  assert made["better_spiral"] == "spiral_polygon" and "minus_better_spiral" not in own(
    compared, "spiral_polygon"
  )
  difference = own(compared, "adaptive")["minus_better_spiral"]["filtered"]["ten_mse"]
  assert difference["mean"] == pytest.approx(4.5 - 32 / 6) and difference["seeds"] == pytest.approx(
    [-11 / 6, 1 / 6]
  )
  assert own(compared, "grid")["minus_better_spiral"]["raw"]["psnr"]["mean"] == pytest.approx(
    1 - 32 / 6
  )


def test_differences_are_paired_with_the_adaptive_scan_too(compared):
  made = compared["conditions"][scanning.CLEAN.name]["own"]
  assert made["adaptive"] == "adaptive" and "minus_adaptive" not in own(compared, "adaptive")
  minus = own(compared, "grid")["minus_adaptive"]["filtered"]["ten_mse"]
  assert minus["mean"] == pytest.approx(1 - 4.5) and minus["seeds"] == pytest.approx(
    [1 - 3.5, 1 - 5.5]
  )
  polygon, back = (own(compared, scan) for scan in ("spiral_polygon", "adaptive"))
  low, high = polygon["minus_adaptive"]["filtered"]["ten_mse"]["interval_95"]
  assert [-high, -low] == pytest.approx(
    back["minus_better_spiral"]["filtered"]["ten_mse"]["interval_95"], abs=0.05
  )
  assert compared["by_kind"]["own"]["y"]["scans"]["grid"]["minus_adaptive"][
    "mean"
  ] == pytest.approx(1 - 6.5)


def test_by_kind_and_file(compared):
  kinds, files = compared["by_kind"]["own"], compared["by_file"]["own"]
  assert kinds["x"]["count"] == 4 and kinds["x"]["files"] == 2 and kinds["y"]["files"] == 1
  assert kinds["x"]["scans"]["adaptive"]["ten_mse"]["mean"] == 3.5
  assert kinds["y"]["scans"]["adaptive"]["minus_better_spiral"]["mean"] == pytest.approx(6.5 - 8)
  assert files["b"]["scans"]["adaptive"]["ten_mse"]["mean"] == 4.5 and set(files) == {"a", "b", "c"}
  assert compared["per_image"]["own"]["adaptive"] == [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8]]


def test_without_spirals_there_are_no_differences():
  scans = {"grid": [metrics([1] * 6)]}
  assert summary.better_spiral(scans) is None
  made = measure.Measurements({scanning.CLEAN.name: {"own": scans}}, {"grid": {}}, {})
  result = summary.build(
    made, [measure.Contender("grid", "grid", False, config.ScanGeometry(), ())], None, None
  )
  assert "by_kind" not in result and not {"minus_better_spiral", "minus_adaptive"} & set(
    own(result, "grid")
  )
  assert result["conditions"][scanning.CLEAN.name]["own"]["adaptive"] is None
  assert drawings.forest({**HEAD, **result}) is None


def test_files_hold_every_number(tmp_path, compared):
  tables.write(compared, tmp_path)
  read = json.loads((tmp_path / "compare.json").read_text())
  assert own(read, "grid")["filtered"]["mse"]["mean"] == 1
  with open(tmp_path / "compare.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 3 * 4 * 2 * 5  # completions under conditions, scans, targets, metrics
  key = ("condition", "completion", "scan", "target", "metric")
  found = lambda scan: next(
    row
    for row in rows
    if [row[name] for name in key] == ["image range", "own", scan, "filtered", "ten_mse"]
  )
  row = found("adaptive")
  assert (
    float(row["mean"]) == 4.5
    and row["seeds"] == "3.5 5.5"
    and row["better_spiral"] == "spiral_polygon"
  )
  assert float(row["difference"]) == pytest.approx(4.5 - 32 / 6) and row["minus_adaptive"] == ""
  row = found("grid")
  assert row["adaptive"] == "adaptive" and float(row["minus_adaptive"]) == pytest.approx(-3.5)
  assert float(row["minus_adaptive_low"]) <= -3.5 <= float(row["minus_adaptive_high"])
  text = (tmp_path / "compare.md").read_text()
  assert "| adaptive | 4.500 [" in text and "| reference |" in text and "By kind of source" in text
  assert "| minus better spiral | minus adaptive |" in text and "| -3.500 [" in text
  assert "x (4 images, 2 files)" in text and "measured range" in text
  assert all(line.count("|") == lines[0].count("|") for lines in _tables(text) for line in lines)


def _tables(text):
  """Returns the Markdown tables of a text as lists of lines."""
  blocks = [block.split("\n") for block in text.split("\n\n")]
  return [
    [line for line in block if line.startswith("|")] for block in blocks if block[0].startswith("|")
  ]


def test_the_forest_shows_every_scan(compared):
  drawn = drawings.forest(compared)
  labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
  assert labels == ["adaptive", "spiral", "spiral_polygon", "grid"]
  grid_mean = 1 - 32 / 6
  assert any(np.allclose(line.get_xdata(), grid_mean) for line in drawn.axes[0].lines)
