"""Adaptive learning rate clipping and running normalisation of losses (METHOD section 6)."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import replicas

MOMENT_DECAY = 0.999
MEAN_DECAY = 0.997
_VARIANCE_FLOOR = 1e-8


class Moments(NamedTuple):
  """Running mean of a clipped loss and of its square."""

  first: tf.Tensor  # scalar, m1
  second: tf.Tensor  # scalar, m2


INITIAL_MOMENTS = (1.0, 4.0)
INITIAL_MEAN = 0.5


def clip(
  losses: tf.Tensor, moments: Moments, deviations: float, decay: float = MOMENT_DECAY
) -> tuple[tf.Tensor, Moments]:
  """Scales losses above m1 + k sqrt(m2 - m1^2 + 1e-8) down to it (Ede & Beanland 2020).

  The gradient of a clipped loss is scaled with it. The moments move after clipping.

  Args:
    losses: [B], one loss an example.
    moments: running moments m1, m2.
    deviations: k.
    decay: of the moments, in (0, 1).

  Returns:
    Clipped losses [B] and the next moments.
  """
  # In float32 the variance of a loss that hardly varies may come out below zero.
  variance = tf.maximum(moments.second - tf.square(moments.first), 0.0)
  spread = tf.sqrt(variance + _VARIANCE_FLOOR)
  threshold = moments.first + deviations * spread
  scale = tf.stop_gradient(tf.where(losses > threshold, threshold / losses, tf.ones_like(losses)))
  clipped = scale * losses
  fixed = tf.stop_gradient(clipped)
  return clipped, Moments(
    _move(moments.first, tf.reduce_mean(fixed), decay),
    _move(moments.second, tf.reduce_mean(tf.square(fixed)), decay),
  )


def normalise(
  losses: tf.Tensor, mean: tf.Tensor, decay: float = MEAN_DECAY
) -> tuple[tf.Tensor, tf.Tensor]:
  """Divides losses [B] by their running mean, which moves first, by a decay in (0, 1).

  Returns:
    Normalised losses [B] and the next running mean, a scalar.
  """
  mean = _move(mean, tf.reduce_mean(losses), decay)
  return losses / mean, mean


def _move(average, value, decay):
  return decay * average + (1.0 - decay) * replicas.mean(value)
