"""Pictures of a scan along a path while it goes on, and at its end."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import collections, figure, ticker

from adaptive_stem_tf.evaluation import figures, style

_TIME_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "us"))
_PANEL = (3.4, 3.6)  # inches


class Frame(NamedTuple):
  """A scan as pictures show it, so far or at its end."""

  size: int  # px, side of the field
  positions: np.ndarray  # [N, 2] px
  intensities: np.ndarray  # [N]
  probes: int  # per segment
  segments: int  # of a whole scan
  completion: np.ndarray | None = None  # [S, S]; None while it is not known
  took: np.ndarray = np.zeros(0)  # [K] us, decision times; NaN for those left out
  late: np.ndarray = np.zeros(0, bool)  # [K]
  deadline: float = 0.0  # us
  predicted: np.ndarray | None = (
    None  # [K], predicted 10 MSE; None if the model does not predict it
  )
  truth: np.ndarray | None = None  # [S, S], the scanned specimen; None if it is not known
  pixel_size_nm: float | None = None  # None if unknown
  # [S, S, 2] in [-1, 1], the input of a model that completes it; None at the end
  partial: np.ndarray | None = None
  black_and_white: tuple[float, float] = (-1.0, 1.0)  # the intensities that are -1 and 1 in it
  state: str = "scanning"  # over, stopped

  def completed(self, completes: Callable[[np.ndarray], np.ndarray]) -> "Frame":
    """Returns the frame with a completion of the scan so far, unless it has one."""
    if self.completion is not None or self.partial is None:
      return self
    low, high = self.black_and_white
    return self._replace(completion=low + (completes(self.partial) + 1) / 2 * (high - low))

  def draw(self, columns: int | None = None) -> figure.Figure:
    """Draws it in rows of `columns` panels; None: in one row."""
    return draw(self, columns)

  def words(self) -> dict[str, str]:
    """Returns `state` and `text`, for a page."""
    count, text = len(self.took), _progress(self)
    if count:
      late = "none late" if not self.late.any() else f"{self.late.sum()} late"
      text += f"; {count} decisions, {late}"
    if not np.isnan(self.took).all():
      median, unit = _in_units(float(np.nanmedian(self.took)))
      text += f", median {median:.3g} {unit}"
    return {"state": self.state, "text": f"{text}."}


@style.look()
def draw(frame: Frame, columns: int | None = None) -> figure.Figure:
  """Draws the partial scan with the beam's path, the completion and how long decisions took.

  If the specimen is known, it comes first.

  Args:
    frame: the frame to draw.
    columns: number of panels in a row, or fewer if rows would have gaps; None for all.
  """
  image = lambda name, values: lambda axes: _draw_image(axes, frame, name, values)
  panels = [
    lambda axes: _draw_partial(axes, frame),
    image("completion" if frame.state != "scanning" else "completion so far", frame.completion),
    lambda axes: _draw_times(axes, frame),
  ]
  if frame.truth is not None:
    panels.insert(0, image("specimen", frame.truth))
  return compose(panels, columns)


def compose(
  panels: Sequence[Callable[[axes_lib.Axes], None]], columns: int | None
) -> figure.Figure:
  """Draws panels in as few rows of at most `columns` as possible; with None in one row."""
  rows = -(-len(panels) // (columns or len(panels)))
  columns = -(-len(panels) // rows)
  canvas = figure.Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
  for axes, panel in itertools.zip_longest(
    canvas.subplots(rows, columns, squeeze=False).flat, panels
  ):
    if panel:
      panel(axes)
    else:
      axes.remove()
  return canvas


def missing(axes: axes_lib.Axes, name: str) -> None:
  """Draws that something is not known yet."""
  axes.set_title(name, fontsize=9)
  axes.text(0.5, 0.5, "not yet", ha="center", va="center", color="0.5")
  axes.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
  style.bare(axes)


def _progress(frame):
  done = len(frame.positions) // frame.probes
  share = drawn(frame, frame.intensities)[..., 1].mean()
  return f"{done} of {frame.segments} segments, {share:.1%} of pixels"


def _in_units(microseconds):
  """Returns a time in the unit that suits it, and the unit."""
  scale, unit = next((entry for entry in _TIME_UNITS if microseconds >= entry[0]), _TIME_UNITS[-1])
  return microseconds / scale, unit


def drawn(frame: Frame, values: np.ndarray) -> np.ndarray:
  """Returns values [N] at the positions of a frame as a partial scan [S, S, 2]."""
  partial = np.zeros([frame.size, frame.size, 2], np.float32)
  rows, columns = np.floor(np.clip(frame.positions, 0, frame.size - 1)).astype(int).T
  partial[rows, columns] = np.stack([values, np.ones(len(rows))], -1)
  return partial


def _draw_image(axes, frame, name, values):
  if values is None:
    missing(axes, name)
    return
  axes.imshow(_unit(frame, values), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
  axes.set_title(name, fontsize=9)
  style.bare(axes)
  style.scale_bar(axes, values.shape, frame.pixel_size_nm)


def _unit(frame, values):
  seen = frame.intensities if frame.truth is None else frame.truth
  low, high = seen.min(), seen.max()
  return 2 * (np.asarray(values) - low) / (high - low if high > low else 1.0) - 1


def _draw_partial(axes, frame):
  partial = drawn(frame, _unit(frame, frame.intensities))
  axes.imshow(figures.partial_picture(partial), interpolation="nearest")
  path = frame.positions[:, ::-1] - 0.5  # imshow's first pixel is centred on 0
  lines = collections.LineCollection(
    list(np.stack([path[:-1], path[1:]], 1)), cmap=style.ORDER, linewidths=0.5, alpha=0.7
  )
  lines.set_array(np.arange(len(path) - 1))
  lines.set_clim(0, frame.probes * frame.segments)
  axes.add_collection(lines)
  axes.plot(
    *path[-1], "o", color="white", markersize=4, markeredgecolor="black", markeredgewidth=0.6
  )
  style.bare(axes)
  style.scale_bar(axes, partial.shape, frame.pixel_size_nm)
  axes.set_title(f"{_progress(frame)}\npath from first (dark) to last (bright)", fontsize=9)


def _draw_times(axes, frame):
  """Draws how long each decision took, and the errors that the model predicted."""
  longest = float(np.nanmax([frame.deadline, *frame.took]))
  scale, unit = next((entry for entry in _TIME_UNITS if longest >= entry[0]), _TIME_UNITS[-1])
  decisions, late = np.arange(1, len(frame.took) + 1), np.asarray(frame.late, bool)
  left_out = np.isnan(frame.took)
  kinds = (
    (~late, "o", style.COLOURS[0], "in time"),
    (late & ~left_out, "X", style.LATE, "late"),
    (left_out, "|", style.LATE, "left out"),
  )
  for chosen, mark, colour, label in kinds:
    if chosen.any():
      took = np.where(left_out, frame.deadline, frame.took)[chosen] / scale
      axes.plot(decisions[chosen], took, mark, color=colour, markersize=5, label=label)
  deadline = frame.deadline / scale
  axes.axhline(deadline, color="0.3", linestyle="--", linewidth=1)
  if deadline > 0:
    axes.annotate("deadline", (1, deadline), (0, 2), textcoords="offset points", fontsize=7)
  axes.set(xlabel="decision", ylabel=f"time, {unit}", xlim=(0.3, max(len(decisions), 1) + 0.7))
  # One slow decision would press all others to the bottom of a linear axis.
  positive = [value / scale for value in (*frame.took, frame.deadline) if value > 0]
  if positive:
    axes.set_yscale("log")
    axes.set_ylim(min(positive) / 1.6, 2.5 * max(positive))
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
      set_formatter(figures.PlainLog())
  axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  if len(decisions):
    # Above the axes, where no mark of it passes for a decision's.
    axes.legend(
      loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=7, ncols=3, frameon=False, borderpad=0
    )
  if frame.predicted is not None and len(frame.predicted):
    beside = axes.twinx()
    beside.plot(decisions, frame.predicted, "o-", color="C1", markersize=3)
    beside.set_ylabel("predicted 10 MSE", color="C1")
    beside.set_ylim(bottom=0)
    beside.spines["right"].set_visible(True)
