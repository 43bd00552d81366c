"""How well a model that may stop early predicts the error of stopping."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import metrics, model, stopping
from tests import tiny


@pytest.fixture(scope="module")
def trained():
  return model.of_learner(tiny.learner(truncate=True))


def test_present_and_predicted_errors_are_those_of_scans_step_by_step(trained, eagerly):
  images = tiny.images(5)
  rows = stopping.evaluate(trained, images)
  assert [row["segments"] for row in rows] == [2, 3]
  batch, scan = tf.constant(images), trained.experiment.scan
  trajectory = trained.path.scan(batch, None, None)
  state = trained.actor.initial_state(5)
  targets = specimens.low_pass(batch, 2.5)
  for t in range(3):
    _, predicted, state = trained.actor.decide(
      trajectory.observations[:, t], trajectory.positions[:, t], state
    )
    if t == 0:
      continue
    positions = trained.path.positions(trajectory.actions)[:, : (t + 1) * scan.probes]
    completed = trained.scan_along(batch, positions)[-1]  # scans of the first t + 1 segments alone
    errors = 10 * np.mean(np.square(completed - targets), (1, 2, 3))
    row = rows[t - 1]
    assert row["ten_mse"] == pytest.approx(errors.mean(), rel=1e-4)
    assert row["predicted_ten_mse"] == pytest.approx(float(np.mean(predicted)), rel=1e-4)
    assert row["mean_absolute_difference"] == pytest.approx(
      np.abs(errors - predicted[:, 0]).mean(), rel=1e-3
    )
    assert row["correlation"] == pytest.approx(np.corrcoef(errors, predicted[:, 0])[0, 1], abs=1e-2)


def test_evaluations_tell_it_of_models_that_can_stop(trained, eagerly):
  assert "stopping" in metrics.evaluate(trained, tiny.images(2))[0]
  assert "stopping" not in metrics.evaluate(model.of_learner(tiny.learner()), tiny.images(2))[0]
