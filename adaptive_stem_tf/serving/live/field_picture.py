"""Pictures of the scan of a whole field while it goes on, and at its end."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib import figure, ticker

from adaptive_stem_tf.evaluation import figures, style
from adaptive_stem_tf.serving.live import picture
from adaptive_stem_tf.serving.scan_result import FieldProgress


class FieldFrame(NamedTuple):
  """The scan of a field as pictures show it, so far or at its end."""

  shape: tuple[int, int]  # (H, W), px
  budget: int  # positions in all
  rounds: int  # after the survey
  positions: np.ndarray  # [N, 2] px, in order of time
  intensities: np.ndarray  # [N]
  known: FieldProgress | None = None  # from when a round was last planned; None before
  truth: np.ndarray | None = None  # [H, W], the scanned field; None if it is not known
  pixel_size_nm: float | None = None  # None if unknown
  state: str = "scanning"  # over, stopped

  def completed(self, completes: Callable[[np.ndarray], np.ndarray]) -> "FieldFrame":
    """Returns the frame itself, whose completion comes from the planning of the last round."""
    return self

  def draw(self, columns: int | None = None) -> figure.Figure:
    """Draws it in rows of `columns` panels; None: in one row."""
    return draw(self, columns)

  def words(self) -> dict[str, str]:
    """Returns `state` and `text`, for a page."""
    share = len(self.positions) / np.prod(self.shape)
    text = f"{len(self.positions)} of {self.budget} positions, {share:.1%} of pixels"
    if self.known:
      # Computing began with the survey, and ends with a completion of everything.
      planned = len(self.known.seconds) - (1 if self.state == "scanning" else 2)
      text += f"; {planned} of {self.rounds} rounds planned"
    return {"state": self.state, "text": f"{text}."}


@style.look()
def draw(frame: FieldFrame, columns: int | None = None) -> figure.Figure:
  """Draws the field if it is known, measured pixels, dose, completion, uncertainty and times."""
  so_far = " so far" if frame.state == "scanning" else ""
  known = frame.known
  panels = [
    lambda axes: _draw_measured(axes, frame),
    lambda axes: _draw_dose(axes, frame),
    lambda axes: _draw_image(axes, frame, f"completion{so_far}", known and known.completion),
    lambda axes: _draw_uncertainty(axes, frame, f"uncertainty{so_far}"),
    lambda axes: _draw_times(axes, frame),
  ]
  if frame.truth is not None:
    panels.insert(0, lambda axes: _draw_image(axes, frame, "field", frame.truth))
  return picture.compose(panels, columns)


def _ends(frame):
  """Returns the intensities that are black and white in pictures."""
  if frame.known:
    return frame.known.black_and_white
  return float(frame.intensities.min()), float(frame.intensities.max())


def _finish(axes, frame, title):
  axes.set_title(title, fontsize=9)
  style.bare(axes)
  style.scale_bar(axes, frame.shape, frame.pixel_size_nm)


def _draw_image(axes, frame, title, image):
  if image is None:
    picture.missing(axes, title)
    return
  low, high = _ends(frame)
  axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
  _finish(axes, frame, title)


def _draw_measured(axes, frame):
  low, high = _ends(frame)
  partial = np.zeros([*frame.shape, 2])
  unit = 2 * (frame.intensities - low) / (high - low if high > low else 1.0) - 1
  partial[tuple(frame.positions.T)] = np.stack([unit, np.ones(len(unit))], -1)
  axes.imshow(figures.partial_picture(partial), interpolation="nearest")
  _finish(axes, frame, f"measured: {len(unit)} of {frame.budget} positions")


def _draw_dose(axes, frame):
  axes.imshow(np.zeros(frame.shape), cmap="gray", vmin=0, vmax=1)
  area = style.dot_area(frame.shape, frame.budget)
  axes.scatter(
    frame.positions[:, 1], frame.positions[:, 0], c=np.arange(len(frame.positions)), s=area,
    cmap=style.ORDER, vmin=0, vmax=frame.budget, linewidths=0,
  )  # fmt: skip
  _finish(axes, frame, "where the dose went, first (dark) to last (bright)")


def _draw_uncertainty(axes, frame, title):
  if frame.known is None:
    picture.missing(axes, title)
    return
  shown = axes.imshow(frame.known.uncertainty, cmap="viridis", vmin=0, interpolation="nearest")
  axes.figure.colorbar(shown, ax=axes, location="bottom", label="standard deviation", shrink=0.8)
  _finish(axes, frame, title)


def _draw_times(axes, frame):
  """Draws how long the computer took to decide on each round, and to complete the scan."""
  seconds = frame.known.seconds if frame.known else []
  axes.bar(range(len(seconds)), seconds, color=style.COLOURS[0], width=0.7)
  names = ["survey", *map(str, range(1, frame.rounds + 1)), "last completion"]
  if frame.state != "scanning" and len(seconds) <= frame.rounds + 1:  # stopped
    names = [*names[: max(len(seconds) - 1, 0)], names[-1]]
  every = -(-len(names) // 9)  # names of more rounds would overlap
  axes.set_xticks(range(0, len(names), every), names[::every], rotation=45, ha="right", fontsize=7)
  axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
  axes.set_ylim(0, 1.05 * max(seconds, default=1.0))
  axes.set(xlim=(-0.6, len(names) - 0.4), ylabel="computing time, s", xlabel="round")
  axes.set_title("time that decisions took", fontsize=9)
