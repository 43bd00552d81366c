"""A picture of one scan: specimen and path, partial scan, completion, error."""

import numpy as np
import tensorflow as tf
from matplotlib import collections, figure

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import figures, style
from adaptive_stem_tf.serving.scan_result import ScanResult

_SMALL = 256  # px, greatest side of frames that are drawn small
_DOT = 1.2  # square points, of a measured pixel on large frames


@style.look()
def draw(result: ScanResult) -> figure.Figure:
  """Draws the specimen with its path coloured by time, the partial scan, the completion and its
  error.

  If the specimen is not known, the path is drawn over the completion and there is no error.
  """
  known = result.truth is not None
  low, high = _range(result)
  panels = 4 if known else 3
  height, width = result.completion.shape
  side = 3.0 if height <= _SMALL and width <= _SMALL else 4.2  # in
  canvas = figure.Figure(
    figsize=(side * panels, min(12, max(2.2, (side - 0.2) * height / width)) + 0.75),
    layout="constrained",
  )
  axes = canvas.subplots(1, panels)
  shown = result.truth if known else result.completion
  _show(axes[0], shown, low, high, "specimen and path" if known else "completion and path")
  path = _draw_path(axes[0], result)
  canvas.colorbar(path, ax=axes[0], location="bottom", label=_order(result), shrink=0.9)
  unit = 2 * (result.partial[..., :1] - low) / (high - low) - 1
  _draw_partial(axes[1], np.concatenate([unit, result.partial[..., 1:]], -1), result)
  axes[1].set_title(f"partial scan, {np.mean(result.partial[..., 1]):.1%} of pixels", fontsize=8)
  image = _show(axes[2], result.completion, low, high, "completion")
  canvas.colorbar(image, ax=axes[1:3], location="bottom", label="intensity", shrink=0.45)
  if known:
    _draw_error(canvas, axes[3], result, high - low)
  for panel in axes:
    style.bare(panel)
    style.scale_bar(panel, result.completion.shape, result.pixel_size_nm)
  return canvas


def _draw_partial(axes, unit, result):
  """Draws measured pixels; as dots on large frames, where pixels would be too small to see."""
  picture = figures.partial_picture(unit)
  if max(picture.shape) <= _SMALL:
    axes.imshow(picture, interpolation="nearest")
    return
  axes.imshow(np.broadcast_to(style.UNMEASURED, picture.shape), interpolation="nearest")
  rows, columns = np.nonzero(result.partial[..., 1])
  axes.scatter(columns, rows, c=picture[rows, columns], s=_DOT, linewidths=0)


def _range(result):
  shown = result.truth if result.truth is not None else result.completion
  low, high = float(shown.min()), float(shown.max())
  return (low, high) if high > low else (low - 0.5, low + 0.5)


def _order(result):
  tiled = result.windows.any()
  return f"probing position{' of each tile' * bool(tiled)}, in order of time"


def _show(axes, image, low, high, title):
  axes.set_title(title, fontsize=8)
  return axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")


def _draw_path(axes, result):
  """Draws each window's path as line segments coloured by their order; returns them for a colour
  bar.
  """
  lines, order = [], []
  for window in np.unique(result.windows):
    # imshow's first pixel is centred on 0
    path = result.positions[result.windows == window][:, ::-1] - 0.5
    lines.append(np.stack([path[:-1], path[1:]], 1))
    order.append(np.arange(len(path) - 1))
  single = len(lines) == 1
  canvas = collections.LineCollection(
    list(np.concatenate(lines)),
    cmap=style.ORDER,
    linewidths=1.3 if single else 0.4,
    alpha=1.0 if single else 0.6,
  )
  canvas.set_array(np.concatenate(order))
  axes.add_collection(canvas)
  rows, columns = result.completion.shape
  axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
  return canvas


def _draw_error(canvas, axes, result, span):
  target = result.truth
  if result.filter_sigma:
    image = tf.constant(target[None, ..., None], tf.float32)
    target = specimens.low_pass(image, result.filter_sigma).numpy()[0, ..., 0]
  share = 100 * (result.completion - target) / span
  title = "completion - filtered specimen" if result.filter_sigma else "completion - specimen"
  if result.errors is not None:
    title += (
      f"\n10 MSE {result.errors['filtered'].mean():.3f} (filtered), "
      f"{result.errors['raw'].mean():.3f} (raw)"
    )
  axes.set_title(title, fontsize=8)
  limit = style.error_limit(share)
  image = axes.imshow(share, cmap=style.SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
  canvas.colorbar(image, ax=axes, location="bottom", label="% of the specimen's range", shrink=0.9)
