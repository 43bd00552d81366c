"""A picture of one scan: specimen and path, partial scan, completion, error."""

import numpy as np
from matplotlib import collections, figure
from mpl_toolkits.axes_grid1 import anchored_artists

from adaptive_stem_tf.evaluation import figures
from adaptive_stem_tf.serving.scan_result import ScanResult

_ERROR = 0.5  # of the specimen's range, at the ends of the error's colours
_BAR = 0.3  # of the width, at most
_SMALL = 256  # px, up to which a frame is drawn small


def draw(result: ScanResult) -> figure.Figure:
  """Draws specimen with the path over it, coloured by time, partial scan, completion and its error.

  Where the specimen is not known, the path is drawn over the completion and there is no error.
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
  canvas.colorbar(
    path, ax=axes[0], location="bottom", label="probing position, in order of time", shrink=0.9
  )
  unit = 2 * (result.partial[..., :1] - low) / (high - low) - 1
  axes[1].imshow(
    figures.partial_picture(np.concatenate([unit, result.partial[..., 1:]], -1)),
    interpolation="nearest",
  )
  axes[1].set_title(f"partial scan, {np.mean(result.partial[..., 1]):.1%} of pixels", fontsize=8)
  image = _show(axes[2], result.completion, low, high, "completion")
  canvas.colorbar(image, ax=axes[1:3], location="bottom", label="intensity", shrink=0.45)
  if known:
    _draw_error(canvas, axes[3], result, high - low)
  for panel in axes:
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    _scale_bar(panel, result)
  return canvas


def _range(result):
  shown = result.truth if result.truth is not None else result.completion
  low, high = float(shown.min()), float(shown.max())
  return (low, high) if high > low else (low - 0.5, low + 0.5)


def _show(axes, image, low, high, title):
  axes.set_title(title, fontsize=8)
  return axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")


def _draw_path(axes, result):
  """Draws each window's path as line segments in the colours of their order; returns what a colour
  bar needs.
  """
  lines, order = [], []
  for window in np.unique(result.windows):
    # imshow's first pixel is centred on 0
    path = result.positions[result.windows == window][:, ::-1] - 0.5
    lines.append(np.stack([path[:-1], path[1:]], 1))
    order.append(np.arange(len(path) - 1))
  width = 1.3 if len(lines) == 1 else 0.5
  canvas = collections.LineCollection(list(np.concatenate(lines)), cmap="plasma", linewidths=width)
  canvas.set_array(np.concatenate(order))
  axes.add_collection(canvas)
  rows, columns = result.completion.shape
  axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
  return canvas


def _draw_error(canvas, axes, result, span):
  share = (result.completion - result.truth) / span
  title = "completion - specimen"
  if result.errors is not None:
    title += (
      f"\n10 MSE {result.errors['filtered'].mean():.3f} (filtered), "
      f"{result.errors['raw'].mean():.3f} (raw)"
    )
  axes.set_title(title, fontsize=8)
  image = axes.imshow(
    100 * share, cmap="RdBu_r", vmin=-100 * _ERROR, vmax=100 * _ERROR, interpolation="nearest"
  )
  canvas.colorbar(image, ax=axes, location="bottom", label="% of the specimen's range", shrink=0.9)


def _scale_bar(axes, result):
  """Draws a bar of 1, 2 or 5 times a power of ten nm, if the size of a pixel is known."""
  if result.pixel_size_nm is None:
    return
  longest = _BAR * result.completion.shape[1] * result.pixel_size_nm
  power = 10.0 ** np.floor(np.log10(longest))
  length = max(factor * power for factor in (1, 2, 5) if factor * power <= longest)
  text = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
  bar = anchored_artists.AnchoredSizeBar(
    axes.transData,
    length / result.pixel_size_nm,
    text,
    "lower right",
    pad=0.3,
    borderpad=0.4,
    sep=2,
    size_vertical=result.completion.shape[0] / 80,
    fontproperties=None,
  )
  bar.patch.set(alpha=0.75, linewidth=0)
  axes.add_artist(bar)
