"""Losses of generator, critic and actor, each a pure function (METHOD section 6)."""

import tensorflow as tf

SCALE = 10.0  # the paper's unit of error is 10 * MSE on [-1, 1]
_REGION = 5  # px, side of the windows of `max_region`


def completion_loss(completions: tf.Tensor, targets: tf.Tensor, kind: str = "mse") -> tf.Tensor:
  """Returns 10 times an error of each completion.

  Args:
    completions: [B, S, S, 1].
    targets: [B, S, S, 1].
    kind: `mse`, the mean over pixels of squared differences; `max_region`, the
      greatest mean of these in a 5x5 window (SI S3); `quartic`, the mean fourth power.

  Returns:
    [B].

  Raises:
    ValueError: if there is no such kind.
  """
  squares = tf.math.squared_difference(completions, targets)
  if kind == "mse":
    errors = tf.reduce_mean(squares, [1, 2, 3])
  elif kind == "quartic":
    errors = tf.reduce_mean(tf.square(squares), [1, 2, 3])
  elif kind == "max_region":
    errors = tf.reduce_max(tf.nn.avg_pool2d(squares, _REGION, 1, "VALID"), [1, 2, 3])
  else:
    raise ValueError(f"kind={kind!r} is not a completion loss: choose mse, max_region or quartic.")
  return SCALE * errors


def sobel_loss(completions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
  """Returns the mean squared difference of Sobel derivatives (SI eq. S2).

  Args:
    completions: [B, S, S, 1].
    targets: [B, S, S, 1].

  Returns:
    [B], over unnormalised 3x3 derivatives in both directions, reflect padding.
  """
  difference = tf.image.sobel_edges(completions - targets)  # the derivative is linear
  return tf.reduce_mean(tf.square(difference), [1, 2, 3, 4])


def step_losses(final: tf.Tensor, over_edge: tf.Tensor, penalty: float) -> tf.Tensor:
  """Returns r_t = e_t + [t = T-2] L [B, T-1].

  Args:
    final: [B], loss L_b of the completed scan.
    over_edge: [B, T-1] bool, whether action t's segment ends outside the image.
    penalty: e_t where it does.
  """
  penalties = penalty * tf.cast(over_edge, final.dtype)
  return tf.concat([penalties[:, :-1], penalties[:, -1:] + final[:, None]], 1)


def bellman_targets(rewards: tf.Tensor, target_q: tf.Tensor, discount: float) -> tf.Tensor:
  """Returns y_t = r_t + gamma Q'_{t+1}, without Q' at the last step, not differentiated.

  Args:
    rewards: [B, T-1], step losses r_t.
    target_q: [B, T-1], Q'_t(live action) of the target critic.
    discount: gamma.

  Returns:
    [B, T-1].
  """
  following = tf.pad(target_q[:, 1:], [[0, 0], [0, 1]])
  return tf.stop_gradient(rewards + discount * following)


def supervised_targets(rewards: tf.Tensor, discount: float) -> tf.Tensor:
  """Returns y_t = sum over t' >= t of gamma^(t'-t) r_t' [B, T-1] (SI eq. S3)."""
  steps = rewards.shape[1]
  lag = tf.range(steps, dtype=rewards.dtype)[:, None] - tf.range(steps, dtype=rewards.dtype)
  weights = tf.where(lag >= 0, tf.pow(discount, tf.maximum(lag, 0.0)), 0.0)  # [t', t]
  return tf.stop_gradient(tf.linalg.matmul(rewards, weights))


def critic_loss(
  q: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the weighted mean squared TD error, and each example's mean over time [B].

  Args:
    q: [B, T-1], Q_t(replayed action).
    targets: [B, T-1], y_t; not differentiated.
    weights: [B], importance weights.
  """
  errors = tf.reduce_mean(tf.math.squared_difference(q, tf.stop_gradient(targets)), 1)
  return tf.reduce_mean(weights * errors), tf.stop_gradient(errors)


def actor_loss(live_q: tf.Tensor) -> tf.Tensor:
  """Returns the mean of Q_t(live action) [B, T-1] (SI eq. S1)."""
  return tf.reduce_mean(live_q)


def prediction_loss(predicted: tf.Tensor, measured: tf.Tensor, errors: tf.Tensor) -> tf.Tensor:
  """Returns the mean squared difference of predicted and present errors.

  Args:
    predicted: [B, T', 1], 10 * MSE of stopping after each segment.
    measured: [B] int32, segments after which each scan was cut, 1..T'.
    errors: [B], 10 * MSE of its completion; not differentiated.
  """
  present = tf.gather(predicted[..., 0], measured - 1, batch_dims=1)
  return tf.reduce_mean(tf.math.squared_difference(present, tf.stop_gradient(errors)))
