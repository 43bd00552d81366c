"""Deep recurrent controllers with skip connections: LSTM (with optional projection) and GRU.

Layer 1 reads the inputs, layer k >= 2 reads concat(inputs, h_{k-1}), and the features are
concat(h_1, ..., h_depth) (METHOD section 4, SI S1). Initial states are trainable.

Both cores run one step (`core(inputs, state)`) or a whole sequence (`core.unroll`). A sequence is
run layer by layer, so that only the product of h with its own weights stays in the recurrence: one
matrix product for all time steps gives a layer's input from below.

Shapes: B batch size, T time steps, D inputs, H size of a hidden state (the projection, or the
units), U units.
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
import tree

from adaptive_stem_tf.networks import initialisers, recurrence
from adaptive_stem_tf.types import Nest


class LSTMState(NamedTuple):
  """State of an `LSTM`: one tensor a layer.

  Attributes:
    hidden: h_k, each [B, H].
    cell: c_k, each [B, U].
  """

  hidden: tuple[tf.Tensor, ...]
  cell: tuple[tf.Tensor, ...]


class GRUState(NamedTuple):
  """State of a `GRU`: one tensor a layer.

  Attributes:
    hidden: h_k, each [B, U].
  """

  hidden: tuple[tf.Tensor, ...]


class _Layer(snt.Module):
  """One recurrent layer: gates from [x, h] W + b, with a trainable initial state.

  A subclass gives `_gates` (how many blocks of units W has), the `_cell` and the weights of its
  recurrence and, where it has more state than h, extends `initial`. States are tuples of tensors,
  the hidden state first.
  """

  _gates: int
  _cell: recurrence.Cell

  def __init__(self, units: int, output_size: int, name: str, weights: initialisers.Weights):
    super().__init__(name=name)
    self._w_init = weights.truncated_normal()
    self.units = units
    self.output_size = output_size
    self.initial_hidden = tf.Variable(tf.zeros([1, output_size]), name="initial_hidden")

  @property
  def initial(self) -> tuple[tf.Variable, ...]:
    """The trainable initial state, each [1, .]."""
    return (self.initial_hidden,)

  @snt.once
  def _initialize(self, input_size: int):
    self._input_size = input_size
    fan_in = input_size + self.output_size
    shape = [fan_in, self._gates * self.units]
    self.w_gates = tf.Variable(self._w_init(shape, tf.float32), name="w_gates")
    self.b_gates = tf.Variable(tf.zeros([self._gates * self.units]), name="b_gates")

  def __call__(self, inputs: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """Advances the state by one step.

    Args:
      inputs: [B, D].
      state: the state that enters, [B, .] each.

    Returns:
      The next state.
    """
    self._initialize(inputs.shape[-1])
    return self._cell.step(self._drive(inputs), state, self._recurrent_weights())

  def unroll(self, inputs: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """Runs the layer over a sequence.

    Args:
      inputs: [B, T, D].
      state: the state that enters step 0, [B, .] each.

    Returns:
      The states after each step, [B, T, .] each.
    """
    self._initialize(inputs.shape[-1])
    return recurrence.unroll(self._cell, self._drive(inputs), state, self._recurrent_weights())

  def _drive(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the gates' input from outside the recurrence, x W_x + b: [..., gates U]."""
    return tf.tensordot(inputs, self.w_gates[: self._input_size], axes=1) + self.b_gates

  def _recurrent_weights(self) -> list[tf.Tensor]:
    """Returns the weights of the recurrence, in the order of the cell."""
    return [self.w_gates[self._input_size :]]


