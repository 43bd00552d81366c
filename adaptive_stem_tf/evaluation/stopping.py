"""Measures how well a model that may stop early predicts its error if it stops."""

from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import input_pipeline, specimens
from adaptive_stem_tf.evaluation.model import Model
from adaptive_stem_tf.learning import losses
from adaptive_stem_tf.scan import steering

_BATCH = 32
_LENGTHS = 4  # how many numbers of segments are compared, evenly spaced


def evaluate(model: Model, images: np.ndarray) -> list[dict[str, Any]]:
  """Compares 10 * MSE (filtered target) of scans that stop early with its predictions.

  Args:
    model: trained with truncate.
    images: [N, S, S, 1], in [-1, 1].

  Returns:
    For each number of segments: both means, their mean absolute difference, and correlation.
  """
  scan = model.experiment.scan
  lengths = np.unique(np.linspace(1, scan.decisions, _LENGTHS + 1)[1:].round().astype(int))
  measure = tf.function(lambda batch: _measure(model, batch, lengths), autograph=False)
  parts = [
    [part.numpy()[:count] for part in measure(tf.constant(batch))]
    for batch, count in input_pipeline.batches(images, _BATCH)
  ]
  present, predicted = (np.concatenate(part).astype(np.float64) for part in zip(*parts))
  return [
    {
      "segments": int(length),
      "ten_mse": float(present[:, k].mean()),
      "predicted_ten_mse": float(predicted[:, k].mean()),
      "mean_absolute_difference": float(np.abs(present[:, k] - predicted[:, k]).mean()),
      "correlation": _correlation(present[:, k], predicted[:, k]),
    }
    for k, length in enumerate(lengths)
  ]


def _measure(model, images, lengths):
  """Returns present and predicted errors [B, K] of stopping after `lengths` [K] segments."""
  scan, path = model.experiment.scan, model.path
  trajectory = path.scan(model.observed(images), None, None)
  starts = steering.segments(trajectory.actions, scan).starts
  observations = model.network_inputs.of_actor(trajectory.observations)
  features = model.actor.features(observations[:, : scan.decisions], starts[:, : scan.decisions])
  predicted = tf.gather(model.actor.error_head(features)[..., 0], lengths - 1, axis=1)
  targets = specimens.low_pass(images, model.experiment.data.filter_sigma)
  present = []
  for length in lengths:
    measured = tf.fill([images.shape[0]], int(length))
    partial = path.draw(trajectory.observations, trajectory.actions, measured)
    present.append(
      losses.completion_loss(model.complete(partial, trajectory.observations, measured), targets)
    )
  return tf.stack(present, 1), predicted


def _correlation(present, predicted):
  """Returns Pearson's correlation; None if either is constant."""
  if not (present.std() and predicted.std()):
    return None
  return float(np.corrcoef(present, predicted)[0, 1])
