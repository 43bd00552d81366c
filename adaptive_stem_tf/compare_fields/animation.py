"""Animates the rounds of an adaptive scan."""

import os

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.compare_fields import metrics
from adaptive_stem_tf.compare_fields.comparison import Comparison
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.evaluation import figures, style

_TITLES = ("field", "measured so far", "completion", "error")
_DEVIATIONS = 0.25  # white in pictures of errors


@style.look()
def write(
  file: str | os.PathLike,
  comparison: Comparison,
  specimen: FieldSpecimen,
  coverage: float,
  shown: tuple[str, str, str],
) -> None:
  """Writes an animated GIF of a scan's rounds.

  Args:
    file: of the GIF.
    comparison: scans and completes.
    specimen: the field.
    coverage: share of its pixels that is measured.
    shown: names of scan, completion and model.
  """
  own = next(
    scan for scan in comparison.scans(specimen, coverage, shown[:1]) if scan.model in ("", shown[2])
  )
  measured = comparison.measured(specimen)[:1]
  canvas = figure.Figure(figsize=(9.6, 2.9), layout="constrained")
  grid = canvas.subplots(1, len(_TITLES))
  frames = []
  for number, masks in enumerate(own.masks):
    mask = masks[:1]
    partial = np.where(mask, measured, 0.0).astype(np.float32)
    completion = comparison.complete(shown[1], shown[2], partial, mask).mean
    _draw(grid, specimen, mask[0], completion[0])
    error = metrics.ten_mse(completion, specimen.target)[0]
    stage = f"round {number}" if number else "survey"
    canvas.suptitle(f"{stage}: {mask.sum()} positions, 10 MSE {error:.4f}", fontsize=9)
    frames.append(figures.pixels(canvas, dpi=90))
  style.save_animation(file, frames)


def _draw(grid, specimen, mask, completion):
  partial = figures.partial_picture(np.stack([specimen.image, mask], -1))
  error = np.abs(completion - specimen.target)
  for axes, picture, title in zip(grid, (specimen.image, partial, completion, error), _TITLES):
    axes.clear()
    axes.axis("off")
    colours = {"cmap": "gray", "vmin": -1, "vmax": 1}
    if title == "error":
      colours = {"cmap": style.ERROR, "vmin": 0, "vmax": _DEVIATIONS}
    axes.imshow(picture, interpolation="nearest", **colours)
    axes.set_title(title, fontsize=8, pad=2)
