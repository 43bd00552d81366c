"""Recurrences over sequences, and LSTM and GRU layers with gradients that need little of a loop.

`scan` is the loop. `unroll` runs a `Cell` over a sequence in it and knows its gradient. If
TensorFlow differentiated the loop, it would keep every intermediate of every step, and add up the
gradients of the weights step by step. Here only states are kept. On the way back the gates of all
steps are computed again by one matrix product, and the gradients of the weights by another. The
loop holds only what depends on the step after it: one product and a few multiplications
(backpropagation through time, Werbos 1990). Gradients of gradients are TensorFlow's own, and cost
what this saves.

Shapes: B batch size, T time steps, H size of a hidden state (the projection, or the units), U
units, G gates.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf
import tree

from adaptive_stem_tf.types import Nest

FORGET_BIAS = 1.0

Tensors = tuple[tf.Tensor, ...]


class Cell(Protocol):
  """The equations of a recurrent layer, and of its gradient.

  The drive [..., G U] is the gates' input from outside the recurrence. The weights are the matrices
  of the recurrence. A state is a tuple [..., .], the hidden state first. "The gradient of x" is
  that of the loss with respect to x, and has the shape of x.
  """

  def step(self, drive: tf.Tensor, state: Tensors, weights: Sequence[tf.Tensor]) -> Tensors:
    """Returns the state after one step from that before it, [B, .] each."""

  def linearise(
    self, drive: tf.Tensor, before: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """Returns what the way back needs to know of all steps at once.

    Args:
      drive: [B, T, G U].
      before: the states that enter the steps, [B, T, .] each.
      after: the states that leave them, [B, T, .] each.
      weights: of the recurrence.

    Returns:
      slopes: derivatives, [B, T, .] each, for `step_back`.
      multiplied: what each of the weights multiplies, [B, T, .].
    """

  def step_back(
    self, slopes: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """Goes back by one step.

    Args:
      slopes: of this step, [B, .] each.
      after: the gradient of the state that leaves the step.
      weights: of the recurrence.

    Returns:
      products: the gradients of the products with each of the weights.
      before: the gradient of the state that enters the step.
    """

  def drive_gradient(self, products: Tensors) -> tf.Tensor:
    """Returns the gradient of the drive from those of the products, [B, T, .] each."""


class LSTMCell:
  """c' = sig(f + 1) c + sig(i) tanh(j), h' = sig(o) tanh(c') (METHOD section 4).

  Weights are W_h [H, 4 U], gates in the order i, j, f, o, and, with projection, W_p [U, H], which
  multiplies h'. The state is h' [., H] and c' [., U].
  """

  def step(self, drive: tf.Tensor, state: Tensors, weights: Sequence[tf.Tensor]) -> Tensors:
    """See `Cell`."""
    hidden, cell = state
    return self.advance(drive + tf.matmul(hidden, weights[0]), cell, weights[1:])

  def advance(
    self, sums: tf.Tensor, cell: tf.Tensor, projection: Sequence[tf.Tensor] = ()
  ) -> Tensors:
    """Returns the state after one step.

    Args:
      sums: the gates before their nonlinearities, [B, 4 U].
      cell: c before the step, [B, U].
      projection: W_p, if any.
    """
    i, j, f, o = _lstm_gates(sums)
    cell = f * cell + i * j
    hidden = o * tf.tanh(cell)
    return (tf.matmul(hidden, *projection) if projection else hidden), cell

  def linearise(
    self, drive: tf.Tensor, before: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """See `Cell`; slopes are those of c' by i, j and f and of h' by o, of h' by c', of c' by c."""
    hidden, cell = before
    i, j, f, o = _lstm_gates(drive + tf.tensordot(hidden, weights[0], axes=1))
    output = tf.tanh(after[1])
    gates = [j * i * (1 - i), i * (1 - j**2), cell * f * (1 - f), output * o * (1 - o)]
    slopes = tf.concat(gates, axis=-1), o * (1 - output**2), f
    return slopes, (hidden, o * output)[: len(weights)]

  def step_back(
    self, slopes: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """See `Cell`."""
    gates, cell_to_output, forget = slopes
    hidden, cell = after
    output = tf.matmul(hidden, weights[1], transpose_b=True) if len(weights) > 1 else hidden
    cell += cell_to_output * output
    # One product with all gates: XLA would make a kernel of each of four.
    drive = gates * tf.concat([cell, cell, cell, output], axis=-1)
    before = tf.matmul(drive, weights[0], transpose_b=True), forget * cell
    return (drive, hidden)[: len(weights)], before

  def drive_gradient(self, products: Tensors) -> tf.Tensor:
    """See `Cell`."""
    return products[0]


class GRUCell:
  """z, r = sig(drive + h W_zr), a = tanh(drive + (r h) W_a), h' = (1 - z) h + z a.

  From Cho et al. 2014.

  Weights are W_zr [U, 2 U] and W_a [U, U], gates in the order z, r, a. The state is h' [., U].
  """

  def step(self, drive: tf.Tensor, state: Tensors, weights: Sequence[tf.Tensor]) -> Tensors:
    """See `Cell`."""
    (hidden,) = state
    update, _, candidate = _gru_gates(drive, hidden, weights)
    return ((1 - update) * hidden + update * candidate,)

  def linearise(
    self, drive: tf.Tensor, before: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """See `Cell`; slopes are those of h' by z and a, of r h by r and h, and of h' by h."""
    (hidden,) = before
    update, reset, candidate = _gru_gates(drive, hidden, weights)
    by_update = (candidate - hidden) * update * (1 - update)
    by_candidate = update * (1 - candidate**2)
    by_reset = hidden * reset * (1 - reset)
    slopes = by_update, by_candidate, by_reset, reset, 1 - update
    return slopes, (hidden, reset * hidden)

  def step_back(
    self, slopes: Tensors, after: Tensors, weights: Sequence[tf.Tensor]
  ) -> tuple[Tensors, Tensors]:
    """See `Cell`."""
    by_update, by_candidate, by_reset, reset, keep = slopes
    (hidden,) = after
    candidate = by_candidate * hidden
    gated = tf.matmul(candidate, weights[1], transpose_b=True)  # of r h
    gates = tf.concat([by_update * hidden, by_reset * gated], axis=-1)
    before = keep * hidden + reset * gated + tf.matmul(gates, weights[0], transpose_b=True)
    return (gates, candidate), (before,)

  def drive_gradient(self, products: Tensors) -> tf.Tensor:
    """See `Cell`."""
    return tf.concat(products, axis=-1)


def unroll(
  cell: Cell, drive: tf.Tensor, state: Sequence[tf.Tensor], weights: Sequence[tf.Tensor]
) -> Tensors:
  """Runs a cell over a sequence.

  Args:
    cell: the equations.
    drive: [B, T, G U], T static.
    state: what enters step 0, [B, .] each.
    weights: of the recurrence.

  Returns:
    The states after each step, [B, T, .] each.
  """
  parts = len(state)

  # Everything that has a gradient is an argument: one by a captured tensor would be lost.
  @tf.custom_gradient
  def run(drive: tf.Tensor, *others: tf.Tensor) -> tuple[Tensors, Callable[..., list[tf.Tensor]]]:
    """Returns the states, and the function that goes back; `others` are state and weights."""
    state, weights = others[:parts], others[parts:]

    def step(drive: tf.Tensor, state: Tensors) -> tuple[Tensors, Tensors]:
      """Returns the next state as what is kept, and as what enters the step after it."""
      state = cell.step(drive, state, weights)
      return state, state

    after, _ = scan(step, drive, state, like(state))

    def back(*gradients: tf.Tensor) -> list[tf.Tensor]:
      """Returns the gradients of all arguments from those of the states after each step."""
      slopes, multiplied = cell.linearise(drive, entering(state, after), after, weights)

      def step_back(inputs: tuple[Tensors, Tensors], later: Tensors) -> tuple[Tensors, Tensors]:
        """Adds the gradients by the outputs of a step and by the step after it, and goes on."""
        slopes, outputs = inputs
        both = tuple(x + y for x, y in zip(outputs, later, strict=True))
        return cell.step_back(slopes, both, weights)

      none = tuple(tf.zeros_like(part) for part in state)
      products = tuple(tf.TensorSpec([drive.shape[0], w.shape[1]], w.dtype) for w in weights)
      products, first = scan(step_back, (slopes, gradients), none, products, backwards=True)
      of_weights = [
        tf.einsum("bti,btj->ij", x, y) for x, y in zip(multiplied, products, strict=True)
      ]
      return [cell.drive_gradient(products), *first, *of_weights]

    return after, back

  return tuple(run(drive, *state, *weights))


def scan(
  step: Callable[[Any, Nest], tuple[Any, Nest]],
  inputs: Any,
  state: Nest,
  outputs: Any,
  backwards: bool = False,
) -> tuple[Any, Nest]:
  """Applies `output, state = step(inputs[:, t], state)` for t = 0 .. T-1 in one loop that XLA
  compiles once.

  Args:
    step: the recurrence, from inputs, a nest of tensors [B, ...], and a state to outputs and the
      next state.
    inputs: nest of tensors [B, T, ...], T static.
    state: nest of tensors [B, ...] that enters the first step.
    outputs: what a step gives, a nest of tf.TensorSpec [B, ...] (`like`).
    backwards: from t = T-1 to 0.

  Returns:
    outputs: of each step, at its time, a nest of tensors [B, T, ...].
    final_state: the state that leaves the last step, a nest of tensors [B, ...].
  """
  parts = [_swap_leading(part) for part in tree.flatten(inputs)]
  steps = parts[0].shape[0]
  sources = [
    tf.TensorArray(part.dtype, steps, element_shape=part.shape[1:]).unstack(part) for part in parts
  ]
  arrays = [
    tf.TensorArray(spec.dtype, steps, element_shape=spec.shape) for spec in tree.flatten(outputs)
  ]

  def body(turn: tf.Tensor, state: Nest, arrays: list[tf.TensorArray]) -> tuple[Any, ...]:
    """Takes one step and writes its outputs."""
    t = steps - 1 - turn if backwards else turn
    output, state = step(tree.unflatten_as(inputs, [part.read(t) for part in sources]), state)
    tree.assert_same_structure(output, outputs)
    return turn + 1, state, [a.write(t, part) for a, part in zip(arrays, tree.flatten(output))]

  # No other condition than the length: with two, XLA does not know it, and an accelerator would
  # ask its host after every step.
  _, final_state, arrays = tf.while_loop(
    lambda *_: tf.constant(True), body, (0, state, arrays), maximum_iterations=steps
  )
  return tree.unflatten_as(outputs, [_swap_leading(a.stack()) for a in arrays]), final_state


def like(state: Nest) -> Any:
  """Returns the specifications of a nest of tensors."""
  return tree.map_structure(tf.TensorSpec.from_tensor, state)


def entering(first: Nest, after: Nest) -> Nest:
  """Returns the states that enter each step, a nest of tensors [B, T, ...].

  Args:
    first: the state that enters step 0, tensors [B, ...].
    after: the states after each step, [B, T, ...].
  """
  return tree.map_structure(lambda f, a: tf.concat([f[:, None], a[:, :-1]], axis=1), first, after)


def _lstm_gates(sums: tf.Tensor) -> Tensors:
  """Returns i, j, f and o, each [..., U]."""
  i, j, f, o = tf.split(sums, 4, axis=-1)
  return tf.sigmoid(i), tf.tanh(j), tf.sigmoid(f + FORGET_BIAS), tf.sigmoid(o)


def _gru_gates(drive: tf.Tensor, hidden: tf.Tensor, weights: Sequence[tf.Tensor]) -> Tensors:
  """Returns z, r and a, each [..., U]."""
  units = hidden.shape[-1]
  drive_zr, drive_a = tf.split(drive, [2 * units, units], axis=-1)
  update, reset = tf.split(
    tf.sigmoid(drive_zr + tf.tensordot(hidden, weights[0], axes=1)), 2, axis=-1
  )
  return update, reset, tf.tanh(drive_a + tf.tensordot(reset * hidden, weights[1], axes=1))


def _swap_leading(tensor: tf.Tensor) -> tf.Tensor:
  """Transposes [B, T, ...] into [T, B, ...] and back."""
  return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])
