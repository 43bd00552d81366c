"""LSTM and GRU against hand arithmetic, and whole sequences against single steps."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tree

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import controller, cores

BATCH, STEPS, INPUTS, UNITS = 3, 5, 4, 6
KINDS = {
  "lstm": lambda: controller.LSTM(UNITS, 2),
  "lstm_1_layer": lambda: controller.LSTM(UNITS, 1),
  "lstm_3_layers": lambda: controller.LSTM(UNITS, 3),
  "lstm_projected": lambda: controller.LSTM(UNITS, 2, projection=2),
  "gru": lambda: controller.GRU(UNITS, 2),
}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def built(kind, seed=0):
  """Returns a core with random weights, biases and initial states, and inputs [B, T, D]."""
  core, rng = KINDS[kind](), np.random.default_rng(seed)
  inputs = tf.constant(rng.standard_normal([BATCH, STEPS, INPUTS]), tf.float32)
  core(inputs[:, 0], core.initial_state(BATCH))
  for variable in core.trainable_variables:
    variable.assign(0.5 * rng.standard_normal(variable.shape))
  return core, inputs


def close(a, b, tolerance=1e-5):
  tree.map_structure(
    lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance), a, b
  )


def lstm_layer(x, h, c, w, b):
  """The published cell, gates in the order i, j, f, o (METHOD section 4)."""
  i, j, f, o = np.split(np.concatenate([x, h], -1) @ w + b, 4, axis=-1)
  c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
  return sigmoid(o) * np.tanh(c), c


def test_lstm_step_by_hand():
  core = controller.LSTM(units=1, depth=1)
  x, state = (
    tf.constant([[2.0]]),
    controller.LSTMState((tf.constant([[0.5]]),), (tf.constant([[-1.0]]),)),
  )
  core(x, state)
  core.layers[0].w_gates.assign([[0.1, 0.2, 0.3, 0.4], [-0.5, 0.6, -0.7, 0.8]])
  core.layers[0].b_gates.assign([0.01, 0.02, 0.03, 0.04])
  features, after = core(x, state)
  # Gates: i = 0.2 - 0.25 + 0.01, j = 0.4 + 0.3 + 0.02, f = 0.6 - 0.35 + 0.03 (+ 1), o = 0.8 + 0.4 +
  # 0.04.
  cell = sigmoid(1.28) * -1.0 + sigmoid(-0.04) * math.tanh(0.72)
  close(after.cell[0].numpy(), np.array([[cell]]))
  close(features.numpy(), np.array([[sigmoid(1.24) * math.tanh(cell)]]))
  close(after.hidden[0].numpy(), features.numpy())


def test_forget_bias_is_one_at_run_time():
  core = controller.LSTM(units=3, depth=1)
  state = controller.LSTMState((tf.zeros([1, 3]),), (tf.ones([1, 3]),))
  core(tf.zeros([1, 2]), state)
  assert not core.layers[0].b_gates.numpy().any()
  _, after = core(tf.zeros([1, 2]), state)  # tanh(j) = 0, so only forgetting acts.
  close(after.cell[0].numpy(), np.full([1, 3], sigmoid(1.0)))


@pytest.mark.parametrize("kind", ["lstm", "lstm_projected"])
def test_skip_connections(kind):
  core, inputs = built(kind)
  one, two = core.layers
  state, x = core.initial_state(BATCH), inputs[:, 0].numpy()
  features, after = core(inputs[:, 0], state)
  h1, c1 = lstm_layer(x, state.hidden[0], state.cell[0], one.w_gates, one.b_gates)
  h1 = h1 @ one.w_projection if kind == "lstm_projected" else h1
  h2, c2 = lstm_layer(
    np.concatenate([x, h1], -1), state.hidden[1], state.cell[1], two.w_gates, two.b_gates
  )
  h2 = h2 @ two.w_projection if kind == "lstm_projected" else h2
  close(features.numpy(), np.concatenate([h1, h2], -1))
  close(after, controller.LSTMState((h1, h2), (c1, c2)))
  assert features.shape[-1] == core.output_size == 2 * (2 if kind == "lstm_projected" else UNITS)


def test_third_layer_reads_the_second_only():
  core, _ = built("lstm_3_layers")
  assert [layer.w_gates.shape[0] for layer in core.layers] == [
    INPUTS + UNITS,
    *2 * [INPUTS + 2 * UNITS],
  ]


def test_gru_step_by_hand():
  core, inputs = built("gru")
  state, x = core.initial_state(BATCH), inputs[:, 0].numpy()
  features, after = core(inputs[:, 0], state)
  below, outputs = x, []
  for layer, h in zip(core.layers, state.hidden):
    h, w, b = h.numpy(), layer.w_gates.numpy(), layer.b_gates.numpy()
    z, r = np.split(
      sigmoid(np.concatenate([below, h], -1) @ w[:, : 2 * UNITS] + b[: 2 * UNITS]), 2, axis=-1
    )
    a = np.tanh(np.concatenate([below, r * h], -1) @ w[:, 2 * UNITS :] + b[2 * UNITS :])
    outputs.append((1 - z) * h + z * a)
    below = np.concatenate([x, outputs[-1]], -1)
  close(features.numpy(), np.concatenate(outputs, -1))
  close(after, controller.GRUState(tuple(outputs)))


@pytest.mark.parametrize("inputs, parameters", [(60, 912_896), (80, 953_856)])
def test_published_parameter_counts(inputs, parameters):
  core = cores.make_core(config.Controller(), config.Memory())
  core(tf.zeros([1, inputs]), core.initial_state(1))
  count = sum(math.prod(variable.shape) for variable in core.trainable_variables)
  assert count + core.output_size == parameters  # With the linear layer 512 -> 1, no bias.


def test_initial_weights():
  core = controller.LSTM(units=64, depth=2, projection=16)
  core(tf.zeros([1, 30]), core.initial_state(1))
  for layer, fan_in in zip(core.layers, (30 + 16, 30 + 16 + 16)):
    weights = layer.w_gates.numpy()
    assert weights.shape == (fan_in, 256) and not layer.b_gates.numpy().any()
    assert np.abs(weights).max() <= 2 / math.sqrt(fan_in)  # Truncated at two standard deviations,
    # which leaves 0.88 of one.
    assert weights.std() == pytest.approx(0.88 / math.sqrt(fan_in), rel=0.05)
    assert layer.w_projection.numpy().std() == pytest.approx(0.88 / 8, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_state_is_trainable_and_tiled(kind):
  core = KINDS[kind]()  # Before the first call.
  assert all(not part.numpy().any() for part in tree.flatten(core.initial_state(2)))
  before = len(core.trainable_variables)
  assert before == len(tree.flatten(core.initial_state(2)))
  for number, variable in enumerate(core.trainable_variables, 1):
    assert variable.shape[0] == 1
    variable.assign(tf.fill(variable.shape, float(number)))
  parts = tree.flatten(core.initial_state(BATCH))
  assert {part.shape[0] for part in parts} == {BATCH}
  assert sorted(part.numpy().mean() for part in parts) == list(range(1, before + 1))


def loss_and_gradients(core, inputs, run):
  """Returns features, entering and final states, and gradients of a sum that touches all of
  them.
  """
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    results = run(core, inputs, core.initial_state(BATCH))
    loss = sum(tf.reduce_sum((k + 1.0) * part**2) for k, part in enumerate(tree.flatten(results)))
  return results, tape.gradient(loss, [inputs, *core.trainable_variables])


def steps_by_hand(core, inputs, state):
  """The definition of an unroll, in Python."""
  features, entering = [], []
  for t in range(inputs.shape[1]):
    entering.append(state)
    output, state = core(inputs[:, t], state)
    features.append(output)
  return (
    tf.stack(features, 1),
    tree.map_structure(lambda *parts: tf.stack(parts, 1), *entering),
    state,
  )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("jit", [False, True])
def test_unrolled_equals_step_by_step(kind, jit):
  core, inputs = built(kind)
  expected, expected_gradients = loss_and_gradients(core, inputs, steps_by_hand)
  run = tf.function(lambda x: loss_and_gradients(core, x, cores.unroll), jit_compile=jit)
  results, gradients = run(inputs)
  tree.assert_same_structure(results, expected)
  close(results, expected)
  assert all(np.abs(g).max() > 1e-3 for g in gradients)
  close(gradients, expected_gradients, 1e-4)


@pytest.mark.parametrize("kind", ["lstm_projected", "gru"])
def test_gradients_of_gradients_equal_those_step_by_step(kind):
  core, inputs = built(kind)
  by_run = []
  for run in (steps_by_hand, cores.unroll):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      _, (by_inputs, *_) = loss_and_gradients(core, inputs[:, :2], run)
      loss = tf.reduce_sum(by_inputs**2)
    by_run.append(tape.gradient(loss, [inputs, *core.trainable_variables]))
  assert all(np.abs(g).max() > 1e-3 for g in by_run[0])
  close(*by_run, 1e-4)


def test_stepwise_unroll_equals_layerwise():
  core, inputs = built("lstm")
  stepwise = loss_and_gradients(core, inputs, cores.unroll_stepwise)
  close(stepwise, loss_and_gradients(core, inputs, cores.unroll), 1e-4)


def test_entering_states_let_all_steps_run_as_one_batch():
  core, inputs = built("lstm")
  features, entering, _ = cores.unroll(core, inputs, core.initial_state(BATCH))
  rows = tree.map_structure(lambda part: tf.reshape(part, [BATCH * STEPS, -1]), entering)
  again, _ = core(tf.reshape(inputs, [BATCH * STEPS, INPUTS]), rows)
  close(tf.reshape(again, features.shape).numpy(), features.numpy())


def test_unroll_builds_variables_inside_a_graph():
  core = controller.LSTM(UNITS, 2)
  run = tf.function(lambda x: cores.unroll(core, x, core.initial_state(BATCH))[0])
  features = run(tf.ones([BATCH, STEPS, INPUTS]))
  assert features.shape == [BATCH, STEPS, 2 * UNITS]
  assert len(core.trainable_variables) == 8


@pytest.mark.parametrize("run", [cores.unroll, cores.unroll_stepwise])
def test_batch_size_may_be_unknown(run):
  core, inputs = built("lstm")
  signature = [tf.TensorSpec([None, STEPS, INPUTS])]
  graph = tf.function(
    lambda x: run(core, x, core.initial_state(tf.shape(x)[0])), input_signature=signature
  )
  close(graph(inputs), run(core, inputs, core.initial_state(BATCH)))


@pytest.mark.parametrize("kind, expected", [("lstm", controller.LSTM), ("gru", controller.GRU)])
def test_make_core(kind, expected):
  core = cores.make_core(config.Controller(controller=kind, depth=3, units=8), config.Memory())
  assert isinstance(core, expected)
  assert core.output_size == 24
