"""Losses of whole fields, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import field_losses


def test_relative_errors_are_logs_of_ratios_and_level_off_at_the_floor():
  floor = field_losses.FLOOR
  ratio = field_losses.relative_log_error(tf.constant([0.01, 0.0]), tf.constant([0.04, floor]))
  np.testing.assert_allclose(ratio, [np.log(0.25), np.log(0.5)], rtol=1e-3)


def test_uncertainty_is_least_at_the_squared_error_and_teaches_the_completion_nothing():
  squared = tf.fill([1, 4, 4, 1], 0.04)
  losses = [
    float(field_losses.uncertainty_loss(tf.fill([1, 4, 4, 1], float(log)), squared)[0])
    for log in np.log(0.04) + np.array([-0.3, 0.0, 0.3])
  ]
  assert losses[1] == pytest.approx(0.5 * (np.log(0.04) + 1), rel=1e-3)
  assert losses[1] < min(losses[0], losses[2])
  with tf.GradientTape() as tape:
    tape.watch(squared)
    loss = field_losses.uncertainty_loss(tf.zeros([1, 4, 4, 1]), squared)
  assert tape.gradient(loss, squared) is None


def test_errors_far_beyond_what_was_expected_count_a_hundredfold():
  for squared, ratio in ((0.01, 1), (0.99, 99), (0.999, 99.9), (1.5, 100), (9.0, 100)):
    loss = field_losses.uncertainty_loss(
      tf.fill([1, 2, 2, 1], float(np.log(0.01))), tf.fill([1, 2, 2, 1], squared)
    )
    assert float(loss[0]) == pytest.approx(0.5 * (np.log(0.01) + ratio), rel=1e-3)


def test_the_critics_loss_is_the_gamma_deviance_then_linear():
  observed = tf.constant([0.0, 1.0, -1.0, 5.0])
  loss = field_losses.map_loss(tf.zeros([4]), observed).numpy()
  slope = np.exp(2) - 1
  expected = [0, np.e - 2, np.exp(-1), np.exp(2) - 3 + 3 * slope]
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_critics_loss_is_least_at_the_mean_error():
  errors = np.array([0.5, 1.0, 2.5])  # mean 4/3, median 1
  guesses = np.log([1.0, 4 / 3, 1.8])
  losses = [
    float(
      tf.reduce_mean(
        field_losses.map_loss(tf.fill([3], np.float32(g)), tf.constant(np.log(errors), tf.float32))
      )
    )
    for g in guesses
  ]
  assert losses[1] < min(losses[0], losses[2])
