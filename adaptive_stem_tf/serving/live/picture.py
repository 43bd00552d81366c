"""The live picture: a PNG that is refreshed, or a window, drawn by a process of its own.

Drawing takes a hundred times as long as a decision: it must not happen where decisions are made.
"""

import contextlib
import os
import pathlib
import pickle
import subprocess
import sys
import threading
from typing import IO, NamedTuple

import numpy as np
from matplotlib import collections, figure, ticker

from adaptive_stem_tf.evaluation import figures, style

_SERVE = "from adaptive_stem_tf.serving.live import picture; picture.serve()"
_PATIENCE = 60.0  # s, for the last picture
_TIME_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "us"))


class Frame(NamedTuple):
  """What is shown of a scan, so far or at its end."""

  size: int  # px, side of the field
  positions: np.ndarray  # [N, 2] px
  intensities: np.ndarray  # [N]
  probes: int  # per segment
  segments: int  # of a whole scan
  completion: np.ndarray | None = None  # [S, S]; None while scanning
  took: np.ndarray | None = None  # [K] us, decision times; None while scanning
  late: np.ndarray | None = None  # [K] bool
  deadline: float = 0.0  # us
  predicted: np.ndarray | None = (
    None  # [K], predicted 10 MSE; None if the model does not predict it
  )
  truth: np.ndarray | None = None  # [S, S], what was scanned; None if it is not known
  pixel_size_nm: float | None = None  # None if unknown


@style.look()
def draw(frame: Frame) -> figure.Figure:
  """Draws the partial scan with the beam's path and, at the end, the completion and how long
  decisions took.

  Where the specimen is known, it comes first.
  """
  images = {
    name: image
    for name, image in (("specimen", frame.truth), ("completion", frame.completion))
    if image is not None
  }
  done = frame.completion is not None
  panels = 1 + len(images)
  canvas = figure.Figure(figsize=(3.2 * panels + 3.8 * done, 3.4), layout="constrained")
  axes = list(
    canvas.subplots(1, panels + done, squeeze=False, width_ratios=[1.0] * panels + [1.25] * done)[0]
  )
  if done:
    _draw_times(axes.pop(), frame)
  _draw_partial(axes.pop(1 if frame.truth is not None else 0), frame)
  for panel, (name, image) in zip(axes, images.items()):
    panel.imshow(_unit(frame, image), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_title(name, fontsize=9)
    style.bare(panel)
    style.scale_bar(panel, image.shape, frame.pixel_size_nm)
  return canvas


def serve() -> None:
  """Draws frames that come on standard input; answers a byte for each. Started by `LivePicture`."""
  path, window = pickle.load(sys.stdin.buffer)
  show = _window() if window else None
  while True:
    try:
      frame = pickle.load(sys.stdin.buffer)
    except EOFError:
      return
    canvas = draw(frame)
    style.save(canvas, path, dpi=130)
    if show:
      show(figures.pixels(canvas, dpi=130))
    sys.stdout.buffer.write(b".")
    sys.stdout.buffer.flush()


class LivePicture:
  """Shows a scan while it goes on; pictures that would come faster than they are drawn are left
  out.

  Args:
    file: of the PNG.
    window: whether it is shown in a window as well.
  """

  def __init__(self, file: str | os.PathLike, window: bool = False):
    pathlib.Path(file).parent.mkdir(parents=True, exist_ok=True)
    search = os.pathsep.join(entry for entry in sys.path if entry)
    self._process = subprocess.Popen(
      [sys.executable, "-c", _SERVE],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": search},
      start_new_session=True,
    )
    self._input: IO[bytes] = self._process.stdin  # type: ignore[assignment]
    self._idle = threading.Event()
    threading.Thread(target=self._listen, daemon=True).start()
    self._write((str(file), window))
    self._idle.set()

  def show(self, frame: Frame) -> None:
    """Has a frame drawn, unless one is being drawn or the process that draws has ended."""
    if self._idle.is_set() and self._process.poll() is None:  # else nobody would set it again
      self._idle.clear()
      self._write(frame)

  def finish(self, frame: Frame) -> bool:
    """Draws the last frame and ends the process; returns whether it could draw."""
    self._idle.wait(_PATIENCE)
    self._write(frame)
    with contextlib.suppress(OSError):
      self._input.close()
    return self._process.wait(_PATIENCE) == 0

  def close(self) -> None:
    """Ends the process."""
    self._process.kill()
    self._process.wait()

  def _write(self, what):
    with contextlib.suppress(OSError):  # if it died, the scan goes on without a picture
      self._input.write(pickle.dumps(what))
      self._input.flush()

  def _listen(self):
    while self._process.stdout and self._process.stdout.read(1):
      self._idle.set()
    self._idle.set()


def _window():
  """Opens a window; returns what shows pixels in it."""
  from matplotlib import pyplot  # needs a display

  pyplot.switch_backend("TkAgg")
  shown = pyplot.figure("live scan", layout="constrained")

  def show(pixels):
    """Shows an image [H, W, 4] in the window."""
    shown.clear()
    shown.set_size_inches(pixels.shape[1] / shown.dpi, pixels.shape[0] / shown.dpi)
    axes = shown.add_axes((0, 0, 1, 1))
    axes.imshow(pixels)
    axes.axis("off")
    pyplot.pause(0.001)

  return show


def _unit(frame, values):
  seen = frame.intensities if frame.truth is None else frame.truth
  low, high = seen.min(), seen.max()
  return 2 * (np.asarray(values) - low) / (high - low if high > low else 1.0) - 1


def _draw_partial(axes, frame):
  partial = np.zeros([frame.size, frame.size, 2])
  rows, columns = np.floor(np.clip(frame.positions, 0, frame.size - 1)).astype(int).T
  partial[rows, columns] = np.stack([_unit(frame, frame.intensities), np.ones(len(rows))], -1)
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
  done = len(path) // frame.probes
  axes.set_title(
    f"{done} of {frame.segments} segments, {partial[..., 1].mean():.1%} of pixels\n"
    "path from first (dark) to last (bright)",
    fontsize=9,
  )


def _draw_times(axes, frame):
  """Draws how long each decision took, and what the model predicted."""
  longest = max(frame.deadline, *frame.took) if len(frame.took) else frame.deadline
  scale, unit = next((entry for entry in _TIME_UNITS if longest >= entry[0]), _TIME_UNITS[-1])
  decisions, late = np.arange(1, len(frame.took) + 1), np.asarray(frame.late, bool)
  kinds = ((~late, "o", style.COLOURS[0], "in time"), (late, "X", style.LATE, "late"))
  for chosen, mark, colour, label in kinds:
    if chosen.any():
      took = frame.took[chosen] / scale
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
    axes.legend(loc="upper right", fontsize=7, ncols=2, frameon=False)
  if frame.predicted is not None and len(frame.predicted):
    beside = axes.twinx()
    beside.plot(decisions, frame.predicted, "o-", color="C1", markersize=3)
    beside.set_ylabel("predicted 10 MSE", color="C1")
    beside.set_ylim(bottom=0)
    beside.spines["right"].set_visible(True)