class _LSTMLayer(_Layer):
  """LSTM layer (METHOD section 4); with projection W_p, an LSTMP layer (SI fig. S2f)."""

  _gates = 4
  _cell = recurrence.LSTMCell()

  def __init__(self, units: int, projection: int, name: str, weights: initialisers.Weights):
    super().__init__(units, projection or units, name, weights)
    self.initial_cell = tf.Variable(tf.zeros([1, units]), name="initial_cell")
    self._projects = projection > 0
    self._projection_init = weights.truncated_normal()

  @property
  def initial(self) -> tuple[tf.Variable, ...]:
    """The trainable initial state: hidden and cell, each [1, .]."""
    return (self.initial_hidden, self.initial_cell)

  @snt.once
  def _initialize(self, input_size: int):
    super()._initialize(input_size)
    if self._projects:
      projection = self._projection_init([self.units, self.output_size], tf.float32)
      self.w_projection = tf.Variable(projection, name="w_projection")

  def __call__(self, inputs: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    # One product instead of two: a loop of single steps would slice the weights in every turn.
    self._initialize(inputs.shape[-1])
    hidden, cell = state
    sums = tf.matmul(tf.concat([inputs, hidden], axis=-1), self.w_gates) + self.b_gates
    return self._cell.advance(sums, cell, self._recurrent_weights()[1:])

  def _recurrent_weights(self) -> list[tf.Tensor]:
    weights = super()._recurrent_weights()
    return [*weights, tf.convert_to_tensor(self.w_projection)] if self._projects else weights


class _GRULayer(_Layer):
  """GRU layer (Cho et al. 2014): the reset gate acts on h before its weights do."""

  _gates = 3
  _cell = recurrence.GRUCell()

  def __init__(self, units: int, name: str, weights: initialisers.Weights):
    super().__init__(units, units, name, weights)

  def _recurrent_weights(self) -> list[tf.Tensor]:
    (w_hidden,) = super()._recurrent_weights()
    return tf.split(w_hidden, [2 * self.units, self.units], axis=-1)


class _DeepCore(snt.RNNCore):
  """Stack of layers with skip connections; the state has one field for each tensor of a layer's
  state.
  """

  def __init__(self, layers: list[_Layer], state_type: type, name: str):
    super().__init__(name=name)
    self.layers = layers
    self.output_size = sum(layer.output_size for layer in layers)
    self._state_type = state_type

  def initial_state(self, batch_size: int | tf.Tensor) -> Nest:
    """Returns the trainable initial state, repeated for every example: [batch_size, .] each."""
    states = [[tf.tile(part, [batch_size, 1]) for part in layer.initial] for layer in self.layers]
    return self._join(states)

  def __call__(self, inputs: tf.Tensor, state: Nest) -> tuple[tf.Tensor, Nest]:
    """Advances the core by one step.

    Args:
      inputs: [B, D].
      state: the state that enters the step, as from `initial_state` or an earlier call.

    Returns:
      features: concat(h_1, ..., h_depth), [B, output_size].
      next_state: a state like the one given.
    """
    below, states = inputs, []
    for layer, layer_state in zip(self.layers, zip(*state)):
      states.append(layer(below, layer_state))
      below = tf.concat([inputs, states[-1][0]], axis=-1)
    return tf.concat([hidden for hidden, *_ in states], axis=-1), self._join(states)

  def unroll(self, inputs: tf.Tensor, state: Nest) -> tuple[tf.Tensor, Nest, Nest]:
    """Runs the core over a sequence; equals calling it step by step.

    Args:
      inputs: [B, T, D].
      state: the state that enters step 0.

    Returns:
      features: [B, T, output_size].
      entering: a state whose tensors are [B, T, .]: what enters each step, `state` itself at step
        0.
      final_state: the state after the last step.
    """
    below, states = inputs, []
    for layer, layer_state in zip(self.layers, zip(*state)):
      states.append(layer.unroll(below, layer_state))
      below = tf.concat([inputs, states[-1][0]], axis=-1)
    after = self._join(states)
    final = tree.map_structure(lambda part: part[:, -1], after)
    return tf.concat(after.hidden, axis=-1), recurrence.entering(state, after), final

  def _join(self, states) -> Nest:
    """Returns the core's state from the states of its layers."""
    return self._state_type(*zip(*states))


class LSTM(_DeepCore):
  """Deep LSTM with skip connections.

  Each layer has one kernel `w_gates` [D_k + H, 4 U] and `b_gates` [4 U], gates in the order i, j,
  f, o; the forget bias of +1 is added at run time. With projection, h' = (sig(o) tanh(c')) W_p is
  what recurs, skips and leaves, `w_projection` [U, H], and the features are depth * H wide.

  Args:
    units: U, cells per layer.
    depth: number of layers.
    projection: H, size of projected hidden states; 0 for none, H = U.
    name: of the module.
    weights: where the initial weights come from.
  """

  def __init__(
    self,
    units: int,
    depth: int,
    projection: int = 0,
    name: str = "lstm",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    layers = [_LSTMLayer(units, projection, f"layer_{k}", weights) for k in range(1, depth + 1)]
    super().__init__(layers, LSTMState, name)


class GRU(_DeepCore):
  """Deep GRU with the skip connections and trainable initial states of `LSTM`.

  Each layer has one kernel `w_gates` [D_k + U, 3 U] and `b_gates` [3 U], in the order update,
  reset, candidate.

  Args:
    units: U, hidden units per layer.
    depth: number of layers.
    name: of the module.
    weights: where the initial weights come from.
  """

  def __init__(
    self,
    units: int,
    depth: int,
    name: str = "gru",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    layers = [_GRULayer(units, f"layer_{k}", weights) for k in range(1, depth + 1)]
    super().__init__(layers, GRUState, name)
