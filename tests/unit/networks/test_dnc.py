"""The differentiable neural computer as a recurrent core."""

import numpy as np
import pytest
import tensorflow as tf
import tree

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import controller, cores, dnc

BATCH, STEPS, INPUTS, UNITS = 2, 4, 3, 5
MEMORY = config.Memory(memory_slots=6, word_size=4, read_heads=2, write_heads=1)
MEMORIES = {"one_write_head": MEMORY, "two_write_heads": config.Memory(6, 4, 2, 2)}


def built(memory=MEMORY, projection=0, seed=0):
  """Returns a core with random variables and inputs [B, T, D]."""
  settings = config.Controller(controller="dnc", depth=2, units=UNITS, projection=projection)
  core, rng = cores.make_core(settings, memory), np.random.default_rng(seed)
  inputs = tf.constant(rng.standard_normal([BATCH, STEPS, INPUTS]), tf.float32)
  core(inputs[:, 0], core.initial_state(BATCH))
  for variable in core.trainable_variables:
    variable.assign(0.7 * rng.standard_normal(variable.shape))
  return core, inputs


def used(core, seed=1):
  """Returns an initial state with something in memory.

  Empty slots are alike, so rounding decides which one is allocated: a legitimate difference between
  two ways of computing the same step, and none in the features.
  """
  rng, state = np.random.default_rng(seed), core.initial_state(BATCH)
  fill = lambda part, draw: tf.constant(draw(size=part.shape), tf.float32)
  access = state.access
  access = access._replace(
    memory=fill(access.memory, rng.normal),
    usage=fill(access.usage, rng.uniform),
    read_weights=fill(access.read_weights, rng.uniform) / 6,
  )
  return state._replace(access=access)


def steps_by_hand(core, inputs, state):
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


def loss_and_gradients(core, inputs, run, start=used):
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    results = run(core, inputs, start(core))
    loss = sum(tf.reduce_sum((k + 1.0) * part**2) for k, part in enumerate(tree.flatten(results)))
  return results, tape.gradient(loss, [inputs, *core.trainable_variables])


def close(a, b, tolerance):
  tree.map_structure(
    lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance * max(1, np.abs(y).max()), rtol=0),
    a,
    b,
  )


def test_published_sizes():
  core = cores.make_core(config.Controller(controller="dnc"), config.Memory())
  features, _ = core(tf.zeros([1, 60]), core.initial_state(1))
  assert isinstance(core, dnc.DNC) and isinstance(core.controller, controller.LSTM)
  assert features.shape == [1, 768] and core.output_size == 768
  assert [layer.w_gates.shape for layer in core.controller.layers] == [[572, 1024], [828, 1024]]


def test_initial_state():
  core = cores.make_core(config.Controller(controller="dnc", units=UNITS), MEMORY)
  state = core.initial_state(BATCH)  # Before the first call.
  assert all(part.shape[0] == BATCH and not part.numpy().any() for part in tree.flatten(state))
  assert len(core.trainable_variables) == 4  # h and c of two layers; the memory starts empty.
  for variable in core.trainable_variables:
    variable.assign(tf.ones_like(variable))
  state = core.initial_state(BATCH)
  assert all((part.numpy() == 1).all() for part in tree.flatten(state.controller))
  assert not any(part.numpy().any() for part in tree.flatten([state.access, state.words]))


def test_words_read_leave_now_and_enter_the_next_step():
  core, inputs = built()
  features, state = core(inputs[:, 0], core.initial_state(BATCH))
  assert np.abs(state.words).max() > 1e-2
  np.testing.assert_array_equal(features[:, 2 * UNITS :], tf.reshape(state.words, [BATCH, 8]))
  again, after = core(inputs[:, 1], state)
  known = tf.concat([inputs[:, 1], features[:, 2 * UNITS :]], axis=-1)
  expected, controller_after = core.controller(known, state.controller)
  np.testing.assert_allclose(again[:, : 2 * UNITS], expected, rtol=1e-5)
  close(after.controller, controller_after, 1e-6)
  assert np.abs(after.controller.cell[0] - state.controller.cell[0]).max() > 1e-2
  forgotten, _ = core(inputs[:, 1], state._replace(words=tf.zeros_like(state.words)))
  assert np.abs(again - forgotten).max() > 1e-3


@pytest.mark.parametrize("kind, jit", [("one_write_head", False), ("two_write_heads", True)])
def test_unrolled_equals_step_by_step(kind, jit):
  core, inputs = built(MEMORIES[kind])
  expected, expected_gradients = loss_and_gradients(core, inputs, steps_by_hand)
  run = tf.function(lambda x: loss_and_gradients(core, x, cores.unroll), jit_compile=jit)
  results, gradients = run(inputs)
  tree.assert_same_structure(results, expected)
  close(results, expected, 1e-4)
  close(gradients, expected_gradients, 1e-3)


def test_gradient_flows_into_every_variable():
  core, inputs = built()
  with tf.GradientTape() as tape:
    features, _, _ = cores.unroll(core, inputs, used(core))
    loss = tf.reduce_sum(features**2)
  gradients = tape.gradient(loss, core.trainable_variables)
  assert len(gradients) == 4 + 4 + 20
  for variable, gradient in zip(core.trainable_variables, gradients):
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-5, variable.name


def test_gradient_is_finite_from_an_empty_memory_with_initial_weights():
  core = cores.make_core(config.Controller(controller="dnc", units=UNITS), MEMORY)
  inputs = tf.zeros([BATCH, STEPS, INPUTS])
  core(inputs[:, 0], core.initial_state(BATCH))
  _, gradients = loss_and_gradients(
    core, inputs, cores.unroll, start=lambda core: core.initial_state(BATCH)
  )
  assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_jit_step_equals_eager():
  core, inputs = built()
  state = core.initial_state(BATCH)
  _, state = core(inputs[:, 0], state)
  close(tf.function(core, jit_compile=True)(inputs[:, 1], state), core(inputs[:, 1], state), 1e-5)


def test_projected_controller():
  core, inputs = built(projection=3)
  features, entering, _ = cores.unroll(core, inputs, core.initial_state(BATCH))
  assert core.output_size == features.shape[-1] == 2 * 3 + 8
  assert entering.controller.hidden[0].shape == [BATCH, STEPS, 3]
  assert entering.access.linkage.link.shape == [BATCH, STEPS, 1, 6, 6]


def test_all_steps_run_as_one_batch_from_the_entering_states():
  core, inputs = built()
  features, entering, _ = cores.unroll(core, inputs, core.initial_state(BATCH))
  merge = lambda part: tf.reshape(part, [BATCH * STEPS, *part.shape[2:]])
  again, _ = core(merge(inputs), tree.map_structure(merge, entering))
  np.testing.assert_allclose(again, merge(features), atol=1e-4)
