"""Losses of a cyclic GAN, each a pure function (METHOD section 10, SI eqs. S4 to S9).

A discriminator predicts losses: 0 for real images, 1 for generated ones. Least squares as by Mao et
al. and Zhu et al. (2017); the plain form is cross-entropy of predictions in (0, 1).
"""

import tensorflow as tf

_FLOOR = 1e-7  # added before logarithms are taken


def discriminator_loss(
  real: tf.Tensor, generated: tf.Tensor, kind: str = "least_squares"
) -> tf.Tensor:
  """Returns the loss that a discriminator minimises.

  Args:
    real: [B, H, W, 1], predicted for real images.
    generated: [B, H, W, 1], predicted for generated ones.
    kind: `least_squares`, mean of D(real)^2 plus mean of (D(generated) - 1)^2; or `plain`, mean of
      -log(1 - D(real)) plus mean of -log(D(generated)).

  Raises:
    ValueError: if the kind is unknown.
  """
  if kind == "least_squares":
    return tf.reduce_mean(tf.square(real)) + tf.reduce_mean(tf.square(generated - 1.0))
  if kind == "plain":
    return -(
      tf.reduce_mean(tf.math.log(1.0 - real + _FLOOR))
      + tf.reduce_mean(tf.math.log(generated + _FLOOR))
    )
  raise ValueError(f"kind={kind!r} is no adversarial loss: choose least_squares or plain.")


def generator_loss(generated: tf.Tensor, kind: str = "least_squares") -> tf.Tensor:
  """Returns the loss that a generator minimises for each of its images (SI eqs. S4, S5).

  Args:
    generated: [B, H, W, 1], predicted for its images.
    kind: `least_squares`, the mean square; or `plain`, the mean, as printed.

  Returns:
    [B].

  Raises:
    ValueError: if the kind is unknown.
  """
  if kind == "least_squares":
    return tf.reduce_mean(tf.square(generated), [1, 2, 3])
  if kind == "plain":
    return tf.reduce_mean(generated, [1, 2, 3])
  raise ValueError(f"kind={kind!r} is no adversarial loss: choose least_squares or plain.")


def partial_cycle_loss(simulated: tf.Tensor, measured: tf.Tensor) -> tf.Tensor:
  """Returns the mean squared difference between a partial scan and what becomes of it by way of a
  raster and back (SI eq. S6).

  The mean is over probing positions, where the mask is 1. Over all pixels, as the supplement prints
  it, the loss would be smaller by the factor of the coverage (1/23).

  Args:
    simulated: [B, P], intensities of G_rp(G_pr(I_partial), M).
    measured: [B, P], intensities of I_partial.

  Returns:
    [B].
  """
  return tf.reduce_mean(tf.math.squared_difference(simulated, measured), 1)


def raster_cycle_loss(recovered: tf.Tensor, rasters: tf.Tensor) -> tf.Tensor:
  """Returns the mean squared difference between a raster and what becomes of it by way of a partial
  scan and back (SI eq. S7).

  Args:
    recovered: [B, S, S, 1], G_pr(M G_rp(I_raster, M)).
    rasters: [B, S, S, 1].

  Returns:
    [B].
  """
  return tf.reduce_mean(tf.math.squared_difference(recovered, rasters), [1, 2, 3])
