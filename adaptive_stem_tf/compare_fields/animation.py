"""Animates the rounds of an adaptive scan."""

import os
import pathlib

import numpy as np
from matplotlib import animation, figure
from matplotlib.backends import backend_agg

from adaptive_stem_tf.compare_fields import metrics
from adaptive_stem_tf.compare_fields.comparison import Comparison
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.evaluation import figures

_TITLES = ("field", "measured so far", "completion", "error")
_PER_SECOND, _HELD = 1, 3  # frames a second; and how often the last is shown
_DEVIATIONS = 0.25  # white in pictures of errors


def write(
  file: str | os.PathLike,
  comparison: Comparison,
  specimen: FieldSpecimen,
  coverage: float,
  shown: tuple[str, str, str],
) -> None:
  """Writes an animated GIF of a scan's rounds, whole or not at all.

  Args:
    file: of the GIF.
    comparison: that scans and completes.
    specimen: the field.
    coverage: share of its pixels that is measured.
    shown: scan, completion and model.
  """
  file = pathlib.Path(file)
  own = next(
    scan for scan in comparison.scans(specimen, coverage, shown[:1]) if scan.model in ("", shown[2])
  )
  measured = comparison.measured(specimen)[:1]
  canvas = figure.Figure(figsize=(9.6, 2.9), layout="constrained")
  backend_agg.FigureCanvasAgg(canvas)
  grid = canvas.subplots(1, len(_TITLES))
  writer = animation.PillowWriter(fps=_PER_SECOND)
  unfinished = file.with_name(f"{file.stem}.tmp.gif")  # Pillow goes by the ending
  with writer.saving(canvas, unfinished, dpi=90):
    for number, masks in enumerate(own.masks):
      mask = masks[:1]
      partial = np.where(mask, measured, 0.0).astype(np.float32)
      completion = comparison.complete(shown[1], shown[2], partial, mask).mean
      _draw(grid, specimen, mask[0], completion[0])
      error = metrics.ten_mse(completion, specimen.target)[0]
      stage = f"round {number}" if number else "survey"
      canvas.suptitle(f"{stage}: {mask.sum()} positions, 10 MSE {error:.4f}", fontsize=9)
      for _ in range(_HELD if number == len(own.masks) - 1 else 1):
        writer.grab_frame()
  unfinished.rename(file)


def _draw(grid, specimen, mask, completion):
  partial = figures.partial_picture(np.stack([specimen.image, mask], -1))
  error = np.abs(completion - specimen.target)
  for axes, picture, title in zip(grid, (specimen.image, partial, completion, error), _TITLES):
    axes.clear()
    axes.axis("off")
    colours = {"cmap": "gray", "vmin": -1, "vmax": 1}
    if title == "error":
      colours = {"cmap": "magma", "vmin": 0, "vmax": _DEVIATIONS}
    axes.imshow(picture, interpolation="nearest", **colours)
    axes.set_title(title, fontsize=8, pad=2)
