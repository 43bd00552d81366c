"""Optimisers and gradient clipping (METHOD section 7, SI S2)."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config

_NORM_DECAY = 0.99  # of the running norm of gradients


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


class Adam(snt.Module):
  """Adam (Kingma & Ba 2015). Sonnet's own refuses to run on several machines."""

  def __init__(
    self,
    learning_rate: tf.Variable | tf.Tensor,
    momentum: float = 0.9,
    decay: float = 0.999,
    epsilon: float = 1e-8,
    name: str = "adam",
  ):
    """Makes an optimiser without moments (`initialise`).

    Args:
      learning_rate: a scalar.
      momentum: decay of first moments.
      decay: of second moments.
      epsilon: added to the root of second moments.
      name: of the module.
    """
    super().__init__(name=name)
    self.learning_rate = learning_rate
    self._momentum, self._decay, self._epsilon = momentum, decay, epsilon
    # Checkpoints keep the moments under these names.
    self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="t")
    self.m: list[tf.Variable] = []
    self.v: list[tf.Variable] = []

  # The constructor does not take the parameters: Sonnet formats its arguments for the module's
  # repr, with all the numbers of variables.
  @snt.once
  def initialise(self, parameters: Sequence[tf.Variable]) -> None:
    """Makes the moments of parameters, all 0; only the first call does anything."""
    self.m.extend(_zeros(parameter, "m") for parameter in parameters)
    self.v.extend(_zeros(parameter, "v") for parameter in parameters)

  def apply(self, updates: Sequence[tf.Tensor], parameters: Sequence[tf.Variable]) -> None:
    """Moves parameters by -rate m / (sqrt(v) + epsilon), with bias-corrected moments."""
    self.initialise(parameters)
    self.step.assign_add(1)
    step = tf.cast(self.step, tf.float32)
    unbiased = [1 / (1 - tf.pow(decay, step)) for decay in (self._momentum, self._decay)]
    for gradient, parameter, m, v in zip(updates, parameters, self.m, self.v, strict=True):
      first = self._momentum * m + (1 - self._momentum) * gradient
      second = self._decay * v + (1 - self._decay) * tf.square(gradient)
      m.assign(first)
      v.assign(second)
      root = tf.sqrt(second * unbiased[1]) + self._epsilon
      parameter.assign_sub(self.learning_rate * first * unbiased[0] / root)


class SGD(snt.Module):
  """Gradient descent; not Sonnet's, for the reason that `Adam` gives."""

  def __init__(self, learning_rate: tf.Variable | tf.Tensor, name: str = "sgd"):
    super().__init__(name=name)
    self.learning_rate = learning_rate

  def apply(self, updates: Sequence[tf.Tensor], parameters: Sequence[tf.Variable]) -> None:
    """Moves parameters by -rate g."""
    for gradient, parameter in zip(updates, parameters, strict=True):
      parameter.assign_sub(self.learning_rate * gradient)


def make_optimiser(
  kind: str, learning_rate: tf.Variable, parameters: Sequence[tf.Variable]
) -> snt.Module:
  """Makes an optimiser with its variables, since a compiled step cannot make them.

  Args:
    kind: `adam`, `rmsprop` or `sgd` (config.Optimisation).
    learning_rate: a scalar.
    parameters: the variables that it will update.
  """
  if kind == "rmsprop":
    rmsprop = RMSProp(learning_rate)
    rmsprop.initialise(parameters)
    return rmsprop
  return SGD(learning_rate) if kind == "sgd" else make_adam(learning_rate, parameters)


def make_adam(
  learning_rate: tf.Variable, parameters: Sequence[tf.Variable], momentum: float = 0.9
) -> Adam:
  """Makes Adam and its variables, as `make_optimiser` does."""
  adam = Adam(learning_rate, momentum)
  adam.initialise(parameters)
  return adam


def _zeros(parameter, name):
  return tf.Variable(tf.zeros_like(parameter), trainable=False, name=name)


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
