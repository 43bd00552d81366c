"""Losses of generator, critic and actor of whole fields; pure functions (docs/FIELDS.md)."""

import tensorflow as tf

FLOOR = 2e-6  # squared error below which fields count as alike: 2e-5 in 10 MSE
_WORST = 2.0  # log of observed over predicted error above which the critic's loss is linear


def relative_log_error(squared: tf.Tensor, plain: tf.Tensor) -> tf.Tensor:
  """Returns the log of errors over interpolations' errors: faint fields count as strong ones do.

  Args:
    squared: [B] mean squared errors of completions.
    plain: [B] mean squared errors of the interpolations that they started from.

  Returns:
    [B].
  """
  return tf.math.log((squared + FLOOR) / (plain + FLOOR))


def uncertainty_loss(log_variance: tf.Tensor, squared: tf.Tensor) -> tf.Tensor:
  """Returns the Gaussian negative log-likelihood of errors, which are not differentiated.

  Args:
    log_variance: [B, H, W, 1].
    squared: [B, H, W, 1] squared errors.

  Returns:
    [B], means over pixels.
  """
  squared = tf.stop_gradient(squared) + 0.1 * FLOOR
  ratio = squared * tf.exp(-tf.maximum(log_variance, -20.0))
  return tf.reduce_mean(0.5 * (log_variance + tf.minimum(ratio, 100.0)), [1, 2, 3])


def map_loss(predicted: tf.Tensor, observed: tf.Tensor) -> tf.Tensor:
  """Returns the critic's loss: the deviance of gamma distributed errors.

  It is linear where predictions are far too low. Its minimum is at the mean error, not the median:
  the actor has to lower the mean.

  Args:
    predicted: log of squared errors, any shape.
    observed: log of squared errors, the same shape.

  Returns:
    d' = exp(d) - 1 - d of d = observed - predicted, the same shape; 0 where they agree.
  """
  difference = observed - predicted
  near = tf.minimum(difference, _WORST)
  slope = tf.exp(_WORST) - 1.0
  return tf.exp(near) - 1.0 - near + slope * (difference - near)
