"""Animates adaptive scans: path, partial scan and completion after every segment."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib import figure

from adaptive_stem_tf import config
from adaptive_stem_tf.compare import scanning
from adaptive_stem_tf.evaluation import figures, metrics, style

_TITLES = ("path so far", "measured so far", "completion", "target")


@style.look()
def write(
  file: str | os.PathLike,
  images: np.ndarray,
  targets: np.ndarray,
  positions: np.ndarray,
  generator: Callable[..., tf.Tensor],
  experiment: config.Experiment,
) -> None:
  """Writes an animated GIF of scans as they unfold.

  The generator was trained on whole scans: its completions of their beginnings are guesses.

  Args:
    file: of the GIF.
    images: [E, S, S, 1], the scanned specimens.
    targets: [E, S, S, 1], filtered.
    positions: [E, T * n, 2] px.
    generator: completes partial scans.
    experiment: the configuration of the scans and their data.
  """
  scan = experiment.scan
  canvas = figure.Figure(figsize=(7.2, 1.9 * len(images) + 0.5), layout="constrained")
  grid = canvas.subplots(len(images), len(_TITLES), squeeze=False)
  frames = []
  for segments in range(1, scan.segments + 1):
    probes = segments * scan.probes
    scanned = scanning.scan_along(
      images, positions[:, :probes], scan.probes, experiment.data.normalise
    )
    completions = scanning.complete_all(generator, scanned)
    _draw(grid, images, targets, scanned.positions, scanned.partial, completions)
    canvas.suptitle(f"{probes} of {scan.segments * scan.probes} probing positions", fontsize=9)
    frames.append(figures.pixels(canvas, dpi=90))
  style.save_animation(file, frames)


def _draw(grid: Any, images, targets, positions, partial, completions) -> None:
  size = images.shape[1]
  errors = metrics.ten_mse(completions, targets)
  for row, (axes, error) in enumerate(zip(grid, errors)):
    shown = (
      images[row, ..., 0],
      figures.partial_picture(partial[row]),
      completions[row, ..., 0],
      targets[row, ..., 0],
    )
    for one, image, title in zip(axes, shown, _TITLES):
      one.clear()
      one.axis("off")
      one.imshow(
        image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest", extent=(0, size, size, 0)
      )
      one.set_title(
        f"{title}, 10 MSE {error:.3f}" if title == "completion" else title, fontsize=8, pad=2
      )
    axes[0].plot(positions[row, :, 1], positions[row, :, 0], color=style.PATH, linewidth=0.9)
    axes[0].plot(positions[row, -1, 1], positions[row, -1, 0], "o", color=style.LATE, markersize=3)
    axes[0].set(xlim=(0, size), ylim=(size, 0))
