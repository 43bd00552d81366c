"""Writing to and reading from the external memory."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tree
from hypothesis import strategies

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import access as memory_access

BATCH, FEATURES = 2, 6
MEMORY = config.Memory(memory_slots=5, word_size=3, read_heads=2, write_heads=1)
TWO_HEADS = dataclasses.replace(MEMORY, write_heads=2)
LINEAR = {
  "write_vectors",
  "erase_vectors",
  "free_gate",
  "allocation_gate",
  "write_gate",
  "read_mode",
  "write_keys",
  "write_strengths",
  "read_keys",
  "read_strengths",
}
few = hypothesis.settings(max_examples=10, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def seed_weights():
  tf.random.set_seed(0)


def run(access, rng, steps, state=None, scale=2.0):
  """Returns the state and the words after steps of random inputs."""
  words, state = None, state or access.initial_state(BATCH)
  for _ in range(steps):
    words, state = access(features(rng, scale), state)
  return words, state


def features(rng, scale=2.0):
  return tf.constant(scale * rng.standard_normal([BATCH, FEATURES]), tf.float32)


def force(linear, values):
  """Makes a linear layer ignore its inputs."""
  linear.w.assign(tf.zeros_like(linear.w))
  linear.b.assign(tf.broadcast_to(values, linear.b.shape))


def test_has_the_ten_published_linear_layers():
  access = memory_access.MemoryAccess(config.Memory())
  access(tf.zeros([1, 512]), access.initial_state(1))
  sizes = {n: getattr(access, n).w.shape for n in LINEAR}
  count = sum(np.prod(variable.shape) for variable in access.trainable_variables)
  assert count == (512 + 1) * (3 * 64 + 4 * 64 + 4 + 3 * 4 + 4 + 1 + 1 + 1)
  assert (
    sizes["read_keys"] == [512, 256]
    and sizes["read_mode"] == [512, 12]
    and sizes["write_vectors"] == [512, 64]
  )
  assert len(access.trainable_variables) == 2 * len(LINEAR)


@pytest.mark.parametrize("memory", [MEMORY, TWO_HEADS])
@few
@hypothesis.given(seed=strategies.integers(0, 2**16))
def test_invariants_of_the_state(memory, seed):
  rng = np.random.default_rng(seed)
  access = memory_access.MemoryAccess(memory)
  words, state = run(access, rng, steps=6)
  assert words.shape == [BATCH, 2, 3]
  tree.map_structure(
    lambda part, first: part.shape.assert_is_compatible_with(first.shape),
    state,
    access.initial_state(BATCH),
  )
  for weights in (state.read_weights.numpy(), state.write_weights.numpy()):
    assert weights.min() >= 0 and 0 < weights.sum(-1).max() <= 1 + 1e-5
  assert state.usage.numpy().min() >= 0 and 0 < state.usage.numpy().max() <= 1
  link = state.linkage.link.numpy()
  assert link.min() >= 0 and link.sum(-1).max() <= 1 + 1e-5 and link.sum(-2).max() <= 1 + 1e-5
  np.testing.assert_allclose(
    words, state.read_weights.numpy() @ state.memory.numpy(), rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("memory", [MEMORY, TWO_HEADS])
def test_interface(memory):
  access = memory_access.MemoryAccess(memory)
  inputs = features(np.random.default_rng(0))
  asked, opposite = access.interface(inputs), access.interface(-inputs)  # Biases are 0 at first.
  heads = memory.write_heads
  assert asked.read_modes.shape == [BATCH, 2, 2 * heads + 1]
  np.testing.assert_allclose(asked.read_modes.numpy().sum(-1), 1, rtol=1e-5)
  for name in ("erase_vectors", "free_gates", "allocation_gates", "write_gates"):
    gate = getattr(asked, name).numpy()
    assert 0 < gate.min() < gate.max() < 1
    np.testing.assert_allclose(getattr(opposite, name), 1 - gate, atol=1e-6)
  for name in ("write_vectors", "write_keys", "write_strengths", "read_keys", "read_strengths"):
    np.testing.assert_allclose(getattr(opposite, name), -getattr(asked, name), atol=1e-6)  # Linear.
  assert asked.write_keys.shape == [BATCH, heads, 3] and asked.write_strengths.shape == [
    BATCH,
    heads,
  ]


@pytest.mark.parametrize("memory", [MEMORY, TWO_HEADS])
def test_closed_write_gate_leaves_the_memory_as_it_was(memory):
  rng = np.random.default_rng(1)
  access = memory_access.MemoryAccess(memory)
  _, before = run(access, rng, steps=3)
  force(access.write_gate, -1e4)
  _, after = run(access, rng, steps=1, state=before)
  assert np.abs(before.memory).max() > 0.1
  np.testing.assert_array_equal(after.memory, before.memory)
  np.testing.assert_array_equal(after.linkage.link, before.linkage.link)
  assert not after.write_weights.numpy().any()


def test_allocated_writes_fill_slot_after_slot():
  access = memory_access.MemoryAccess(MEMORY)
  run(access, np.random.default_rng(2), steps=1)
  for gate, value in (("write_gate", 1e4), ("allocation_gate", 1e4), ("free_gate", -1e4)):
    force(getattr(access, gate), value)
  state, slots = access.initial_state(BATCH), []
  for number in range(4):
    force(access.write_vectors, [1.0 + number, -2.0, 3.0])
    _, state = access(tf.zeros([BATCH, FEATURES]), state)
    slots.append(int(tf.argmax(state.write_weights[0, 0])))
  assert len(set(slots)) == 4
  left = ({*range(5)} - {*slots}).pop()
  for number, slot in enumerate(slots):
    np.testing.assert_allclose(state.memory[0, slot], [1.0 + number, -2.0, 3.0], rtol=1e-4)
  np.testing.assert_allclose(state.memory[0, left], 0, atol=1e-4)
  # The last write counts as usage from the next step on.
  np.testing.assert_allclose(tf.gather(state.usage[0], [*slots, left]), [1, 1, 1, 0, 0], atol=1e-4)


def test_write_by_content_overwrites_the_slot_it_finds():
  access = memory_access.MemoryAccess(MEMORY)
  run(access, np.random.default_rng(3), steps=1)
  memory = tf.tile(
    tf.constant([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0]]]), [BATCH, 1, 1]
  )
  settings = {
    "write_gate": 1e4,
    "allocation_gate": -1e4,
    "write_strengths": 1e3,
    "erase_vectors": 1e4,
  }
  for name, value in settings.items():
    force(getattr(access, name), value)
  force(access.write_keys, [0.0, 0.0, 2.0])
  force(access.write_vectors, [7.0, 8.0, 9.0])
  _, state = access(
    tf.zeros([BATCH, FEATURES]), access.initial_state(BATCH)._replace(memory=memory)
  )
  expected = memory.numpy()
  expected[:, 2] = [7, 8, 9]
  np.testing.assert_allclose(state.memory, expected, atol=1e-5)


@pytest.mark.parametrize("memory", [MEMORY, TWO_HEADS])
def test_read_modes_go_backward_forward_then_content(memory):
  rng = np.random.default_rng(4)
  access, heads = memory_access.MemoryAccess(memory), memory.write_heads
  _, state = run(access, rng, steps=5)
  asked = access.interface(features(rng))
  link, before = state.linkage.link.numpy(), state.read_weights.numpy()
  content = access._content(state.memory, asked.read_keys, asked.read_strengths).numpy()
  expected = [np.einsum("bji,brj->bri", link[:, h], before) for h in range(heads)]
  expected += [np.einsum("bij,brj->bri", link[:, h], before) for h in range(heads)]
  for mode, weights in enumerate([*expected, content]):
    only = tf.tile(tf.one_hot([[mode]], 2 * heads + 1), [BATCH, 2, 1])
    found = access.weights_to_read(
      asked._replace(read_modes=only), state.memory, state.read_weights, state.linkage.link
    )
    assert np.abs(weights).max() > 1e-3
    np.testing.assert_allclose(found, weights, atol=1e-6)


def test_reading_forward_reaches_what_is_written_in_the_same_step():
  access = memory_access.MemoryAccess(MEMORY)
  run(access, np.random.default_rng(7), steps=1)
  settings = {
    "write_gate": 1e4,
    "allocation_gate": 1e4,
    "free_gate": -1e4,
    "write_vectors": [4.0, 5.0, 6.0],
    "read_mode": [-1e4, 1e4, -1e4] * 2,
  }
  for name, value in settings.items():
    force(getattr(access, name), value)
  # Slot 2 was the last written and the last read; only slot 3 is free.
  last = tf.one_hot([[2]] * BATCH, 5)
  state = access.initial_state(BATCH)
  state = state._replace(
    linkage=state.linkage._replace(precedence=last),
    read_weights=tf.tile(last, [1, 2, 1]),
    usage=tf.constant([[1.0, 1, 1, 0, 1]] * BATCH),
  )
  words, after = access(tf.zeros([BATCH, FEATURES]), state)
  np.testing.assert_allclose(after.memory[0, 3], [4, 5, 6], rtol=1e-4)
  np.testing.assert_allclose(words, np.broadcast_to([4, 5, 6], [BATCH, 2, 3]), rtol=1e-4)


def test_a_head_that_does_not_write_takes_no_slot():
  access = memory_access.MemoryAccess(TWO_HEADS)
  run(access, np.random.default_rng(8), steps=1)
  force(access.allocation_gate, 1e4)
  force(access.write_gate, [-1e4, 1e4])
  usage = tf.constant([[1.0, 0.9, 0.0, 0.5, 1.0]] * BATCH)
  weights = access.weights_to_write(
    access.interface(tf.zeros([BATCH, FEATURES])), tf.zeros([BATCH, 5, 3]), usage
  )
  np.testing.assert_allclose(weights[0], [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]], atol=1e-5)


def test_erase_and_write_with_several_heads():
  rng = np.random.default_rng(5)
  memory, weights = rng.standard_normal([1, 4, 3]), rng.uniform(size=[1, 2, 4])
  erase, vectors = rng.uniform(size=[1, 2, 3]), rng.standard_normal([1, 2, 3])
  after = memory_access.erase_and_write(
    *(tf.constant(x, tf.float32) for x in (memory, weights, erase, vectors))
  )
  expected = memory[0].copy()
  for h in range(2):
    expected *= 1 - np.outer(weights[0, h], erase[0, h])
  for h in range(2):
    expected += np.outer(weights[0, h], vectors[0, h])
  np.testing.assert_allclose(after[0], expected, rtol=1e-5, atol=1e-6)


def test_a_memory_does_not_mix_examples():
  rng = np.random.default_rng(6)
  access = memory_access.MemoryAccess(TWO_HEADS)
  inputs = [features(rng) for _ in range(3)]
  both, alone = access.initial_state(BATCH), access.initial_state(1)
  for x in inputs:
    words, both = access(x, both)
    words_alone, alone = access(x[1:], alone)
  np.testing.assert_allclose(words[1:], words_alone, atol=1e-5)
