"""Addressing of the external memory: the definitions of Graves et al. (2016) and their
invariants.
"""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from adaptive_stem_tf.networks import addressing

BATCH, SLOTS, WORD, READS, WRITES = 2, 7, 5, 3, 2
seeds = strategies.integers(0, 2**16)
few = hypothesis.settings(max_examples=15, deadline=None, derandomize=True)


def uniform(rng, *shape):
  return tf.constant(rng.uniform(size=shape), tf.float32)


def weightings(rng, heads, batch=BATCH):
  """Returns [batch, heads, SLOTS], non-negative, summing to less than 1 over slots; often sharp."""
  weights = rng.dirichlet(np.full(SLOTS, 0.2), size=[batch, heads]) * rng.uniform(
    size=[batch, heads, 1]
  )
  return tf.constant(weights, tf.float32)


def one_hot(*slots):
  return tf.one_hot([slots], SLOTS)


def sorted_allocation(usage):
  """The definition (eq. of a_t in Graves et al.): by the free list, slots in the order of their
  usage.
  """
  usage = 1e-6 + (1 - 1e-6) * usage
  order = tf.argsort(usage, axis=-1, stable=True)
  by_usage = tf.gather(usage, order, axis=-1, batch_dims=1)
  allocation = (1 - by_usage) * tf.math.cumprod(by_usage, axis=-1, exclusive=True)
  return tf.gather(allocation, tf.argsort(order, axis=-1), axis=-1, batch_dims=1)


# Content


@few
@hypothesis.given(seeds)
def test_content_weights_are_a_softmax_of_cosine_similarity(seed):
  rng = np.random.default_rng(seed)
  memory, keys = (
    rng.standard_normal([BATCH, SLOTS, WORD]),
    rng.standard_normal([BATCH, READS, WORD]),
  )
  strengths = 3 * rng.standard_normal([BATCH, READS])
  weights = addressing.CosineWeights()(
    *(tf.constant(x, tf.float32) for x in (memory, keys, strengths))
  ).numpy()
  cosine = np.einsum("brw,bnw->brn", keys, memory)
  cosine /= np.linalg.norm(keys, axis=-1)[:, :, None] * np.linalg.norm(memory, axis=-1)[:, None]
  expected = np.exp(np.log1p(np.exp(strengths))[..., None] * cosine)
  np.testing.assert_allclose(weights, expected / expected.sum(-1, keepdims=True), rtol=1e-4)
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_strong_key_finds_its_slot():
  memory = uniform(np.random.default_rng(0), BATCH, SLOTS, WORD) - 0.5
  weights = addressing.CosineWeights()(
    memory, 3 * memory[:, 4:5], tf.fill([BATCH, 1], 200.0)
  ).numpy()
  assert (weights[:, 0, 4] > 0.99).all()


def test_empty_memory_is_attended_evenly_with_finite_gradients():
  memory, keys = tf.zeros([1, SLOTS, WORD]), tf.zeros([1, READS, WORD])
  with tf.GradientTape() as tape:
    tape.watch([memory, keys])
    weights = addressing.CosineWeights()(memory, keys, tf.ones([1, READS]))
  np.testing.assert_allclose(weights, 1 / SLOTS, rtol=1e-6)
  assert all(np.isfinite(g).all() for g in tape.gradient(weights, [memory, keys]))


# Linkage


@few
@hypothesis.given(seeds)
def test_links_stay_substochastic_with_zero_diagonal(seed):
  rng = np.random.default_rng(seed)
  linkage = addressing.TemporalLinkage(SLOTS, WRITES)
  state = linkage.initial_state(BATCH)
  for _ in range(10):
    state = linkage(weightings(rng, WRITES), state)
  link = state.link.numpy()
  assert link.shape == (BATCH, WRITES, SLOTS, SLOTS) and link.max() > 0
  assert link.min() >= 0 and link.sum(-1).max() <= 1 + 1e-5 and link.sum(-2).max() <= 1 + 1e-5
  assert not np.diagonal(link, axis1=-2, axis2=-1).any()
  assert state.precedence.numpy().min() >= 0 and state.precedence.numpy().sum(-1).max() <= 1 + 1e-5


def test_linkage_by_its_definition():
  rng = np.random.default_rng(1)
  linkage = addressing.TemporalLinkage(SLOTS, WRITES)
  state = linkage.initial_state(1)
  link, precedence = np.zeros([WRITES, SLOTS, SLOTS]), np.zeros([WRITES, SLOTS])
  for _ in range(4):
    weights = weightings(rng, WRITES, batch=1)
    state, w = linkage(weights, state), weights.numpy()[0]
    for h in range(WRITES):
      for i in range(SLOTS):
        for j in range(SLOTS):
          link[h, i, j] = (i != j) * (
            (1 - w[h, i] - w[h, j]) * link[h, i, j] + w[h, i] * precedence[h, j]
          )
      precedence[h] = (1 - w[h].sum()) * precedence[h] + w[h]
  np.testing.assert_allclose(state.link[0], link, atol=1e-6)
  np.testing.assert_allclose(state.precedence[0], precedence, atol=1e-6)


