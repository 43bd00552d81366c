"""Draws ratios to the best static pair with their intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.compare_fields import summary
from adaptive_stem_tf.evaluation import statistics, style

_WIDEST = 20.0  # intervals of very few files are cut off here


@style.look()
def draw(result: Mapping[str, Any]) -> figure.Figure | None:
  """Draws each adaptive scan's ratio on every stratum and budget; None if there is none.

  Args:
    result: what `report.result` returned.
  """
  ratios = [
    one
    for one in result["ratios"]
    if one["comparison"] == summary.BEST_STATIC and one["metric"] == "ten_mse" and one["ratio"]
    and not one["group"].startswith("kind")
  ]  # fmt: skip
  if not ratios:
    return None
  names = list(dict.fromkeys(_name(one) for one in ratios))
  groups = list(dict.fromkeys((one["group"], one["coverage"]) for one in ratios))
  canvas = figure.Figure(figsize=(7.5, 1.6 + 0.16 * len(names) * len(groups)), layout="constrained")
  axes = canvas.subplots()
  for one in ratios:
    place = names.index(_name(one))
    row = groups.index((one["group"], one["coverage"])) + 0.8 * (place + 0.5) / len(names) - 0.4
    low, high = statistics.ends(one["ratio"])
    if np.isfinite([low, high]).all():
      ends = np.clip([low, high], 1 / _WIDEST, _WIDEST)
      axes.plot(ends, [row, row], color=f"C{place}", linewidth=1.2)
    axes.plot(one["ratio"]["mean"], row, "o", color=f"C{place}", markersize=3.5)
  for place, name in enumerate(names):
    axes.plot([], [], "o-", color=f"C{place}", markersize=3.5, label=name)
  axes.axvline(1.0, color="0.4", linewidth=0.9)
  axes.set_xscale("log")
  axes.set(
    yticks=range(len(groups)),
    yticklabels=[f"{group}, {coverage:.2%}" for group, coverage in groups],
    ylim=(len(groups) - 0.4, -0.6),
    xlabel="10 MSE over that of the best static pair (left: better)",
  )
  axes.set_title(f"{result['fields']} fields; pairs chosen {result['chosen_on']}", fontsize=7)
  canvas.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
  return canvas


def _name(one):
  return f"{one['scan']} + {one['completion']}" + (f" of {one['model']}" if one["model"] else "")
