"""Deep recurrent controllers with skip connections: LSTM (with optional projection) and GRU.

Layer 1 reads the inputs, layer k >= 2 reads concat(inputs, h_{k-1}), and the features are
concat(h_1, ..., h_depth) (METHOD section 4, SI S1). Initial states are trainable.

Both cores run one step (`core(inputs, state)`) or a whole sequence (`core.unroll`). A sequence is
run layer by layer, so that only the product of h with its own weights stays in the recurrence: one
matrix product for all time steps gives a layer's input from below.

Shapes: B batch size, T time steps, D inputs, H size of a hidden state (the projection, or the
units), U units.
"""

from collections.abc import Callable
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
import tree

from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.types import Nest

FORGET_BIAS = 1.0


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

  A subclass gives `_gates` (how many blocks of units W has), `_advance` and, where it has more
  state than h, extends `initial`. States are tuples of tensors, the hidden state first.
  """

  _gates: int

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
    return self._advance(self._drive(inputs), self.w_gates[self._input_size :], state)

  def unroll(self, inputs: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """Runs the layer over a sequence.

    Args:
      inputs: [B, T, D].
      state: the state that enters step 0, [B, .] each.

    Returns:
      The states after each step, [B, T, .] each.
    """
    self._initialize(inputs.shape[-1])
    w_hidden = self.w_gates[self._input_size :]
    return scan(
      lambda drive, state: self._advance(drive, w_hidden, state), self._drive(inputs), state
    )

  def _drive(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the gates' input from outside the recurrence, x W_x + b: [..., gates U]."""
    return tf.tensordot(inputs, self.w_gates[: self._input_size], axes=1) + self.b_gates

  def _advance(
    self, drive: tf.Tensor, w_hidden: tf.Tensor, state: tuple[tf.Tensor, ...]
  ) -> tuple[tf.Tensor, ...]:
    """Returns the next state.

    Args:
      drive: [B, gates U], the gates' input from outside the recurrence.
      w_hidden: [H, gates U], weights of h.
      state: the state before.
    """
    raise NotImplementedError


class _LSTMLayer(_Layer):
  """LSTM layer (METHOD section 4); with projection W_p, an LSTMP layer (SI fig. S2f)."""

  _gates = 4

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

  def _advance(self, drive, w_hidden, state):
    hidden, cell = state
    # c' = sig(f + 1) c + sig(i) tanh(j), h' = sig(o) tanh(c'), times W_p with projection.
    i, j, f, o = tf.split(drive + tf.matmul(hidden, w_hidden), 4, axis=-1)
    cell = tf.sigmoid(f + FORGET_BIAS) * cell + tf.sigmoid(i) * tf.tanh(j)
    hidden = tf.sigmoid(o) * tf.tanh(cell)
    return (tf.matmul(hidden, self.w_projection) if self._projects else hidden), cell


class _GRULayer(_Layer):
  """GRU layer (Cho et al. 2014): the reset gate acts on h before its weights do."""

  _gates = 3

  def __init__(self, units: int, name: str, weights: initialisers.Weights):
    super().__init__(units, units, name, weights)

  def _advance(self, drive, w_hidden, state):
    (hidden,) = state
    # z, r = sig(x W + h U + b), a = tanh(x W_a + (r h) U_a + b_a), h' = (1 - z) h + z a.
    drive_zr, drive_a = tf.split(drive, [2 * self.units, self.units], axis=-1)
    w_zr, w_a = tf.split(w_hidden, [2 * self.units, self.units], axis=-1)
    update, reset = tf.split(tf.sigmoid(drive_zr + tf.matmul(hidden, w_zr)), 2, axis=-1)
    candidate = tf.tanh(drive_a + tf.matmul(reset * hidden, w_a))
    return ((1 - update) * hidden + update * candidate,)


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
    return tf.concat(after.hidden, axis=-1), *entering_and_final(state, after)

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


def scan(advance: Callable[[tf.Tensor, Nest], Nest], inputs: tf.Tensor, state: Nest) -> Nest:
  """Applies `state = advance(inputs[:, t], state)` for t = 0 .. T-1 in one loop that XLA compiles
  once.

  Args:
    advance: the recurrence, from inputs [B, D] and a state to the next state.
    inputs: [B, T, D], T static.
    state: nest of tensors [B, ...] that enters step 0.

  Returns:
    The states after each step, a nest of tensors [B, T, ...].
  """
  steps = inputs.shape[1]
  source = tf.TensorArray(tf.float32, steps, element_shape=inputs.shape[:1] + inputs.shape[2:])
  source = source.unstack(_swap_leading(inputs))
  arrays = [
    tf.TensorArray(part.dtype, steps, element_shape=part.shape) for part in tree.flatten(state)
  ]

  def body(t, state, arrays):
    """Advances by one step and writes the next state."""
    state = advance(source.read(t), state)
    return t + 1, state, [a.write(t, part) for a, part in zip(arrays, tree.flatten(state))]

  # No other condition than the length: with two, XLA does not know it, and an accelerator would
  # ask its host after every step.
  _, _, arrays = tf.while_loop(
    lambda *_: tf.constant(True), body, (0, state, arrays), maximum_iterations=steps
  )
  return tree.unflatten_as(state, [_swap_leading(array.stack()) for array in arrays])


def entering_and_final(first: Nest, after: Nest) -> tuple[Nest, Nest]:
  """Returns the states that enter each step, [B, T, ...], and the last one, [B, ...].

  Args:
    first: the state that enters step 0, tensors [B, ...].
    after: the states after each step, [B, T, ...], as from `scan`.
  """
  entering = tree.map_structure(
    lambda s, a: tf.concat([s[:, None], a[:, :-1]], axis=1), first, after
  )
  return entering, tree.map_structure(lambda a: a[:, -1], after)


def _swap_leading(tensor: tf.Tensor) -> tf.Tensor:
  """Transposes [B, T, ...] into [T, B, ...] and back."""
  return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])
