"""Optimisers and gradient clipping (METHOD section 7, SI S2)."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config

_NORM_DECAY = 0.99


class RMSProp(snt.Module):
  """RMSProp as TensorFlow 1 has it: epsilon inside the root, accumulators start at 1."""

  def __init__(
    self,
    learning_rate: tf.Variable,
    decay: float = 0.9,
    epsilon: float = 1e-10,
    name: str = "rmsprop",
  ):
    super().__init__(name=name)
    self.learning_rate, self._decay, self._epsilon = learning_rate, decay, epsilon
    self.mean_square: list[tf.Variable] = []

  @snt.once
  def initialise(self, parameters: Sequence[tf.Variable]) -> None:
    """Makes the accumulators of parameters, all 1; only the first call does anything."""
    self.mean_square.extend(
      tf.Variable(tf.ones_like(p), trainable=False, name="mean_square") for p in parameters
    )

  def apply(self, updates: Sequence[tf.Tensor], parameters: Sequence[tf.Variable]) -> None:
    """Moves parameters by -rate g / sqrt(mean square + epsilon)."""
    self.initialise(parameters)
    for gradient, parameter, mean_square in zip(updates, parameters, self.mean_square, strict=True):
      mean_square.assign(self._decay * mean_square + (1 - self._decay) * tf.square(gradient))
      parameter.assign_sub(self.learning_rate * gradient / tf.sqrt(mean_square + self._epsilon))


def make_optimiser(
  kind: str, learning_rate: tf.Variable, parameters: Sequence[tf.Variable]
) -> snt.Module:
  """Makes an optimiser and its variables, so that none is left to be made in a compiled step.

  Args:
    kind: `adam`, `rmsprop` or `sgd` (config.Optimisation).
    learning_rate: a scalar.
    parameters: what it is going to move.
  """
  if kind == "rmsprop":
    rmsprop = RMSProp(learning_rate)
    rmsprop.initialise(parameters)
    return rmsprop
  return (
    snt.optimizers.SGD(learning_rate) if kind == "sgd" else make_adam(learning_rate, parameters)
  )


def make_adam(
  learning_rate: tf.Variable, parameters: Sequence[tf.Variable], momentum: float = 0.9
) -> snt.optimizers.Adam:
  """Makes Adam and its variables.

  Args:
    learning_rate: a scalar.
    parameters: what it is going to move.
    momentum: decay of first moments.
  """
  adam = snt.optimizers.Adam(learning_rate, beta1=momentum)
  if parameters:
    # Sonnet makes moments at the first update: one by gradients of 0, which moves nothing but the
    # count of steps.
    adam.apply([tf.zeros_like(parameter) for parameter in parameters], parameters)
    adam.step.assign(0)
  return adam


class Clipper(snt.Module):
  """Clips one network's gradients to a static or dynamic threshold (SI S2)."""

  def __init__(self, settings: config.Optimisation, name: str = "clipper"):
    super().__init__(name=name)
    self._kind, self._threshold = settings.clip, settings.clip_threshold
    self.running_norm = tf.Variable(0.0, trainable=False, name="running_norm")
    self.count = tf.Variable(0.0, trainable=False, name="count")

  def __call__(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns the clipped gradients and their global norm before clipping."""
    norm = tf.linalg.global_norm(gradients)
    if self._kind == "none":
      return list(gradients), norm
    if self._kind == "value":
      return [tf.clip_by_value(g, -self._threshold, self._threshold) for g in gradients], norm
    limit = self._threshold * (self._move(norm) if self._kind == "running_norm" else 1.0)
    scale = tf.minimum(1.0, limit / tf.maximum(norm, 1e-30))
    return [scale * g for g in gradients], norm

  def _move(self, norm):
    """Moves the zero-debiased running norm and returns its new value."""
    self.count.assign_add(1.0)
    self.running_norm.assign(_NORM_DECAY * self.running_norm + (1 - _NORM_DECAY) * norm)
    return self.running_norm / (1 - tf.pow(_NORM_DECAY, self.count))
