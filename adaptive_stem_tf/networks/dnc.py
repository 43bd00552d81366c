"""Differentiable neural computer: an LSTM with an external memory (Graves et al. 2016; SI S1,
METHOD section 4).
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import access as memory_access
from adaptive_stem_tf.networks import controller as controllers
from adaptive_stem_tf.networks import initialisers


class DNCState(NamedTuple):
  """State of a `DNC`.

  Attributes:
    controller: state of the LSTM.
    access: the memory.
    words: read at the last step, R heads of width W, [B, R, W].
  """

  controller: controllers.LSTMState
  access: memory_access.AccessState
  words: tf.Tensor


class DNC(snt.RNNCore):
  """LSTM whose inputs include the words that it read from memory at the step before.

  The controller starts from its trainable state, with an empty memory and empty words.

  Args:
    controller: the LSTM.
    memory: sizes of the external memory.
    name: of the module.
    weights: where the memory's initial weights come from.
  """

  def __init__(
    self,
    controller: controllers.LSTM,
    memory: config.Memory,
    name: str = "dnc",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self.controller = controller
    self.access = memory_access.MemoryAccess(memory, weights=weights)
    self._words_shape = [memory.read_heads, memory.word_size]
    self._words_size = memory.read_heads * memory.word_size
    self.output_size = controller.output_size + self._words_size

  def initial_state(self, batch_size: int | tf.Tensor) -> DNCState:
    """Returns the controller's trainable initial state, tiled, with an empty memory."""
    return DNCState(
      controller=self.controller.initial_state(batch_size),
      access=self.access.initial_state(batch_size),
      words=tf.zeros([batch_size, *self._words_shape]),
    )

  def __call__(self, inputs: tf.Tensor, state: DNCState) -> tuple[tf.Tensor, DNCState]:
    """Advances the controller, then its memory, by one step.

    Args:
      inputs: [B, D].
      state: the state that enters the step.

    Returns:
      features: concat(features of the controller, words read now), [B, output_size].
      next_state: a state like the one given.
    """
    flat = lambda words: tf.reshape(words, [-1, self._words_size])
    features, controller = self.controller(
      tf.concat([inputs, flat(state.words)], axis=-1), state.controller
    )
    words, access = self.access(features, state.access)
    return tf.concat([features, flat(words)], axis=-1), DNCState(controller, access, words)
