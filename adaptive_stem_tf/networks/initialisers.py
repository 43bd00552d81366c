"""Initial weights, decided by a seed and by the order in which modules are made.

All networks of an experiment share one `Weights`, made from its seed, so that no two layers start
alike. TensorFlow's global seed plays no part: anything else that draws from its generator would
change the weights.
"""

import math
from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import randomness

_PHILOX = "philox"  # the same numbers on every device; by default each has its own


class Weights:
  """Gives one initialiser for each variable, with random numbers of its own."""

  def __init__(self, seed: int | None):
    """Starts to count variables.

    Args:
      seed: of the experiment; None draws from TensorFlow's global generator, as Sonnet does.
    """
    self._seed, self._count = seed, 0

  def truncated_normal(self) -> snt.initializers.Initializer:
    """Returns a normal distribution of standard deviation 1 / sqrt(fan-in), cut at two of these."""
    return _TruncatedNormal(*self._next())

  def xavier(self) -> snt.initializers.Initializer:
    """Returns a uniform distribution of variance 2 / (fan-in + fan-out) (Glorot, Bengio 2010)."""
    return _Xavier(*self._next())

  def _next(self):
    self._count += 1
    return self._seed, self._count


UNSEEDED = Weights(None)


class _Initialiser(snt.initializers.Initializer):
  """Draws one variable."""

  def __init__(self, seed, number):
    self._seed, self._number = seed, number

  def _stream(self):
    return randomness.stream(self._seed, randomness.Purpose.WEIGHTS, self._number)


class _TruncatedNormal(_Initialiser):
  def __call__(self, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Draws weights whose last axis is the fan-out."""
    deviation = 1 / math.sqrt(math.prod(shape[:-1]))
    if self._seed is None:
      return tf.random.truncated_normal(shape, 0.0, deviation, dtype)
    return tf.random.stateless_truncated_normal(
      shape, self._stream(), 0.0, deviation, dtype, alg=_PHILOX
    )


class _Xavier(_Initialiser):
  def __call__(self, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Draws the kernel of a convolution, its channels on the last two axes in either order."""
    *window, inputs, outputs = shape
    limit = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
    if self._seed is None:
      return tf.random.uniform(shape, -limit, limit, dtype)
    return tf.random.stateless_uniform(shape, self._stream(), -limit, limit, dtype, alg=_PHILOX)
