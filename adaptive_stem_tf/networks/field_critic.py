"""The critic of whole fields: predicts the map of the final squared error for an action.

Every cell has a target of its own, its error at the end of the scan, so credit for a probe is
local. The critic knows how errors fall with the density of positions, e = a rho^-alpha + b
(METHOD and FIELDS leave its form open). The network predicts a, alpha and b, so that the gradient
towards the action, which is all that the actor learns from, is that of a smooth law and not of an
arbitrary network.
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.fields import state as state_lib
from adaptive_stem_tf.networks import blocks, field_actor, initialisers


class ErrorLaw(NamedTuple):
  """The law of each cell, [B, h, w, 1]: e = exp(scale) (rho / coverage)^-power + exp(floor)."""

  scale: tf.Tensor
  power: tf.Tensor
  floor: tf.Tensor


class FieldCritic(snt.Module):
  """Predicts laws of error of cells, round by round."""

  def __init__(
    self,
    channels: int,
    name: str = "field_critic",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self.body = field_actor.FieldBody(channels, weights=weights)
    self.law = blocks.Convolution(3, zeros=True, name="law")

  def initial_state(self, features: tf.Tensor) -> tf.Tensor:
    """Returns the recurrent state before the first round, for features [B, h, w, F]."""
    return self.body.initial_state(features)

  def __call__(self, cells: state_lib.Cells, state: tf.Tensor) -> tuple[ErrorLaw, tf.Tensor]:
    """Returns the laws and the next recurrent state.

    Predictions start from the error that the generator expects now: before training, with outputs
    of 0, a = exp(-1) and b = exp(-2.5) of it, and alpha is 0.97.
    """
    features, state = self.body(cells, state)
    scale, power, floor = tf.split(tf.clip_by_value(self.law(features), -8.0, 8.0), 3, -1)
    now = cells.uncertainty
    return ErrorLaw(now + scale - 1.0, tf.nn.softplus(power + 0.5), now + floor - 2.5), state


def log_density(actions: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns the log of the density that log weights ask for, over the mean density.

  Args:
    actions: [B, h, w, 1] log weights.
    valid: [B, h, w, 1] share of a cell that lies in the field.

  Returns:
    [B, h, w, 1]; its exponential has a mean of 1 over the field.
  """
  greatest = tf.reduce_max(actions, [1, 2], keepdims=True)
  mean = state_lib.field_mean(tf.exp(actions - greatest), valid)
  return actions - greatest - tf.math.log(mean)


def log_errors(law: ErrorLaw, relative: tf.Tensor, log_coverage: tf.Tensor) -> tf.Tensor:
  """Returns the log of the expected squared error of each cell [B, h, w, 1].

  Args:
    law: of the cells.
    relative: [B, h, w, 1] of `log_density`.
    log_coverage: [B, 1, 1, 1]; no cell can be denser than one position a pixel.
  """
  taps = tf.constant([[0.25], [0.5], [0.25]])
  kernel = (taps * tf.transpose(taps))[:, :, None, None]
  density = tf.minimum(relative, -log_coverage)
  padded = tf.pad(density, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  # Positions of neighbouring cells help at a cell's border.
  density = 0.5 * density + 0.5 * tf.nn.conv2d(padded, kernel, 1, "VALID")
  resolved = law.scale - law.power * density
  greater, less = tf.maximum(resolved, law.floor), tf.minimum(resolved, law.floor)
  return greater + tf.math.log1p(tf.exp(less - greater))


def log_mean_error(errors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns Q [B]: the log of the mean over a field of exp(errors) [B, h, w, 1]."""
  greatest = tf.reduce_max(errors, [1, 2], keepdims=True)
  mean = state_lib.field_mean(tf.exp(errors - greatest), valid)
  return (greatest + tf.math.log(mean))[:, 0, 0, 0]


def least_error(law: ErrorLaw, valid: tf.Tensor) -> tf.Tensor:
  """Returns the log weights [B, h, w, 1] that the critic predicts the least error for.

  A sum of a rho^-alpha is least, for a given mean of rho, where rho = (alpha a / lambda)^(1 /
  (1 + alpha)); lambda is found by bisection. An actor would learn these weights step by step from a
  critic that is right. Errors of neighbouring cells are taken as independent.

  Args:
    law: of the cells.
    valid: [B, h, w, 1] share of a cell that lies in the field.
  """
  gain = law.scale + tf.math.log(law.power)
  density = lambda level: (gain - level) / (1.0 + law.power)
  low = tf.reduce_min(gain, [1, 2], keepdims=True) - 10.0
  high = tf.reduce_max(gain, [1, 2], keepdims=True) + 10.0
  for _ in range(30):
    level = 0.5 * (low + high)
    dense = state_lib.field_mean(tf.exp(density(level)), valid) > 1.0
    low, high = tf.where(dense, level, low), tf.where(dense, high, level)
  return density(0.5 * (low + high))
