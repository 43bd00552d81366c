"""The picture of a comparison: errors of every scan and completion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, ticker

from adaptive_stem_tf.fields import static_scans

_TINY = 1e-12
_MARKS = "osD^v"  # of completions


def draw(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Draws 10 MSE on the filtered field, best scans on top: dots, and their geometric means.

  Args:
    rows: of `compare_fields.comparison.Comparison.rows`.
  """
  unique = lambda name: list(dict.fromkeys(row[name] for row in rows))
  coverages, completions = sorted(unique("coverage")), unique("completion")
  scans = sorted(unique("scan"), key=lambda scan: _mean(_errors(rows, scan=scan)))
  canvas = figure.Figure(
    figsize=(1.8 + 3.6 * len(coverages), 1.7 + 0.32 * len(scans)), layout="constrained"
  )
  panels = canvas.subplots(1, len(coverages), sharey=True, squeeze=False)[0]
  for axes, coverage in zip(panels, coverages):
    for number, completion in enumerate(completions):
      _draw_completion(axes, rows, scans, coverage, (number, completion, len(completions)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_title(f"{coverage:.1%} of the pixels", fontsize=9)
    axes.set_xlabel("10 MSE on the filtered field (left: better)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", linewidth=0.3)
  panels[0].set(yticks=range(len(scans)), ylim=(len(scans) - 0.5, -0.5))
  panels[0].set_yticklabels(
    [f"{scan}{' (static)' * (scan in static_scans.SCANS)}" for scan in scans]
  )
  canvas.legend(
    *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8,
    frameon=False,
  )  # fmt: skip
  return canvas


def _draw_completion(axes, rows, scans, coverage, which):
  """Draws the errors of one completion at one coverage; `which` is its number, name and count."""
  number, completion, count = which
  shift = 0.5 * ((number + 0.5) / count - 0.5)
  colour, mark = f"C{number}", _MARKS[number % len(_MARKS)]
  for line, scan in enumerate(scans):
    errors = _errors(rows, scan=scan, completion=completion, coverage=coverage)
    if errors:
      axes.plot(errors, [line + shift] * len(errors), ".", color=colour, alpha=0.4, markersize=4)
      label = completion.replace("_", " ") if not line else None
      axes.plot(_mean(errors), line + shift, mark, color=colour, markersize=6, label=label)


def _errors(rows, **conditions):
  """Returns the errors of the rows that have the given values."""
  return [
    max(row["ten_mse"], _TINY)
    for row in rows
    if all(row[name] == value for name, value in conditions.items())
  ]


def _mean(errors):
  return float(np.exp(np.mean(np.log(errors))))
