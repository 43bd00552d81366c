"""Refreshes a run's pictures as it trains."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import figures, metrics, model, style
from adaptive_stem_tf.training import run

_EXAMPLES = 12
_PATHS = 4


class Refresher:
  """Draws learning curves and an example sheet of fixed specimens into a run's workdir."""

  def __init__(self, images: np.ndarray):
    """Chooses examples, evenly spread over `images` [N, S, S, 1]."""
    rows = np.linspace(0, len(images) - 1, min(_EXAMPLES, len(images))).round().astype(int)
    self._images = images[rows]
    self._model: model.Model | None = None

  def __call__(self, running: run.Run, iteration: int) -> None:
    """Redraws `learning_curves.png`, `examples.png` and the pictures in TensorBoard."""
    learner, workdir = running.learner, running.workdir
    self._model = self._model or model.of_learner(learner)
    curves = figures.learning_curves(running.columns, f"Iteration {iteration:,}")
    style.save(curves, workdir / "learning_curves.png", vector=True)
    scans = self._model.scan_all(self._images)
    targets = specimens.low_pass(
      tf.constant(self._images), learner.experiment.data.filter_sigma
    ).numpy()
    titles = metrics.sheet_titles(scans, targets)
    canvas = figures.sheet(scans.partial, targets, scans.completions, titles)
    style.save(canvas, workdir / "examples.png")
    running.show(iteration, "partial scan, target, completion", figures.pixels(canvas))
    paths = figures.path_over_specimen(self._images[:_PATHS], scans.positions[:_PATHS])
    running.show(iteration, "scan path over specimen", figures.pixels(paths))
