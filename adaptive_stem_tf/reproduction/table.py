"""Writes a figure's numbers beside the supplement's, as Markdown and JSON."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf import writing
from adaptive_stem_tf.reproduction import claims as claims_lib
from adaptive_stem_tf.reproduction.entries import Figure
from adaptive_stem_tf.reproduction.results import for_json

METRICS = {
  "test": "test 10 MSE, mean",
  "test_sd": "test 10 MSE, std dev",
  "test_half": "test 10 MSE half-way, mean",
  "test_half_sd": "test 10 MSE half-way, std dev",
  "train": "training 10 MSE, mean (evaluated)",
  "train_half": "training 10 MSE half-way, mean (evaluated)",
  "overfitting": "test minus training 10 MSE",
  "initial": "training 10 MSE over the first tenth",
  "early": "training 10 MSE over the first half",
  "late": "training 10 MSE over the last tenth",
  "instability": "greatest ratio of the averaged loss to its lowest before",
  "unstable_rate": "learning rate where unstable",
  "not_finite_rate": "learning rate where not finite",
  "rate": "learning rate",
}
_COLUMNS = (
  "test",
  "test_sd",
  "train",
  "test_half",
  "test_half_sd",
  "train_half",
  "early",
  "late",
  "instability",
  "unstable_rate",
  "not_finite_rate",
)


def build(
  name: str,
  figure: Figure,
  labels: Mapping[str, str],
  values: claims_lib.Values,
  notes: Mapping[str, Any],
  comparable: bool,
) -> dict[str, Any]:
  """Returns a figure's results, for JSON.

  Args:
    name: of the figure.
    figure: its entry in the table.
    labels: of the runs shown, by name.
    values: of every run, by metric and seed.
    notes: how the runs were made: scale, specimens, iterations, seeds.
    comparable: whether data and sizes are the supplement's, so that its numbers may be compared.
  """
  claims = []
  for claim in figure.claims:
    verdict = claims_lib.judge(claim, values)
    claims.append(
      {
        **claim._asdict(),
        "first_values": verdict.first,
        "second_values": verdict.second,
        "effect": verdict.effect and verdict.effect._asdict(),
        "agreement": verdict.agreement,
      }
    )
  numbers = []
  for printed in figure.printed:
    ours, agreement = claims_lib.judge_printed(printed, values, comparable)
    numbers.append(
      {
        "run": printed.run,
        "metric": printed.metric,
        "supplement": printed.value,
        "ours": ours,
        "agreement": agreement,
      }
    )
  runs = {run: _run(label, values.get(run, {})) for run, label in labels.items()}
  return {
    "figure": name,
    "title": figure.title,
    **notes,
    "units": {key: METRICS[key] for key in METRICS},
    "runs": runs,
    "claims": claims,
    "printed": numbers,
  }


def _run(label: str, values: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
  return {
    "label": label,
    "seeds": sorted({seed for by_seed in values.values() for seed in by_seed}),
    "values": {metric: list(by_seed.values()) for metric, by_seed in values.items()},
  }


def write(result: Mapping[str, Any], stem: pathlib.Path) -> None:
  """Writes `stem`.json and `stem`.md."""
  writing.text(stem.with_suffix(".json"), json.dumps(for_json(result), indent=1))
  writing.text(stem.with_suffix(".md"), markdown(result))


def markdown(result: Mapping[str, Any]) -> str:
  """Returns a figure's results as Markdown."""
  lines = [
    f"# {result['figure']}: {result['title']}",
    "",
    f"![{result['title']}]({result['figure']}.png)",
    "",
    f"Scale {result['scale']}, {result['specimens']}, {result['iterations']:,} iterations, seeds "
    f"{', '.join(map(str, result['seeds']))}. Errors are 10 MSE on [-1, 1], on filtered targets; "
    "each cell is the mean over seeds [their range].",
    "",
  ]
  lines += _runs(result["runs"])
  if result["printed"]:
    lines += [
      "",
      "| the supplement prints | of | there | ours | agrees? |",
      "|---|---|---|---|---|",
    ]
    lines += [
      f"| {METRICS[row['metric']]} | {_label(result, row['run'])} | {row['supplement']:.3g} | "
      f"{_cell(row['ours'])} | {row['agreement']} |"
      for row in result["printed"]
    ]
  if result["claims"]:
    lines += [
      "",
      "| the supplement says | source | measured by | ours | effect [95 %] | agrees? |",
      "|---|---|---|---|---|---|",
    ]
    lines += [_claim(result, row) for row in result["claims"]]
    lines += [
      "",
      "Effects are ratios of geometric means over seeds, or differences of means (signed), "
      f"{claims_lib.INTERVALS}. What an interval does not settle is unresolved, and so is all with "
      f"fewer than {claims_lib.FEWEST_SEEDS} seeds; similar means that all of the interval is "
      f"within a factor of {claims_lib.SIMILAR:g}, which denies a difference that is claimed.",
    ]
  return "\n".join(lines) + "\n"


def _runs(runs: Mapping[str, Any]) -> list[str]:
  columns = [
    column for column in _COLUMNS if any(run["values"].get(column) for run in runs.values())
  ]
  lines = [
    "| run | seeds | " + " | ".join(METRICS[column] for column in columns) + " |",
    "|---" * (len(columns) + 2) + "|",
  ]
  for run in runs.values():
    cells = [_cell(run["values"].get(column, [])) for column in columns]
    lines.append(f"| {run['label']} | {len(run['seeds'])} | {' | '.join(cells)} |")
  return lines


def _claim(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
  metric, _, other = row["metric"].partition(":")
  measure = METRICS[metric] + (f" against {METRICS[other]}" if other else "")
  ours = (
    f"{_label(result, row['first'])} {_cell(row['first_values'])}, "
    f"{_label(result, row['second'])} {_cell(row['second_values'])}"
  )
  effect = effect_text(row["effect"])
  return f"| {row['text']} | {row['source']} | {measure} | {ours} | {effect} | {row['agreement']} |"


def effect_text(effect: Mapping[str, Any] | None) -> str:
  """Returns an effect with its interval, signed if it is a difference; a dash for None."""
  if effect is None:
    return "-"
  sign = "" if effect["is_ratio"] else "+"
  estimate, low, high = (f"{effect[name]:{sign}.3g}" for name in ("estimate", "low", "high"))
  return f"{estimate} [{low}, {high}]"


def _label(result: Mapping[str, Any], run: str) -> str:
  return result["runs"][run]["label"] if run in result["runs"] else run


def _cell(values: Sequence[float]) -> str:
  if not values:
    return "-"
  if not np.isfinite(values).all():
    return "not finite"
  mean = f"{np.mean(values):.3g}"
  return mean if len(values) == 1 else f"{mean} [{min(values):.3g}, {max(values):.3g}]"
