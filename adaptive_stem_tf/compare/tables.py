"""Writes a comparison as JSON, CSV and Markdown."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adaptive_stem_tf import writing
from adaptive_stem_tf.compare import classical
from adaptive_stem_tf.compare.measure import FILTERED
from adaptive_stem_tf.compare.plan import ALL, COMPLETIONS, OWN, shown_first
from adaptive_stem_tf.compare.scanning import CLEAN
from adaptive_stem_tf.compare.summary import TARGETS
from adaptive_stem_tf.evaluation import metrics
from adaptive_stem_tf.evaluation.statistics import FEW, ends, with_interval

_HEADER = (
  "condition",
  "completion",
  "scan",
  "target",
  "metric",
  "mean",
  "standard_deviation",
  "low",
  "high",
  "files",
  "num_seeds",
  "seeds",
  "better_spiral",
  "difference",
  "difference_low",
  "difference_high",
  "adaptive",
  "minus_adaptive",
  "minus_adaptive_low",
  "minus_adaptive_high",
)


def write(result: Mapping[str, Any], folder: str | os.PathLike) -> None:
  """Writes compare.json, compare.csv and compare.md."""
  with writing.together(folder, last="compare.json") as unfinished:
    (unfinished / "compare.json").write_text(json.dumps(result, indent=1))
    with open(unfinished / "compare.csv", "w", newline="") as file:
      writer = csv.DictWriter(file, _HEADER)
      writer.writeheader()
      writer.writerows(rows(result))
    (unfinished / "compare.md").write_text(markdown(result))


def rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
  """Yields a row for every condition, completion, scan, target and metric."""
  for condition, completions in result["conditions"].items():
    for completion, outcome in completions.items():
      for scan, values in outcome["scans"].items():
        for target in TARGETS:
          for metric in metrics.METRICS:
            summary = values[target][metric]
            low, high = ends(summary)
            row = {
              "condition": condition,
              "completion": completion,
              "scan": scan,
              "target": target,
              "metric": metric,
              "mean": summary["mean"],
              "standard_deviation": summary["standard_deviation"],
              "low": low,
              "high": high,
              "files": summary["files"],
              "num_seeds": summary["num_seeds"],
              "seeds": " ".join(f"{value:.6g}" for value in summary["seeds"]),
              "better_spiral": outcome["better_spiral"],
              "adaptive": outcome["adaptive"],
            }
            for name, column in (
              ("minus_better_spiral", "difference"),
              ("minus_adaptive", "minus_adaptive"),
            ):
              minus = values.get(name, {}).get(target, {}).get(metric)
              if minus:
                low, high = ends(minus)
                row |= {column: minus["mean"], f"{column}_low": low, f"{column}_high": high}
            yield row


def markdown(result: Mapping[str, Any]) -> str:
  """Returns the comparison's main tables as Markdown."""
  lines = [
    "# Scans of equal dose" if not result["equal_time"] else "# Scans of equal time",
    "",
    _made(result),
    "",
  ]
  lines += _scans(result)
  clean = result["conditions"][CLEAN.name]
  for completion in (OWN, ALL):
    if completion in clean:
      lines += [
        "",
        f"## Completed by {COMPLETIONS[completion]}",
        "",
        *_metrics(result, clean[completion]),
      ]
  lines += _classical(result, clean)
  lines += _conditions(result)
  lines += _kinds(result)
  return "\n".join(lines) + "\n"


def difference(values: Mapping[str, Any], name: str = "minus_better_spiral") -> str:
  """Returns a scan's paired difference of 10 MSE on filtered targets; `reference` for what others
  are paired with.
  """
  return with_interval(values[name]["filtered"]["ten_mse"]) if name in values else "reference"


def _made(result: Mapping[str, Any]) -> str:
  seeds = ", ".join(map(str, result["seeds"]))
  pitches = ", ".join(
    f"{name.replace('_', ' ')} {pitch:g} px" for name, pitch in result["pitches"].items()
  )
  return (
    f"{result['count']} images of the {result['split']} split of `{result['images']}`"
    + (f" from {result['files']} files" if result["files"] else "")
    + f"; intervals: {result['intervals']}. {FEW} "
    + (
      f"Generators: {result['generator_iterations']:,} iterations, seeds {seeds}; means over "
      "seeds. "
      if {OWN, ALL} & set(result["conditions"][CLEAN.name])
      else ""
    )
    + (f"Pitches: {pitches}, {result['pitches_chosen']}. " if pitches else "")
    + (
      "Networks see every scan by the range of its first segment (normalise=measured). "
      if result.get("normalise") == "measured"
      else ""
    )
    + (
      "10 MSE on [-1, 1]; differences are paired, from the better spiral or the adaptive scan "
      "with the same completion."
    )
  )


