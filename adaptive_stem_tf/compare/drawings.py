"""Draws a comparison: a forest plot of paired differences, and example scans side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.compare.measure import FILTERED, Example
from adaptive_stem_tf.compare.plan import ALL, COMPLETIONS, OWN
from adaptive_stem_tf.compare.scanning import CLEAN
from adaptive_stem_tf.evaluation import figures, metrics, statistics, style

_MARKERS = ("o", "s", "D", "^", "v", "P")


@style.look()
def forest(result: Mapping[str, Any]) -> figure.Figure | None:
  """Draws each scan's paired difference from the better spiral, with its interval, and each seed's.

  Returns None if there are no spirals.
  """
  clean = result["conditions"][CLEAN.name]
  shown = [name for name in _shown(clean) if clean[name]["better_spiral"] is not None]
  if not shown:
    return None
  scans = list(result["scans"])
  canvas = figure.Figure(figsize=(7.2, 1.4 + 0.42 * len(scans)), layout="constrained")
  axes = canvas.subplots()
  for place, completion in enumerate(shown):
    offset = 0.55 * ((place + 0.5) / len(shown) - 0.5)
    for row, scan in enumerate(scans):
      _whisker(axes, clean[completion], scan, row + offset, place)
    axes.plot(
      [],
      [],
      _MARKERS[place % len(_MARKERS)],
      color=f"C{place}",
      markersize=5,
      label=f"{_completion_label(completion)} (against {_spiral(result, clean[completion])})",
    )
  axes.axvline(0, color="0.4", linewidth=0.9)
  axes.set(
    yticks=range(len(scans)),
    yticklabels=[result["scans"][scan]["label"] for scan in scans],
    ylim=(len(scans) - 0.4, -0.6),
    xlabel="10 MSE minus that of the better spiral, filtered target (left: better than the spiral)",
  )
  axes.grid(axis="x", color="0.92", linewidth=0.6)
  axes.tick_params(axis="y", length=0)
  axes.set_title(
    f"{result['count']} images, paired; bars {result['intervals']}{_marks(clean, shown)}",
    fontsize=8,
  )
  canvas.legend(
    loc="outside lower center",
    ncols=min(len(shown), 2),
    fontsize=8,
    frameon=False,
    title="completed by",
    title_fontsize=8,
  )
  return canvas


@style.look()
def examples(
  images: np.ndarray,
  targets: np.ndarray,
  rows: Sequence[tuple[str, Example]],
  titles: Sequence[str],
) -> figure.Figure:
  """Draws scans of the same specimens: one row for each scan, with partial scan and completion.

  Args:
    images: [E, S, S, 1], in the first row.
    targets: [E, S, S, 1], filtered, beside them.
    rows: label and example of each scan.
    titles: E, of the specimens.
  """
  count = len(targets)
  canvas = figure.Figure(
    figsize=(1.2 + 2.3 * count, 1.32 * (len(rows) + 1) + 0.3), layout="constrained"
  )
  grid = canvas.subplots(len(rows) + 1, 2 * count, squeeze=False)
  for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
  for column, (image, target, title) in enumerate(zip(images, targets, titles)):
    for axes, shown, text in zip(
      grid[0, 2 * column :], (image, target), (f"{title}", "filtered target")
    ):
      _show(axes, shown[..., 0])
      axes.set_title(text, fontsize=7, pad=2)
  least = np.min([metrics.ten_mse(example.completions, targets) for _, example in rows], 0)
  for row, (label, example) in enumerate(rows, 1):
    grid[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    errors = metrics.ten_mse(example.completions, targets)
    for column in range(count):
      partial, completion = grid[row, 2 * column : 2 * column + 2]
      partial.imshow(figures.partial_picture(example.partial[column]), interpolation="nearest")
      _show(completion, example.completions[column, ..., 0])
      _title_completion(completion, errors[column], errors[column] <= least[column])
  completions = dict.fromkeys(_completion_label(example.completion) for _, example in rows)
  canvas.suptitle(
    f"Partial scans, and completions by {', '.join(completions)};\n"
    "framed: the least error of each specimen",
    fontsize=9,
  )
  return canvas


def _title_completion(axes, error, best):
  """Titles a completion with its error, and frames it if no other scan's is better."""
  weight = "bold" if best else "normal"
  # Two lines: one would be wider than the panel, and cut off at the edge of the figure.
  axes.set_title(f"completion\n10 MSE {error:.3f}", fontsize=6.5, pad=2, fontweight=weight)
  if best:
    axes.spines[:].set(visible=True, color=style.COLOURS[1], linewidth=2.5)


def _shown(clean: Mapping[str, Any]) -> list[str]:
  """Returns the completions of the forest plot: generators, and the classical one that does best
  for spirals.
  """
  generators = [name for name in (OWN, ALL) if name in clean]
  others = [
    name for name in clean if name not in generators and clean[name]["better_spiral"] is not None
  ]
  error = lambda name: clean[name]["scans"][clean[name]["better_spiral"]]["filtered"]["ten_mse"][
    "mean"
  ]
  return generators + ([min(others, key=error)] if others else [])


def _marks(clean, shown):
  """Returns the explanation of small marks; empty if none are drawn."""
  seeds = [
    len(values["minus_better_spiral"]["filtered"]["ten_mse"]["seeds"])
    for name in shown
    for values in clean[name]["scans"].values()
    if "minus_better_spiral" in values
  ]
  return "; small marks: each seed" if max(seeds, default=1) > 1 else ""


def _whisker(axes, outcome, scan, height, place):
  values = outcome["scans"].get(scan)
  color, marker = f"C{place}", _MARKERS[place % len(_MARKERS)]
  if values is None:
    return
  if "minus_better_spiral" not in values:
    axes.plot(0, height, marker, color=color, markersize=5, markerfacecolor="white")
    return
  difference = values["minus_better_spiral"]["filtered"]["ten_mse"]
  axes.plot(statistics.ends(difference), [height, height], color=color, linewidth=1.4)
  axes.plot(difference["mean"], height, marker, color=color, markersize=5)
  if len(difference["seeds"]) > 1:
    axes.plot(
      difference["seeds"],
      [height] * len(difference["seeds"]),
      "|",
      color=color,
      markersize=6,
      alpha=0.6,
    )


def _completion_label(name: str) -> str:
  base = name.removesuffix(FILTERED)
  return COMPLETIONS[base] + (" and the target's filter" if base != name else "")


def _spiral(result: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
  return result["scans"][outcome["better_spiral"]]["label"]


def _show(axes, image):
  axes.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
