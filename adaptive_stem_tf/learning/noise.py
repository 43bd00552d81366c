"""Exploration noise (METHOD section 5)."""

import math

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config


def ornstein_uhlenbeck(
  normal: tf.Tensor, settings: config.Exploration, scale: tf.Tensor | float = 1.0
) -> tf.Tensor:
  """Returns exploration noise n_t = (1 - theta) n_{t-1} + sigma eps_t, with n_{-1} = 0.

  Args:
    normal: [B, T, A], standard normal eps.
    settings: theta and sigma (rad, or shares of the reach).
    scale: factor on the noise.

  Returns:
    [B, T, A], clipped to [-pi, pi].
  """
  steps = normal.shape[1]
  lag = np.subtract.outer(np.arange(steps), np.arange(steps))  # t - t'
  weights = np.where(lag >= 0, (1 - settings.noise_theta) ** np.maximum(lag, 0.0), 0.0)
  noise = tf.einsum(
    "ts,bsa->bta", tf.constant(settings.noise_sigma * weights, normal.dtype), normal
  )
  return tf.clip_by_value(scale * noise, -math.pi, math.pi)