def _scans(result: Mapping[str, Any]) -> list[str]:
  lines = ["| scan | probing positions | distinct pixels | time, ms |", "|---|---|---|---|"]
  lines += [
    f"| {one['label']} | {one['probing_positions']} | {one['distinct_pixels']:.0f} "
    f"({one['distinct_share']:.2%}) | {one['time_us'] / 1000:.2f} |"
    for one in result["scans"].values()
  ]
  beam = result["beam"]
  return [
    *lines,
    "",
    f"Times: dwell {beam['dwell_us']:g} us, beam speed {beam['beam_speed']:g} px/us, settling "
    f"after a jump {beam['settling_us']:g} us, flyback of a raster line {beam['flyback_us']:g} us.",
  ]


def _metrics(result: Mapping[str, Any], outcome: Mapping[str, Any]) -> list[str]:
  """Returns a table of all scans with one completion."""
  adaptive = _label(result, outcome["adaptive"]) if outcome["adaptive"] else "adaptive"
  lines = [
    f"| scan | 10 MSE, filtered target | minus better spiral | minus {adaptive} | 10 MSE, raw "
    "target | MSE | PSNR, dB | SSIM | multi-scale SSIM | 10 MSE of each seed |",
    "|---" * 10 + "|",
  ]
  for scan, values in _ranked(outcome):
    filtered = values["filtered"]
    lines.append(
      f"| {_label(result, scan)} | {with_interval(filtered['ten_mse'])} | {difference(values)} | "
      f"{difference(values, 'minus_adaptive')} | "
      f"{with_interval(values['raw']['ten_mse'])} | {filtered['mse']['mean']:.4f} | "
      f"{filtered['psnr']['mean']:.1f} | {filtered['ssim']['mean']:.3f} | "
      f"{filtered['ms_ssim']['mean']:.3f} | {_seeds(filtered['ten_mse'])} |"
    )
  return lines


def _classical(result: Mapping[str, Any], clean: Mapping[str, Any]) -> list[str]:
  names = [
    name + ending
    for name in classical.METHODS
    for ending in ("", FILTERED)
    if name + ending in clean
  ]
  if not names:
    return []
  lines = [
    "",
    "## Classical completions",
    "",
    "10 MSE, filtered target; `+ filter`: with the target's low-pass filter.",
    "",
    "| scan | " + " | ".join(name.replace("_", " ") for name in names) + " |",
    "|---" * (len(names) + 1) + "|",
  ]
  return lines + [
    f"| {one['label']} | "
    + " | ".join(with_interval(clean[name]["scans"][scan]["filtered"]["ten_mse"]) for name in names)
    + " |"
    for scan, one in result["scans"].items()
  ]


def _conditions(result: Mapping[str, Any]) -> list[str]:
  """Returns 10 MSE under each condition, with the first completion there is."""
  completion = shown_first(result["conditions"][CLEAN.name])
  names = [name for name, condition in result["conditions"].items() if completion in condition]
  if len(names) < 2:
    return []
  lines = [
    "",
    "## Intensity range and dose noise",
    "",
    f"10 MSE, filtered target, completed by {COMPLETIONS[completion]}, and in brackets the paired "
    "difference from the better spiral. `measured range`: normalised by the range of the first "
    "segment (adaptive) or of all that was measured (others), not of the whole image.",
    "",
    "| scan | " + " | ".join(names) + " |",
    "|---" * (len(names) + 1) + "|",
  ]
  for scan, one in result["scans"].items():
    cells = []
    for name in names:
      values = result["conditions"][name][completion]["scans"][scan]
      cells.append(f"{values['filtered']['ten_mse']['mean']:.3f} ({difference(values)})")
    lines.append(f"| {one['label']} | {' | '.join(cells)} |")
  return lines


def _kinds(result: Mapping[str, Any]) -> list[str]:
  """Returns 10 MSE of each kind of source."""
  if "by_kind" not in result:
    return []
  completion = shown_first(result["by_kind"])
  kinds = result["by_kind"][completion]
  headings = [
    f"{kind} ({_count(one['count'], 'image')}, {_count(one['files'], 'file')})"
    for kind, one in kinds.items()
  ]
  lines = [
    "",
    "## By kind of source",
    "",
    f"10 MSE, filtered target, completed by {COMPLETIONS[completion]}, and the "
    "paired difference from the better spiral.",
    "",
    "| scan | " + " | ".join(headings) + " |",
    "|---" * (len(kinds) + 1) + "|",
  ]
  for scan, one in result["scans"].items():
    cells = []
    for values in kinds.values():
      own = values["scans"][scan]
      minus = own.get("minus_better_spiral")
      cells.append(
        f"{own['ten_mse']['mean']:.3f} ({with_interval(minus) if minus else 'reference'})"
      )
    lines.append(f"| {one['label']} | {' | '.join(cells)} |")
  return lines


def _ranked(outcome: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
  """Returns scans from the lowest error to the highest."""
  return sorted(outcome["scans"].items(), key=lambda item: item[1]["filtered"]["ten_mse"]["mean"])


def _count(number: int | None, noun: str) -> str:
  return f"{number} {noun}" if number == 1 else f"{'?' if number is None else number} {noun}s"


def _seeds(summary: Mapping[str, Any]) -> str:
  values: Sequence[float] = summary["seeds"]
  return ", ".join(f"{value:.3f}" for value in values)


def _label(result: Mapping[str, Any], scan: str) -> str:
  return result["scans"][scan]["label"]
