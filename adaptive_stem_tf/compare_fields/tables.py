"""Writes a comparison of whole fields as Markdown and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf.compare_fields import settings, summary
from adaptive_stem_tf.evaluation import statistics

_CAPTIONS = {
  summary.BEST_STATIC: "Adaptive scans over the best static pair of scan and completion",
  summary.FARTHEST: "Adaptive scans over farthest points with the same completion",
  summary.RULE: "Learnt and greedy scans over the rule (gradient) with the same completion",
  summary.CLASSICAL: "The generator over the best classical completion of the same positions",
}
_OTHERS = ("ten_mse_raw", "ten_mse_truth", "psnr", "ssim", "nrmse", "dice")
_ERRORS = {
  "ten_mse": "filtered target", "ten_mse_raw": "raw target",
  "ten_mse_truth": "noiseless truth, filtered alike"}  # fmt: skip


def markdown(result: Mapping[str, Any]) -> str:
  """Returns the tables of a result of `report.result`."""
  lines = ["# Scans of whole fields", "", _made(result), ""]
  for name, caption in _CAPTIONS.items():
    for metric, words in _ERRORS.items():
      ratios = [
        one
        for one in result["ratios"]
        if one["comparison"] == name and one["metric"] == metric and one["ratio"]
      ]
      if ratios:
        extra = f" Pairs were chosen {result['chosen_on']}." if name == summary.BEST_STATIC else ""
        lines += [f"## {caption}: 10 MSE, {words}", "", f"{_RATIOS}{extra}", ""]
        lines += [*_ratios(ratios), ""]
  lines += ["## Every scan with every completion", "", *_errors(result["per_field"]), ""]
  lines += ["## Other measures", "", *_measures(result["per_field"]), ""]
  lines += _uncertainty(result["uncertainty"])
  return "\n".join(lines)


_RATIOS = (
  "Geometric mean of paired ratios over fields and seeds; 95 % interval that resamples seeds, "
  "files and fields; the least and the greatest field. Below 1: the first is better. "
  + statistics.FEW
)


def short(result: Mapping[str, Any]) -> str:
  """Returns the ratios to the best static pair over each stratum as lines of text."""
  return "\n".join(
    f"{one['group']}, coverage {one['coverage']:g}: {one['scan']} + {one['completion']}"
    f"{' of ' + one['model'] if one['model'] else ''} has "
    f"{statistics.with_interval(one['ratio'], '.2f')} of the error of {', '.join(one['over'])}."
    for one in result["ratios"]
    if one["comparison"] == summary.BEST_STATIC
    and one["metric"] == "ten_mse"
    and one["ratio"]
    and not one["group"].startswith("kind")
  )


def headline(result: Mapping[str, Any]) -> str:
  """Returns one sentence: which share of the best static scan's error the best decisions leave.

  The first of actor, greedy and gradient that was compared, at the middle budget; empty if none.
  """
  coverage = sorted(result["coverages"])[len(result["coverages"]) // 2]
  ratios = [
    one
    for one in result["ratios"]
    if (one["comparison"], one["metric"], one["group"], one["coverage"])
    == (summary.BEST_STATIC, "ten_mse", summary.ALL, coverage) and one["ratio"]
  ]  # fmt: skip
  order = [settings.ACTOR, settings.GREEDY, settings.GRADIENT]
  ratios = sorted((one for one in ratios if one["scan"] in order), key=lambda one: (
    order.index(one["scan"]), settings.COMPLETIONS.index(one["completion"])
  ))  # fmt: skip
  if not ratios:
    return ""
  best = ratios[0]
  over = ", ".join(best["over"]).replace("_", " ")
  return (
    f"With {coverage:.1%} of the pixels, the adaptive scan ({best['scan']} + "
    f"{best['completion'].replace('_', ' ')}) leaves "
    f"{statistics.with_interval(best['ratio'], '.2f')} of the error of the best static scan "
    f"({over}) on {best['fields']} fields; {best['least']:.2f} to {best['greatest']:.2f}."
  )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns rows as CSV."""
  names = list(dict.fromkeys(name for row in rows for name in row))
  text = io.StringIO()
  writer = csv.DictWriter(text, names, lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def _made(result):
  strata = ", ".join(f"{count} {name}" for name, count in result["strata"].items())
  models = ", ".join(f"{name} ({place})" for name, place in result["models"].items()) or "none"
  return (
    f"{result['fields']} fields ({strata}); coverages {_list(result['coverages'])}; seeds "
    f"{_list(result['seeds'])}; models: {models}. Every scan of a field has the same number of "
    "distinct positions. Strata: Gini coefficient g of structure over tiles of 64 px; "
    "heterogeneous g >= 0.5, mixed g >= 0.3, frame-filling below."
  )


def _ratios(ratios):
  lines = [
    "| coverage | fields of | model | scan | completion | over | ratio | least to greatest | "
    "fields |",
    "|---" * 9 + "|",
  ]
  for one in ratios:
    lines.append(
      f"| {one['coverage']:g} | {one['group']} | {one['model']} | {one['scan']} | "
      f"{one['completion']} | {', '.join(one['over'])} | "
      f"{statistics.with_interval(one['ratio'], '.2f')} | {one['least']:.2f} to "
      f"{one['greatest']:.2f} | {one['fields']} |"
    )
  return lines


def _errors(rows):
  """Returns geometric means of 10 MSE by scan (lines) and completion (columns)."""
  means = summary.geometric_means(rows)
  columns = list(dict.fromkeys((key[2], key[4]) for key in means if _is_column(key)))
  label = lambda model, completion: completion + (f" of {model}" if model else "")
  lines = [
    "Geometric mean of 10 MSE, filtered target. Scans of a model are in its own columns.",
    "",
    "| coverage | stratum | scan | " + " | ".join(label(*column) for column in columns) + " |",
    "|---" * (3 + len(columns)) + "|",
  ]
  heads = list(dict.fromkeys((*key[:2], key[3], _planner(key)) for key in means))
  for coverage, group, scan, planner in heads:
    cells = []
    for model, completion in columns:
      owner = planner or model
      value = means.get((coverage, group, owner, scan, completion))
      foreign = planner and model not in ("", planner)
      cells.append("" if value is None or foreign else f"{value:.4f}")
    by = f" of {planner}" if planner else ""
    lines.append(f"| {coverage:g} | {group} | {scan}{by} | {' | '.join(cells)} |")
  return lines


def _is_column(key):
  """Returns whether a key's model is its completion's, not its scan's."""
  return not key[2] or key[4] == settings.GENERATOR


def _planner(key):
  return key[2] if key[3] in settings.LEARNT else ""


def _measures(rows):
  shown = [name for name in _OTHERS if any(name in row for row in rows)]
  names = [*shown, "positions", "travel_ms", "decide_ms"]
  lines = [
    "Arithmetic means over fields and seeds; 10 MSE of the raw target and, where it is known, of "
    "the noiseless truth.",
    "",
    "| coverage | stratum | model | scan | completion | " + " | ".join(names) + " |",
    "|---" * (5 + len(names)) + "|",
  ]
  groups: dict[tuple, list] = {}
  for row in rows:
    key = (row["coverage"], row["stratum"], row["model"], row["scan"], row["completion"])
    groups.setdefault(key, []).append(row)
  for key, members in sorted(groups.items()):
    cells = [_mean([row[name] for row in members if name in row]) for name in names]
    lines.append(f"| {key[0]:g} | {' | '.join([*key[1:], *cells])} |")
  return lines


def _uncertainty(entries):
  if not entries:
    return []
  lines = [
    "## Uncertainty",
    "",
    "Shares of pixels within 1 and 1.96 expected standard deviations (wanted: 0.683 and 0.950); "
    "geometric mean of observed over expected squared error in each tenth of the pixels, surest "
    "first; area under the sparsification curve by expected error, by the local variance of the "
    "measurements, and by the true error (less is better, 1: at random). Means over fields.",
    "",
    "| coverage | stratum | model | scan | within 68 % | within 95 % | observed / expected, tenths "
    "| area | by local variance | by true error |",
    "|---" * 10 + "|",
  ]
  groups: dict[tuple, list] = {}
  for one in entries:
    for group in (one["stratum"], summary.ALL):
      groups.setdefault((one["coverage"], group, one["model"], one["scan"]), []).append(one)
  for key, members in sorted(groups.items()):
    mean = lambda name, members=members: f"{np.mean([one[name] for one in members]):.3f}"
    logs = [np.log(np.divide(one["observed"], one["expected"])) for one in members]
    tenths = " ".join(f"{value:.2f}" for value in np.exp(np.mean(logs, 0)))
    names = ("area", "area_local_variance", "area_oracle")
    lines.append(
      f"| {key[0]:g} | {' | '.join(key[1:])} | {mean('within_68')} | {mean('within_95')} | "
      f"{tenths} | {' | '.join(map(mean, names))} |"
    )
  return [*lines, ""]


def _mean(values):
  return f"{np.mean(values):.4g}" if values else ""


def _list(values):
  return ", ".join(f"{value:g}" for value in values)