def test_links_lead_along_the_order_of_writing_and_back():
  linkage = addressing.TemporalLinkage(SLOTS, 2)
  state = linkage.initial_state(1)
  for slots in ((0, 6), (2, 5), (1, 4)):  # Head 0 writes slots 0, 2, 1; head 1 slots 6, 5, 4.
    state = linkage(one_hot(*slots), state)
  backward, forward = linkage.directional_weights(state.link, one_hot(2, 0, 5))
  assert backward.shape == forward.shape == [1, 3, 2, SLOTS]
  np.testing.assert_array_equal(forward[0, 0, 0], one_hot(1)[0, 0])
  np.testing.assert_array_equal(backward[0, 0, 0], one_hot(0)[0, 0])
  np.testing.assert_array_equal(forward[0, 1, 0], one_hot(2)[0, 0])
  np.testing.assert_array_equal(forward[0, 2, 1], one_hot(4)[0, 0])
  np.testing.assert_array_equal(backward[0, 2, 1], one_hot(6)[0, 0])
  assert not any(
    part.numpy().any() for part in (backward[0, 1], forward[0, 0, 1], forward[0, 2, 0])
  )


# Usage and allocation


@few
@hypothesis.given(seeds)
def test_usage_by_its_definition_and_within_bounds(seed):
  rng = np.random.default_rng(seed)
  usage, writes, reads = uniform(rng, BATCH, SLOTS), weightings(rng, WRITES), weightings(rng, READS)
  gates = uniform(rng, BATCH, READS)
  after = addressing.Freeness()(usage, writes, gates, reads).numpy()
  u, w, r, f = (x.numpy() for x in (usage, writes, reads, gates))
  written = u + (1 - u) * (1 - np.prod(1 - w, axis=1))
  np.testing.assert_allclose(
    after, written * np.prod(1 - f[:, :, None] * r, axis=1), rtol=1e-4, atol=1e-6
  )
  assert after.min() >= 0 and after.max() <= 1


def test_usage_passes_no_gradient_to_writes_but_to_everything_else():
  rng = np.random.default_rng(2)
  inputs = (
    uniform(rng, BATCH, SLOTS),
    weightings(rng, WRITES),
    uniform(rng, BATCH, READS),
    weightings(rng, READS),
  )
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    usage = addressing.Freeness()(*inputs)
  to_usage, to_writes, to_gates, to_reads = tape.gradient(usage, inputs)
  assert to_writes is None
  assert all(np.abs(g).max() > 0 for g in (to_usage, to_gates, to_reads))


def test_gradient_of_retention_is_finite_where_a_slot_is_freed_entirely():
  gates = tf.ones([1, READS])
  with tf.GradientTape() as tape:
    tape.watch(gates)
    usage = addressing.Freeness()(tf.ones([1, SLOTS]), one_hot(0), gates, one_hot(3, 3, 1))
  assert usage[0, 3] == 0 and usage[0, 1] == 0 and usage[0, 0] == 1
  np.testing.assert_array_equal(tape.gradient(usage, gates), [[0, 0, -1]])


@few
@hypothesis.given(seeds, strategies.booleans())
def test_allocation_and_its_gradient_equal_the_sorted_form(seed, tied):
  rng = np.random.default_rng(seed)
  usage = uniform(rng, 4, SLOTS) ** 3
  usage = tf.round(3 * usage) / 3 if tied else usage
  gates, weights = tf.ones([4, 1]), tf.constant(rng.standard_normal([4, SLOTS]), tf.float32)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(usage)
    allocation = addressing.Freeness().allocation_weights(usage, gates)[:, 0]
    expected = sorted_allocation(usage)
    losses = [tf.reduce_sum(weights * a) for a in (allocation, expected)]
  np.testing.assert_allclose(allocation, expected, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(*(tape.gradient(loss, usage) for loss in losses), rtol=1e-3, atol=1e-4)
  assert allocation.numpy().sum(-1).max() <= 1 + 1e-5


def test_allocation_picks_the_least_used_slot():
  usage = tf.constant([[0.9, 1.0, 0.8, 0.0, 1.0, 0.5, 1.0]])
  allocation = addressing.Freeness().allocation_weights(usage, tf.ones([1, 1]))
  np.testing.assert_allclose(allocation[0, 0], one_hot(3)[0, 0], atol=1e-5)


@pytest.mark.parametrize("gate, second", [(1.0, 5), (0.0, 2)])
def test_write_heads_share_free_slots(gate, second):
  """The second head avoids what the first one takes, unless the first does not write."""
  usage = tf.constant([[0.9, 1.0, 0.0, 0.8, 1.0, 0.01, 0.9]])
  allocation = addressing.Freeness().allocation_weights(usage, tf.constant([[gate, 1.0]]))
  np.testing.assert_allclose(allocation, one_hot(2, second), atol=0.02)


def test_nothing_is_allocated_in_a_full_memory():
  allocation = addressing.Freeness().allocation_weights(tf.ones([1, SLOTS]), tf.ones([1, WRITES]))
  np.testing.assert_allclose(allocation, 0, atol=1e-6)
