"""Pictures: learning curves and sheets of scans, in the supplement's form."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg

from adaptive_stem_tf.evaluation import style

_PANELS = (
  ("generator_loss", "generator loss, 10 MSE"),
  ("critic_loss", "critic loss"),
  ("actor_loss", "actor loss, predicted"),
  ("over_edge", "segments that end outside"),
)
_POINTS = 2000  # points of a line that are drawn: more than its panel has pixels
_SHEET_COLUMNS = ("partial scan", "target output", "generated output")


class PlainLog(ticker.LogFormatter):
  """Labels the ticks that a logarithmic axis would label, as plain numbers."""

  def __call__(self, x, pos=None):
    """Returns the label of x, empty if the logarithmic formatter has none."""
    return f"{x:g}" if super().__call__(x, pos) else ""


def boxcar(values: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
  """Returns the mean of `values` over the last `width` of weight at each place.

  Args:
    values: [N], each the mean of some iterations.
    weights: [N], number of iterations of each.
    width: iterations to average over.
  """
  total, mass = np.cumsum(values * weights), np.cumsum(weights)
  before = np.searchsorted(mass, mass - width, side="right") - 1
  total_before = np.where(before >= 0, total[before], 0.0)
  mass_before = np.where(before >= 0, mass[before], 0.0)
  return (total - total_before) / (mass - mass_before)


@style.look()
def learning_curves(
  columns: Mapping[str, Sequence[float]],
  title: str,
  width: float = 2500,
  panels: Sequence[tuple[str, str]] = _PANELS,
) -> figure.Figure:
  """Draws the losses of a run over its iterations, boxcar averaged (SI fig. S2).

  Args:
    columns: of metrics.csv, by name.
    title: of the figure.
    width: iterations averaged over; at most a twentieth of the run.
    panels: (column, label) of each panel.
  """
  iterations = np.asarray(columns["iteration"])
  weights = np.diff(iterations, prepend=0)
  width = min(width, max(iterations[-1] / 20, 1))
  lines = -(-len(panels) // 2)
  canvas = figure.Figure(figsize=(9, 3 * lines), layout="constrained")
  for axes, (name, label) in zip(canvas.subplots(lines, 2).flat, panels):
    values = np.asarray(columns[name])
    axes.plot(*_thinned(iterations, values), color="0.85", linewidth=0.7)
    axes.plot(*_thinned(iterations, boxcar(values, weights, width)), color="C0", linewidth=1.5)
    axes.set(xlabel="iteration", ylabel=label)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if (values > 0).all():
      axes.set_yscale("log")
      for axis_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_formatter(PlainLog())
      axes.set_ylim(top=2 * np.quantile(values[len(values) // 50 :], 0.99))
    elif (values >= 0).all():
      axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])  # a line at 0 is visible above the axis
  canvas.suptitle(f"{title} ({width:.0f} iteration boxcar)")
  return canvas


def _thinned(at, values):
  """Thins a long line to the least and the greatest value of each block, so that drawing takes no
  longer as a run grows and spikes stay visible.

  Args:
    at: [N], places.
    values: [N].

  Returns:
    Places and values that are left.
  """
  size = -(-2 * len(values) // _POINTS)
  if size <= 2:
    return at, values
  starts = range(0, len(values), size)
  extremes = [
    start + place
    for start in starts
    for place in sorted(f(values[start : start + size]) for f in (np.argmin, np.argmax))
  ]
  return at[extremes], values[extremes]


@style.look()
def sheet(
  partial: np.ndarray,
  targets: np.ndarray,
  completions: np.ndarray,
  titles: Sequence[str],
  columns: int = 2,
) -> figure.Figure:
  """Draws partial scan, target output and generated output side by side (SI figs. S4 to S6).

  Args:
    partial: [N, S, S, 2].
    targets: [N, S, S, 1], in [-1, 1].
    completions: [N, S, S, 1].
    titles: N short texts, shown above the completions.
    columns: examples per row.
  """
  rows = -(-len(partial) // columns)
  canvas = figure.Figure(figsize=(4.2 * columns, 1.5 * rows + 0.3), layout="constrained")
  grid = canvas.subplots(rows, 3 * columns, squeeze=False)
  for axes in grid.flat:
    axes.axis("off")
  for i, (scan, target, completion, title) in enumerate(zip(partial, targets, completions, titles)):
    row, place = divmod(i, columns)
    shown = (partial_picture(scan), target[..., 0], completion[..., 0])
    for axes, image in zip(grid[row, 3 * place : 3 * place + 3], shown):
      axes.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    grid[row, 3 * place + 2].set_title(title, fontsize=7, pad=2)
    if row == 0:
      for axes, text in zip(grid[0, 3 * place : 3 * place + 2], _SHEET_COLUMNS):
        axes.set_title(text, fontsize=7, pad=2)
  return canvas


def partial_picture(partial: np.ndarray) -> np.ndarray:
  """Returns a partial scan [S, S, 2] as RGB [S, S, 3]: grey where measured, dark blue where not."""
  intensity, measured = (partial[..., :1] + 1) / 2, partial[..., 1:]
  return np.clip(measured * intensity + (1 - measured) * np.array(style.UNMEASURED), 0, 1)


@style.look()
def path_over_specimen(specimens: np.ndarray, positions: np.ndarray) -> figure.Figure:
  """Draws scan paths, coloured by time, over the specimens they measured.

  Args:
    specimens: [N, S, S, 1].
    positions: [N, P, 2] px.
  """
  canvas = figure.Figure(figsize=(2.2 * len(specimens), 2.4), layout="constrained")
  size = specimens.shape[1]
  for axes, specimen, path in zip(
    np.atleast_1d(canvas.subplots(1, len(specimens))), specimens, positions
  ):
    axes.imshow(specimen[..., 0], cmap="gray", vmin=-1, vmax=1, extent=(0, size, size, 0))
    axes.scatter(
      path[:, 1], path[:, 0], c=np.arange(len(path)), cmap=style.ORDER, s=1.5, linewidths=0
    )
    axes.set(xlim=(0, size), ylim=(size, 0))
    axes.axis("off")
  return canvas


@style.look()
def distorted_paths(
  specimens: np.ndarray, nominal: np.ndarray, actual: np.ndarray
) -> figure.Figure:
  """Draws where beams were sent (thin, blue) and what was under them (orange) over the specimens.

  Args:
    specimens: [N, S, S, 1].
    nominal: [N, P, 2] px.
    actual: [N, P, 2] px, places of the specimens.
  """
  canvas = figure.Figure(figsize=(3.4 * len(specimens), 3.7), layout="constrained")
  for axes, specimen, sent, under in zip(
    np.atleast_1d(canvas.subplots(1, len(specimens))), specimens, nominal, actual
  ):
    draw_paths(axes, specimen, sent, under, 1.4)
    axes.axis("off")
  canvas.legend(
    *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
  )
  return canvas


def draw_paths(
  axes: Any, specimen: np.ndarray, nominal: np.ndarray, actual: np.ndarray, width: float
) -> None:
  """Draws where a beam was sent (thin, blue) and what was under it (orange) over its specimen.

  Args:
    axes: to draw on.
    specimen: [S, S, 1].
    nominal: [P, 2] px.
    actual: [P, 2] px.
    width: of the orange line, points.
  """
  size = specimen.shape[0]
  axes.imshow(
    specimen[..., 0],
    cmap="gray",
    vmin=-1,
    vmax=1,
    extent=(0, size, size, 0),
    interpolation="nearest",
  )
  axes.plot(actual[:, 1], actual[:, 0], color="C1", linewidth=width, label="actual")
  axes.plot(nominal[:, 1], nominal[:, 0], color="C0", linewidth=0.4 * width, label="nominal")
  axes.set(xlim=(0, size), ylim=(size, 0))


@style.look()
def pixels(page: figure.Figure, dpi: int = 100) -> np.ndarray:
  """Returns a figure as an image [H, W, 3] uint8."""
  page.set_dpi(dpi)
  canvas = backend_agg.FigureCanvasAgg(page)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()
