"""Refreshes the pictures of a correction as it trains."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.evaluation import figures, metrics, style
from adaptive_stem_tf.training import run
from adaptive_stem_tf.types import Draw

_EXAMPLES = 12
_PANELS = (
  ("error", "10 MSE (watched)"),
  ("displacement_error", "distorter misses by, px (watched)"),
  ("raster_cycle", "cycle of rasters, MSE"),
  ("partial_cycle", "cycle of partial scans, MSE"),
  ("raster_discriminator", "discriminator of rasters"),
  ("partial_discriminator", "discriminator of partial scans"),
)
_PAIRED = (("error", "10 MSE (learnt)"), ("corrector_gradient", "norm of the gradient"))


class Refresher:
  """Draws learning curves, and an example sheet of some training scans, into a run's workdir."""

  def __call__(self, running: run.Run, iteration: int) -> None:
    """Redraws `learning_curves.png`, `examples.png` and the pictures in TensorBoard."""
    learner, workdir = running.learner, running.workdir
    panels = _PAIRED if learner.experiment.cycle.paired else _PANELS
    curves = figures.learning_curves(running.columns, f"Iteration {iteration:,}", panels=panels)
    style.save(curves, workdir / "learning_curves.png", vector=True)
    count = learner.num_specimens
    index = np.linspace(0, count - 1, min(_EXAMPLES, count)).round().astype(np.int32)
    batch = learner.batch(Draw(tf.constant(index), tf.zeros_like(index)))
    corrected = learner.corrector(batch.partial, is_training=False).numpy()
    errors = metrics.ten_mse(corrected, batch.truth.numpy())
    sheet = figures.sheet(
      batch.partial.numpy(),
      batch.truth.numpy(),
      corrected,
      [f"10 MSE {error:.3f}" for error in errors],
    )
    style.save(sheet, workdir / "examples.png")
    running.show(iteration, "distorted partial scan, target, corrected", figures.pixels(sheet))
