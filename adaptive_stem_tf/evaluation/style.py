"""The common style of all pictures: colours, fonts, scale bars, and how figures are written.

Colours are those of Okabe and Ito (2008), which people with colour vision deficiency can tell
apart; maps of one quantity get brighter throughout. Functions that draw are decorated with
`look()`, so that importing this library leaves a user's matplotlib settings as they were.
"""

import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import cycler
import matplotlib
import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import colors, figure
from mpl_toolkits.axes_grid1 import anchored_artists
from PIL import Image

from adaptive_stem_tf import writing

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
PATH, LATE = COLOURS[1], COLOURS[3]
# Map for order in time. The darkest fifth of plasma is left out, since dots lie on black.
ORDER = colors.ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.2, 1.0, 256)), "order")
ERROR = "magma"  # map of sizes of errors, from 0
SIGNED = "RdBu_r"  # map of differences about 0
UNMEASURED = (0.0, 0.05, 0.25)  # RGB, dark blue
# Any: matplotlib's types list the names of all its parameters, which dict[str, ...] does not match.
_PARAMETERS: dict[Any, Any] = {
  "font.size": 9,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.prop_cycle": cycler.cycler(color=COLOURS),
  "figure.facecolor": "white",
  "hatch.linewidth": 0.6,
}
_LIMITS = (5.0, 10.0, 20.0, 50.0, 100.0)  # of colour maps of errors, % of the range
_PANEL = 230.0  # points, side of a panel that shows a field
_SEEN, _LARGEST = 0.6, 4.0  # square points, of dots that can be seen one by one, and of any dot
_COVERED = 0.2  # share of a panel that dots may cover
_BAR = 0.3  # length of a scale bar at most, share of the image's width
# TrueType fonts: text stays text, which can be edited in the file.
_VECTOR: dict[Any, Any] = {"pdf.fonttype": 42}


def look():
  """Returns a context, or a decorator of functions, in which figures have this style."""
  return matplotlib.rc_context(_PARAMETERS)


def bare(axes: axes_lib.Axes) -> None:
  """Removes ticks and frame, as for images; the axes' labels stay."""
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set_visible(False)


def dot_area(shape: tuple[int, ...], count: int) -> float:
  """Returns the area, in square points, of dots that show measured pixels.

  A dot is as large as its pixel. Where pixels are too small to be seen, it is larger, as far as
  dots leave most of the panel free.

  Args:
    shape: (H, W) of the field, px.
    count: number of dots.
  """
  pixel = (_PANEL / max(shape)) ** 2
  free = _COVERED * _PANEL**2 / max(count, 1)
  return min(max(pixel, min(_SEEN, free)), _LARGEST)


def scale_bar(
  axes: axes_lib.Axes, shape: tuple[int, ...], pixel_size_nm: float | None, pixel: float = 1.0
) -> None:
  """Draws a bar of 1, 2 or 5 times a power of ten nm over an image, if its scale is known.

  Args:
    axes: of the image.
    shape: (H, W) of the image, px.
    pixel_size_nm: side of a pixel; None if unknown: nothing is drawn.
    pixel: width of a pixel in the units of the axes.
  """
  if pixel_size_nm is None:
    return
  longest = _BAR * shape[1] * pixel_size_nm
  power = 10.0 ** np.floor(np.log10(longest))
  length = max(factor * power for factor in (1, 2, 5) if factor * power <= longest)
  text = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
  bar = anchored_artists.AnchoredSizeBar(
    axes.transData,
    length / pixel_size_nm * pixel,
    text,
    "lower right",
    pad=0.3,
    borderpad=0.4,
    sep=2,
    size_vertical=shape[0] / 80 * pixel,
    fontproperties=None,
  )
  bar.patch.set(alpha=0.75, linewidth=0)
  axes.add_artist(bar)


def error_limit(share: np.ndarray) -> float:
  """Returns the end of the colour map of errors: the least of 5, 10, 20, 50 and 100 % that 99 % of
  them stay within.

  Args:
    share: errors of any shape, in % of the range.
  """
  most = float(np.quantile(np.abs(share), 0.99))
  return next((limit for limit in _LIMITS if most <= limit), _LIMITS[-1])


def save(
  canvas: figure.Figure, file: str | os.PathLike, dpi: int = 150, vector: bool = False
) -> None:
  """Writes a figure as PNG, whole or not at all.

  Args:
    canvas: the figure.
    file: of the PNG; its folder is made if it does not exist.
    dpi: dots per inch.
    vector: whether to write a PDF beside it, for print.
  """
  file = pathlib.Path(file)
  with matplotlib.rc_context({**_PARAMETERS, **_VECTOR}):  # names such as C0 get their colour now
    _write(canvas, file, "png", dpi)
    if vector:
      # Without the date, the same figure is the same file.
      _write(canvas, file.with_suffix(".pdf"), "pdf", dpi, metadata={"CreationDate": None})


def png(canvas: figure.Figure, dpi: int = 150) -> bytes:
  """Returns a figure as a PNG."""
  stream = io.BytesIO()
  with look():
    canvas.savefig(stream, format="png", dpi=dpi)
  return stream.getvalue()


def save_animation(
  file: str | os.PathLike, frames: Sequence[np.ndarray], seconds: float = 5.0
) -> None:
  """Writes an animated GIF that plays once and stays at its last frame, whole or not at all.

  Args:
    file: of the GIF; its folder is made if it does not exist.
    frames: [H, W, 3] uint8 each.
    seconds: how long it lasts; pictures that move for longer distract readers.
  """
  pictures = [Image.fromarray(frame) for frame in frames]
  each = round(1000 * seconds / len(frames))
  with writing.whole(file) as unfinished:
    pictures[0].save(
      unfinished, format="GIF", save_all=True, append_images=pictures[1:], duration=each
    )


def _write(canvas, file, kind, dpi, **options):
  with writing.whole(file) as unfinished:
    canvas.savefig(unfinished, format=kind, dpi=dpi, **options)
