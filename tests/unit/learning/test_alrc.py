"""Adaptive learning rate clipping and normalisation by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import alrc


def start():
  return alrc.Moments(*map(tf.constant, alrc.INITIAL_MOMENTS))


THRESHOLD = 1 + 3 * math.sqrt(3)  # m1 + 3 sqrt(m2 - m1^2) from the initial moments


def test_losses_above_the_threshold_are_scaled_to_it():
  clipped, _ = alrc.clip(tf.constant([0.5, 6.1, 6.3, 60.0]), start(), 3.0)
  np.testing.assert_allclose(clipped, [0.5, 6.1, THRESHOLD, THRESHOLD], rtol=1e-6)


def test_fewer_deviations_clip_more():
  clipped, _ = alrc.clip(tf.constant([0.5, 6.1]), start(), 1.0)
  np.testing.assert_allclose(clipped, [0.5, 1 + math.sqrt(3)], rtol=1e-6)


def test_moments_move_after_clipping_by_the_clipped_losses():
  _, moments = alrc.clip(tf.constant([1.0, 1000.0]), start(), 3.0)
  np.testing.assert_allclose(moments.first, 0.999 * 1 + 0.001 * (1 + THRESHOLD) / 2, rtol=1e-6)
  np.testing.assert_allclose(moments.second, 0.999 * 4 + 0.001 * (1 + THRESHOLD**2) / 2, rtol=1e-6)


def test_gradients_are_scaled_with_their_losses():
  losses = tf.Variable([0.5, 12.0, 60.0])
  with tf.GradientTape() as tape:
    clipped, _ = alrc.clip(losses, start(), 3.0)
    total = tf.reduce_sum(clipped)
  np.testing.assert_allclose(
    tape.gradient(total, losses), [1, THRESHOLD / 12, THRESHOLD / 60], rtol=1e-6
  )
  with tf.GradientTape() as tape:
    both = sum(alrc.clip(losses, start(), 3.0)[1])
  assert tape.gradient(both, losses) is None


def test_moments_without_spread_clip_at_the_mean_and_a_hair():
  clipped, _ = alrc.clip(
    tf.constant([1.0, 2.0]), alrc.Moments(tf.constant(1.0), tf.constant(1.0)), 3.0
  )
  np.testing.assert_allclose(clipped, [1.0, 1 + 3e-4], rtol=1e-6)


def test_a_loss_that_hardly_varied_is_still_clipped():
  """In float32 the second moment may come out below the square of the first."""
  moments = alrc.Moments(tf.constant(7.0), tf.constant(49.0 - 2e-5))
  clipped, _ = alrc.clip(tf.constant([7.0, 50.0]), moments, 3.0)
  np.testing.assert_allclose(clipped, [7.0, 7 + 3e-4], rtol=1e-6)


def test_normalise_moves_the_mean_first():
  normalised, mean = alrc.normalise(tf.constant([1.0, 3.0]), tf.constant(0.5))
  assert float(mean) == pytest.approx(0.997 * 0.5 + 0.003 * 2)
  np.testing.assert_allclose(normalised, np.array([1, 3]) / float(mean), rtol=1e-6)


def test_a_constant_loss_is_normalised_to_1_in_the_long_run():
  mean = tf.constant(alrc.INITIAL_MEAN)
  for _ in range(3000):
    normalised, mean = alrc.normalise(tf.constant([7.0]), mean)
  np.testing.assert_allclose(normalised, 1, rtol=1e-3)
