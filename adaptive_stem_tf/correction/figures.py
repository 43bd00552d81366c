"""Pictures of distorted scans and their corrections."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, patches

from adaptive_stem_tf.correction.evaluation import UNCORRECTED, UNDISTORTED, Measured
from adaptive_stem_tf.evaluation import figures, statistics, style


@style.look()
def examples(images: np.ndarray, measured: Measured, chosen: Sequence[int]) -> figure.Figure:
  """Draws, for chosen specimens, paths, the distorted partial scan, the target and every
  completion.

  Args:
    images: [N, S, S, 1], specimens.
    measured: their scans.
    chosen: rows.
  """
  ways = list(measured.completions)
  canvas = figure.Figure(
    figsize=(1.75 * (3 + len(ways)), 1.85 * len(chosen) + 0.3), layout="constrained"
  )
  grid = canvas.subplots(len(chosen), 3 + len(ways), squeeze=False)
  titles = [
    "specimen; nominal (blue)\nand actual path (orange)",
    "distorted partial scan",
    "target",
    *ways,
  ]
  for line, row in zip(grid, chosen):
    figures.draw_paths(
      line[0], images[row], measured.scans.nominal[row], measured.scans.actual[row], 0.9
    )
    line[1].imshow(figures.partial_picture(measured.partial[row]), interpolation="nearest")
    for axes, image in zip(
      line[2:], (measured.targets[row], *(measured.completions[way][row] for way in ways))
    ):
      axes.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    for axes, way in zip(line[3:], ways):
      axes.set_title(f"10 MSE {measured.errors[way][row]:.3f}", fontsize=7, pad=2)
    for axes in line:
      axes.axis("off")
  for axes, title in zip(grid[0], titles):
    below = axes.get_title()
    axes.set_title(f"{title}\n{below}" if below else title, fontsize=7, pad=2)
  return canvas


@style.look()
def recovery(results: Mapping[str, Mapping]) -> figure.Figure:
  """Draws mean errors with intervals, by microscope and way.

  Args:
    results: by microscope, as `correction_evaluation.summarise` gives them.
  """
  ways = list(dict.fromkeys(way for result in results.values() for way in result["ways"]))
  greys = {UNDISTORTED: "0.7", UNCORRECTED: "0.3"}
  corrected = [way for way in ways if way not in greys]
  looks: dict[str, dict[str, Any]] = {way: {"facecolor": grey} for way, grey in greys.items()}
  for number, way in enumerate(corrected):  # hatched where colours begin again
    colour = style.COLOURS[number % len(style.COLOURS)]
    hatch = "//" * (number // len(style.COLOURS))
    looks[way] = {"facecolor": colour, "hatch": hatch, "edgecolor": "w"}
  widest = max(len(result["ways"]) for result in results.values())
  canvas = figure.Figure(
    figsize=(2.6 + 0.45 * (widest + 1) * len(results), 3.4), layout="constrained"
  )
  axes = canvas.subplots()
  for place, result in enumerate(results.values()):
    # The bars of a microscope's ways are side by side, centred at its place.
    for number, (way, measured) in enumerate(result["ways"].items()):
      mean, (low, high) = measured["ten_mse"]["mean"], statistics.ends(measured["ten_mse"])
      at = place + (number - (len(result["ways"]) - 1) / 2) / (widest + 1)
      axes.bar(at, mean, 0.9 / (widest + 1), linewidth=0, **looks[way])
      axes.errorbar(
        at, mean, [[mean - low], [high - mean]], fmt="none", ecolor="k", elinewidth=0.8, capsize=2
      )
  axes.set(xticks=range(len(results)), xticklabels=list(results), ylabel="10 MSE, filtered target")
  canvas.legend(
    [patches.Patch(linewidth=0, **looks[way]) for way in ways],
    ways,
    loc="outside right upper",
    frameon=False,
    fontsize=8,
  )
  return canvas


@style.look()
def displacements(
  measured: Measured, learnt: Mapping[str, np.ndarray], row: int = 0, shown: int = 120
) -> figure.Figure:
  """Draws one scan's displacements from its nominal positions, and those that distorters learnt.

  Args:
    measured: the scans.
    learnt: [1, P, 2] px for that scan, by method.
    row: of the scan.
    shown: number of probing positions that are drawn, from the first.
  """
  canvas = figure.Figure(figsize=(8, 3.6), layout="constrained")
  true = measured.scans.actual[row] - measured.scans.nominal[row]
  for axis, (axes, name) in enumerate(zip(canvas.subplots(2, 1, sharex=True), ("rows", "columns"))):
    axes.plot(true[:shown, axis], color="C1", linewidth=2, label="the microscope's")
    for number, (method, values) in enumerate(learnt.items()):
      colour = f"C{number + (number > 0)}"  # C1 is the microscope's
      axes.plot(values[0, :shown, axis], color=colour, linewidth=1, label=f"learnt: {method}")
    axes.set(ylabel=f"along {name}, px")
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
  axes.set(xlabel="probing position, in order of time")
  canvas.legend(
    *axes.get_legend_handles_labels(),
    loc="outside upper center",
    ncols=1 + len(learnt),
    frameon=False,
  )
  return canvas
