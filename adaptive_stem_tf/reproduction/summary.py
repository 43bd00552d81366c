"""Summarises the supplement's claims and our results over all figures, in one table."""

from __future__ import annotations

import json
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_stem_tf import writing
from adaptive_stem_tf.reproduction import claims, supplement, table

NAME = "summary"


def write(folder: pathlib.Path) -> str:
  """Writes summary.md and summary.json of the figures whose results are in a folder.

  Args:
    folder: holds FIGURE.json, as `table.write` wrote it, for some of the figures.

  Returns:
    A message for the user.

  Raises:
    ValueError: if the folder has no result of a figure.
    writing.WriteError: if the summary cannot be written.
  """
  results = {
    name: json.loads((folder / f"{name}.json").read_text())
    for name in supplement.FIGURES
    if (folder / f"{name}.json").is_file()
  }
  if not results:
    raise ValueError(f"{folder} holds no result of a figure: draw some first.")
  rows = gather(results)
  writing.text(folder / f"{NAME}.json", json.dumps(rows, indent=1))
  writing.text(folder / f"{NAME}.md", markdown(rows, results))
  return f"{count(rows)} Written: {folder / NAME}.md and .json."


def gather(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns a row for each claim of all figures: figure, claim, source, the runs or metrics that
  are compared, effect and verdict.
  """
  rows = []
  for figure, result in results.items():
    label = lambda run, result=result: result["runs"].get(run, {"label": run})["label"]
    for claim in result["claims"]:
      metric, _, other = claim["metric"].partition(":")
      rows.append(
        {
          "figure": figure,
          "claim": claim["text"],
          "source": claim["source"],
          "compared": f"{table.METRICS[metric]}: {label(claim['first'])} beside "
          + (table.METRICS[other] if other else label(claim["second"])),
          "effect": claim["effect"],
          "seeds": min(len(claim["first_values"]), len(claim["second_values"])),
          "agreement": claim["agreement"],
        }
      )
  return rows


def count(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns a sentence that counts the verdicts."""
  numbers = Counter(row["agreement"].split(" (")[0] for row in rows)
  shown = ", ".join(
    f"{numbers[name]} {words}"
    for name, words in (
      (claims.AGREES, "agree"),
      (claims.DISAGREES, "disagree"),
      (claims.UNRESOLVED, "are unresolved"),
      (claims.MISSING, "were not run"),
    )
    if numbers[name]
  )
  return f"Of {len(rows)} claims {shown}."


def markdown(rows: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns the summary as Markdown."""
  missing = [name for name in supplement.FIGURES if name not in results]
  lines = ["# What the supplement says, and what is found", "", count(rows)]
  if missing:
    lines.append(f"Not drawn: {', '.join(missing)}.")
  lines += [
    "",
    "An effect is the first run's metric beside the second's: the ratio of geometric means over "
    f"seeds, or, signed, the difference of means, {claims.INTERVALS}.",
    "",
    "| figure | the supplement says | source | compared | effect [95 %] | seeds | verdict |",
    "|---|---|---|---|---|---|---|",
  ]
  lines += [
    f"| {row['figure']} | {row['claim']} | {row['source']} | {row['compared']} | "
    f"{table.effect_text(row['effect'])} | {row['seeds']} | {row['agreement']} |"
    for row in rows
  ]
  return "\n".join(lines) + "\n"
