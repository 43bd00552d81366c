"""The copy task (Graves et al. 2014, 2016): see a sequence, then say it again.

An item is BITS random bits. While items are shown a flag is up; then the network,
given nothing, has to give them back in order. Only a store that is written item by
item and read in the order of writing does this at lengths that a recurrent state of
the same number of weights cannot hold.
"""

from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import optimisers
from adaptive_stem_tf.networks import controller as controllers
from adaptive_stem_tf.networks import cores

BITS = 6
MEMORY = config.Memory(memory_slots=16, word_size=8, read_heads=1, write_heads=1)
_BATCH = 32


class Result(NamedTuple):
  """What was trained, and how many bits it gives back rightly."""

  accuracy: float
  without_words: float  # the same network, the words read set to zero; NaN without a memory
  parameters: int


def sequences(length: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns inputs [B, 2 length, BITS + 1] and the bits to give back [B, length, BITS]."""
  bits = np.random.default_rng(seed).integers(2, size=(_BATCH, length, BITS)).astype(np.float32)
  shown = np.concatenate([bits, np.ones([_BATCH, length, 1], np.float32)], -1)
  return tf.constant(np.concatenate([shown, np.zeros_like(shown)], 1)), tf.constant(bits)


class Copier(snt.Module):
  """A recurrent core and a linear layer."""

  def __init__(self, core: snt.RNNCore):
    super().__init__()
    self.core, self.linear = core, snt.Linear(BITS)

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns logits [B, length, BITS] for the second half of inputs [B, 2 length, BITS + 1]."""
    features, _, _ = cores.unroll(self.core, inputs, self.core.initial_state(_BATCH))
    return self.linear(features[:, inputs.shape[1] // 2 :])


def train(core: snt.RNNCore, length: int, iterations: int, rate: float = 3e-3) -> Result:
  """Trains a core to copy `length` items; tests it on new sequences."""
  copier = Copier(core)
  copier(sequences(length, 0)[0])
  variables = copier.trainable_variables
  optimiser = optimisers.make_adam(tf.constant(rate), variables)

  @tf.function(jit_compile=True)
  def step(inputs, bits):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(bits, copier(inputs)))
    gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
    optimiser.apply(gradients, variables)
    return loss

  for iteration in range(iterations):
    step(*sequences(length, iteration))
  accuracy = _accuracy(copier, length)
  parameters = sum(int(np.prod(v.shape)) for v in variables)
  return Result(accuracy, _without_words(copier, length), parameters)


def make_dnc() -> snt.RNNCore:
  """Returns a small differentiable neural computer."""
  return cores.make_core(config.Controller(controller="dnc", depth=1, units=16), MEMORY)


def make_lstm(parameters: int) -> snt.RNNCore:
  """Returns the smallest LSTM whose copier has at least `parameters` weights."""

  def count(units):
    return 4 * units * (BITS + 1 + units + 1) + 2 * units + units * BITS + BITS

  return controllers.LSTM(
    next(units for units in range(1, 512) if count(units) >= parameters), depth=1
  )


def _accuracy(copier, length):
  right = [
    np.mean((copier(inputs).numpy() > 0) == (bits.numpy() > 0.5))
    for inputs, bits in (sequences(length, 10**6 + i) for i in range(8))
  ]
  return float(np.mean(right))


def _without_words(copier, length):
  """Returns the accuracy when the words read reach neither the controller nor the output."""
  if not hasattr(copier.core, "access"):
    return float("nan")
  access = copier.core.access
  original = type(access).__call__
  try:
    type(access).__call__ = lambda self, *args: _zero_words(original(self, *args))
    return _accuracy(copier, length)
  finally:
    type(access).__call__ = original


def _zero_words(result):
  words, state = result
  return tf.zeros_like(words), state
