"""Pictures of distorted scans and their corrections."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.experiment import figures
from adaptive_stem_tf.experiment.correction_evaluation import UNCORRECTED, UNDISTORTED, Measured


def examples(images: np.ndarray, measured: Measured, chosen: Sequence[int]) -> figure.Figure:
  """Draws, for chosen specimens, paths, the distorted partial scan, the target and every completion.

  Args:
    images: [N, S, S, 1], specimens.
    measured: their scans.
    chosen: rows.
  """
  ways = list(measured.completions)
  drawn = figure.Figure(figsize=(1.75 * (3 + len(ways)), 1.85 * len(chosen) + 0.3), layout="constrained")
  grid = drawn.subplots(len(chosen), 3 + len(ways), squeeze=False)
  titles = ["specimen; nominal (blue)\nand actual path (orange)", "distorted partial scan", "target", *ways]
  for line, row in zip(grid, chosen):
    _paths(line[0], images[row], measured.scans.nominal[row], measured.scans.actual[row])
    line[1].imshow(figures.partial_picture(measured.partial[row]), interpolation="nearest")
    for axes, image in zip(line[2:], (measured.targets[row], *(measured.completions[way][row] for way in ways))):
      axes.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    for axes, way in zip(line[3:], ways):
      axes.set_title(f"10 MSE {measured.errors[way][row]:.3f}", fontsize=7, pad=2)
    for axes in line:
      axes.axis("off")
  for axes, title in zip(grid[0], titles):
    below = axes.get_title()
    axes.set_title(f"{title}\n{below}" if below else title, fontsize=7, pad=2)
  return drawn


def _paths(axes, image, nominal, actual):
  size = image.shape[0]
  axes.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1, extent=(0, size, size, 0), interpolation="nearest")
  axes.plot(nominal[:, 1], nominal[:, 0], color="#4c9be8", linewidth=0.6)
  axes.plot(actual[:, 1], actual[:, 0], color="#ff8c1a", linewidth=0.6)
  axes.set(xlim=(0, size), ylim=(size, 0))


def recovery(results: Mapping[str, Mapping]) -> figure.Figure:
  """Draws mean errors with intervals, by microscope and way.

  Args:
    results: by microscope, as `correction_evaluation.summarise` gives them.
  """
  ways = list(dict.fromkeys(way for result in results.values() for way in result["ways"]))
  drawn = figure.Figure(figsize=(1.6 + 1.9 * len(results), 3.4), layout="constrained")
  axes = drawn.subplots()
  for number, way in enumerate(ways):
    held = [(place, result["ways"][way]["ten_mse"]) for place, result in enumerate(results.values())
            if way in result["ways"]]
    means = np.array([summary["mean"] for _, summary in held])
    low, high = np.array([summary["interval_95"] for _, summary in held]).T
    places = np.array([place for place, _ in held]) + 0.8 * (number + 0.5) / len(ways) - 0.4
    colour = {UNDISTORTED: "0.7", UNCORRECTED: "0.3"}.get(way, f"C{number - 2}")
    axes.bar(places, means, 0.75 / len(ways), color=colour, label=way)
    axes.errorbar(places, means, [means - low, high - means], fmt="none", ecolor="k", elinewidth=0.8, capsize=2)
  axes.set(xticks=range(len(results)), xticklabels=list(results), ylabel="10 MSE, filtered target")
  axes.legend(frameon=False, fontsize=8)
  return drawn


def displacements(measured: Measured, learnt: Mapping[str, np.ndarray], row: int = 0, shown: int = 120
                  ) -> figure.Figure:
  """Draws by how far one scan missed its nominal positions, and what distorters learnt of it.

  Args:
    measured: the scans.
    learnt: [1, P, 2] px of that scan, by method.
    row: of the scan.
    shown: probing positions, the first.
  """
  drawn = figure.Figure(figsize=(8, 3.6), layout="constrained")
  true = measured.scans.actual[row] - measured.scans.nominal[row]
  for axis, (axes, name) in enumerate(zip(drawn.subplots(2, 1, sharex=True), ("rows", "columns"))):
    axes.plot(true[:shown, axis], color="C1", linewidth=2, label="the microscope's")
    for method, values in learnt.items():
      axes.plot(values[0, :shown, axis], linewidth=1, label=f"learnt: {method}")
    axes.set(ylabel=f"along {name}, px")
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
  axes.set(xlabel="probing position, in order of time")
  drawn.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=1 + len(learnt), frameon=False)
  return drawn
