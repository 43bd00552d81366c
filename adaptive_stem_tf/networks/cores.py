"""The recurrent core that a configuration asks for, and how any core runs over a sequence.

A core is an `snt.RNNCore` with `core(inputs [B, D], state) -> (features [B, F], next_state)`,
trainable `core.initial_state(batch_size)` and `core.output_size` (F). States are NamedTuples of
tensors [B, ...].
"""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import controller as controllers
from adaptive_stem_tf.networks import dnc, initialisers, recurrence
from adaptive_stem_tf.types import Nest


def make_core(
  controller: config.Controller,
  memory: config.Memory,
  name: str = "core",
  weights: initialisers.Weights = initialisers.UNSEEDED,
) -> snt.RNNCore:
  """Builds the recurrent core of an actor or critic (METHOD section 4, SI S1).

  Args:
    controller: kind, depth, width and projection.
    memory: external memory, read only if `controller.controller` is `dnc`.
    name: of the module.
    weights: where the initial weights come from.

  Raises:
    ValueError: if the kind of controller is unknown.
  """
  units, depth, projection = controller.units, controller.depth, controller.projection
  if controller.controller == "lstm":
    return controllers.LSTM(units, depth, projection, name, weights)
  if controller.controller == "gru":
    return controllers.GRU(units, depth, name, weights)
  if controller.controller == "dnc":
    lstm = controllers.LSTM(units, depth, projection, weights=weights)
    return dnc.DNC(lstm, memory, name, weights)
  raise ValueError(f"controller={controller.controller!r} is unknown: choose lstm, gru or dnc.")


def unroll(core: snt.RNNCore, inputs: tf.Tensor, state: Nest) -> tuple[tf.Tensor, Nest, Nest]:
  """Runs a core over a sequence, by its own `unroll` where it has one.

  Args:
    core: any core.
    inputs: [B, T, D], T static.
    state: the state that enters step 0, tensors [B, ...].

  Returns:
    features: [B, T, core.output_size].
    entering: a state whose tensors are [B, T, ...]: what enters each step, `state` itself at step
      0.
    final_state: the state after the last step, tensors [B, ...].
  """
  if hasattr(core, "unroll"):
    return core.unroll(inputs, state)
  return unroll_stepwise(core, inputs, state)


def unroll_stepwise(
  core: snt.RNNCore, inputs: tf.Tensor, state: Nest
) -> tuple[tf.Tensor, Nest, Nest]:
  """Calls a core once a time step; arguments and results as in `unroll`."""
  core(inputs[:, 0], state)  # Variables cannot be created inside the loop.

  def step(inputs: tf.Tensor, state: Nest) -> tuple[tuple[tf.Tensor, Nest], Nest]:
    """Returns features and the state that entered, and the next state."""
    features, after = core(inputs, state)
    return (features, state), after

  features = tf.TensorSpec([inputs.shape[0], core.output_size])
  (features, entering), final = recurrence.scan(
    step, inputs, state, (features, recurrence.like(state))
  )
  return features, entering, final
