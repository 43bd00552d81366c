"""Ornstein-Uhlenbeck exploration noise."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import noise


@pytest.mark.parametrize("theta, sigma", [(0.1, 0.2), (0.5, 1.0), (1.0, 0.3), (0.0, 0.2)])
def test_noise_against_a_loop(rng, theta, sigma):
  normal = rng.standard_normal([3, 7, 1])
  expected, last = [], np.zeros([3, 1])
  for t in range(7):
    last = (1 - theta) * last + sigma * normal[:, t]
    expected.append(last)
  settings = config.Exploration(noise_theta=theta, noise_sigma=sigma)
  ours = noise.ornstein_uhlenbeck(tf.constant(normal, tf.float32), settings)
  np.testing.assert_allclose(ours, np.clip(np.stack(expected, 1), -np.pi, np.pi), atol=1e-5)


def test_autocorrelation(rng):
  settings = config.Exploration()
  normal = tf.constant(rng.standard_normal([40_000, 12, 1]), tf.float32)
  made = noise.ornstein_uhlenbeck(normal, settings).numpy()[..., 0]
  for t, later in ((0, 0), (5, 5), (5, 8), (2, 11)):
    variance = 0.2**2 * sum(0.9 ** (2 * k) for k in range(t + 1))
    np.testing.assert_allclose(
      np.mean(made[:, t] * made[:, later]), variance * 0.9 ** (later - t), rtol=0.04
    )


def test_noise_is_scaled_then_clipped_to_half_a_turn():
  normal = tf.constant([[[1.0], [-2.0]], [[100.0], [-200.0]]])
  settings = config.Exploration(noise_theta=1.0, noise_sigma=0.2)
  np.testing.assert_allclose(
    noise.ornstein_uhlenbeck(normal, settings, 0.5)[..., 0],
    [[0.1, -0.2], [np.pi, -np.pi]],
    rtol=1e-6,
  )
  assert not noise.ornstein_uhlenbeck(normal, settings, tf.constant(0.0)).numpy().any()
