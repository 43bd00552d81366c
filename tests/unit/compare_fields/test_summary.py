"""Static pairs and paired ratios, by hand."""

import numpy as np
import pytest

from adaptive_stem_tf.compare_fields import choice, report, summary, tables
from adaptive_stem_tf.compare_fields.choice import Pair


def row(scan, completion, error, model="", file="a", seed=0, stratum="mixed", **more):
  return {
    "file": file, "source": file, "kind": "", "stratum": stratum, "gini": 0.4, "coverage": 0.05,
    "scan": scan, "completion": completion, "model": model, "seed": seed, "positions": 10,
    "ten_mse": error, **more}  # fmt: skip


def test_the_best_pair_has_the_least_geometric_mean():
  rows = [
    row("spiral", "linear", 0.1, file="a"),
    row("spiral", "linear", 0.1, file="b"),
    row("raster", "linear", 0.01, file="a"),
    row("raster", "linear", 0.5, file="b"),  # sqrt(0.005) < 0.1, though its mean is 0.26
    row("gradient", "linear", 0.001, file="a"),  # not static
  ]
  assert choice.best_static(rows) == {(0.05, "mixed", ""): Pair("raster", "linear")}


def test_a_pair_of_each_model_does_not_use_the_generator_of_another():
  rows = [
    row("spiral", "linear", 0.3),
    row("spiral", "generator", 0.1, model="good"),
    row("spiral", "generator", 0.9, model="bad"),
  ]
  chosen = choice.best_static(rows)
  assert chosen[0.05, "mixed", "good"] == Pair("spiral", "generator")
  assert chosen[0.05, "mixed", "bad"] == Pair("spiral", "linear")


def of(ratios, comparison, group, **wanted):
  (one,) = [
    one
    for one in ratios
    if one["comparison"] == comparison
    and one["group"] == group
    and all(one[name] == value for name, value in wanted.items())
  ]
  return one


@pytest.fixture
def rows():
  """Two fields, two seeds: the actor has 1/2 and 1/8 of the static error, 1/2 of the rule's."""
  rows = []
  for file, factor in (("a", 0.5), ("b", 0.125)):
    for seed in (0, 1):
      static = 0.1 * (1 + seed)
      known = {"file": file, "seed": seed}
      rows += [
        row("farthest_points", "linear", 2 * static, **known),
        row("farthest_points", "generator", static, model="m", **known),
        row("gradient", "generator", 2 * factor * static, model="m", **known),
        row("gradient", "linear", 4 * factor * static, **known),
        row("actor", "generator", factor * static, model="m", **known),
        row("actor", "linear", 3 * factor * static, model="m", **known),
      ]
  return rows


def test_ratios_by_hand(rows):
  ratios = summary.ratios(rows, choice.best_static(rows))
  actor = {"scan": "actor", "completion": "generator"}
  best = of(ratios, summary.BEST_STATIC, "mixed", **actor)
  assert best["ratio"]["mean"] == pytest.approx(0.25)  # sqrt(1/2 * 1/8)
  assert (best["least"], best["greatest"]) == (pytest.approx(0.125), pytest.approx(0.5))
  assert best["fields"] == 2 and best["over"] == ["farthest_points + generator"]
  assert best["ratio"]["num_seeds"] == 2 and best["ratio"]["files"] == 2
  rule = of(ratios, summary.RULE, "all", **actor)
  assert rule["ratio"]["mean"] == pytest.approx(0.5)
  even = of(ratios, summary.FARTHEST, "all", scan="actor", completion="linear")
  assert even["ratio"]["mean"] == pytest.approx(1.5 * 0.25)
  own = of(ratios, summary.CLASSICAL, "all", **actor)
  assert own["ratio"]["mean"] == pytest.approx(1 / 3) and own["over"] == ["actor + linear"]
  static = of(ratios, summary.CLASSICAL, "all", scan="farthest_points", completion="generator")
  assert static["ratio"]["mean"] == pytest.approx(0.5)


def test_a_group_without_fields_has_no_ratio(rows):
  ratios = summary.ratios(rows, choice.best_static(rows))
  empty = of(ratios, summary.BEST_STATIC, "heterogeneous", scan="actor", completion="generator")
  assert empty["ratio"] is None and empty["fields"] == 0


def test_geometric_means(rows):
  means = summary.geometric_means(rows)
  key = (0.05, "all", "", "farthest_points", "linear")
  assert means[key] == pytest.approx(np.sqrt(0.2 * 0.4))


def test_tables_hold_what_was_measured(rows):
  values = {
    "ten_mse_raw": 0.3, "psnr": 20.0, "ssim": 0.5, "nrmse": 0.1, "dice": 0.75, "travel_ms": 9.0,
    "decide_ms": 1.0}  # fmt: skip
  rows = [{**one, **values} for one in rows]
  chosen = choice.best_static(rows)
  result = {
    "fields": 2, "strata": {"mixed": 2}, "coverages": [0.05], "seeds": [0, 1],
    "models": {"m": "runs/m"}, "chosen_on": "on 3 validation fields", "per_field": rows,
    "ratios": summary.ratios(rows, chosen), "uncertainty": []}  # fmt: skip
  text = tables.markdown(result)
  assert "| 0.05 | mixed | m | actor | generator | farthest_points + generator | 0.25" in text
  assert "chosen on 3 validation fields" in text and "0.75" in text
  lines = tables.table(rows).splitlines()
  assert len(lines) == 1 + len(rows) and lines[0].startswith("file,source,")
  assert "actor + generator of m has 0.25" in tables.short(result)


def trainings(rows, factor):
  """Adds a second training of the model whose errors are `factor` times as great."""
  own = [{**one, "training": 1} for one in rows]
  return own + [
    {**one, "training": 2, "ten_mse": factor * one["ten_mse"]} for one in own if one["model"]
  ]


def test_trainings_of_one_name_are_taken_together(rows):
  both = trainings(rows, 4.0)
  ratios = summary.ratios(both, choice.best_static(rows))
  actor = {"scan": "actor", "completion": "generator"}
  # Each is compared with the static pair that its own generator completed.
  best = of(ratios, summary.BEST_STATIC, "mixed", **actor)
  assert best["ratio"]["mean"] == pytest.approx(0.25)
  assert best["ratio"]["num_seeds"] == 4  # two trainings, two patterns of positions
  # Over what learns nothing the second training is four times as bad.
  classical = of(ratios, summary.CLASSICAL, "mixed", scan="farthest_points", completion="generator")
  assert classical["ratio"]["mean"] == pytest.approx(0.5 * 2)


def test_the_headline_says_what_the_actor_leaves(rows):
  result = {
    "coverages": [0.05], "ratios": summary.ratios(rows, choice.best_static(rows)),
  }  # fmt: skip
  sentence = tables.headline(result)
  assert sentence.startswith(
    "With 5.0% of the pixels, the adaptive scan (actor + generator) leaves"
  )
  assert "0.25 [" in sentence and "(farthest points + generator) on 2 fields" in sentence
  assert tables.headline({"coverages": [0.05], "ratios": []}) == ""


def test_kinds_have_ratios_to_the_truth_over_the_static_pair_that_is_best_for_the_truth():
  # The spiral reproduces noise: it is ahead on the noisy target, and behind on the truth.
  known = {"kind": "wires"}
  static = [
    row("spiral", "linear", 0.1, ten_mse_truth=0.4, **known),
    row("raster", "linear", 0.2, ten_mse_truth=0.1, **known),
  ]
  adaptive = [row("gradient", "linear", 0.05, ten_mse_truth=0.05, **known)]
  result = report.result((static + adaptive, []), static, {})
  of_kind = {
    one["metric"]: (one["over"], one["ratio"]["mean"])
    for one in result["ratios"]
    if (one["comparison"], one["group"]) == (summary.BEST_STATIC, "kind: wires")
  }
  assert of_kind == {
    "ten_mse": (["spiral + linear"], pytest.approx(0.5)),
    "ten_mse_truth": (["raster + linear"], pytest.approx(0.5)),
  }
