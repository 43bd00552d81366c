"""Placement: exact, nested, even, and as dense as weights ask for."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf.fields import placement

SIZE = 96


def rank_map(offset=(0, 0), size=SIZE):
  return placement.rank_map(size, size, tf.constant([offset]))


def place(weights, count, mask=None, rank=None):
  weights = tf.constant(weights, tf.float32)[None]
  mask = tf.zeros_like(weights) if mask is None else tf.constant(mask, tf.float32)[None]
  rank = rank_map(size=weights.shape[1]) if rank is None else rank
  return placement.place(weights, rank, mask, tf.constant([count])).numpy()[0]


def test_every_rank_is_given_once():
  ranks = placement.ranks(32)
  assert sorted(ranks.ravel()) == list(range(32 * 32))


def test_ranks_of_tiled_fields_are_all_different_and_uniform():
  ranks = rank_map((5, 9), 200).numpy()
  assert len(np.unique(ranks)) == ranks.size
  assert ranks.min() > 0 and ranks.max() <= 1
  for share in (0.01, 0.1, 0.5):
    assert np.mean(ranks <= share) == pytest.approx(share, rel=0.05)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
  count=st.integers(1, SIZE * SIZE), seed=st.integers(0, 99), levels=st.integers(1, 5)
)
def test_exactly_as_many_positions_as_asked_for_even_where_scores_tie(count, seed, levels):
  random = np.random.default_rng(seed)
  weights = 1.0 + random.integers(0, levels, [SIZE, SIZE])
  constant = tf.ones([1, SIZE, SIZE])  # a rank that is the same everywhere: all scores tie
  for rank in (None, constant):
    chosen = place(weights, count, rank=rank)
    assert chosen.sum() == count
    assert set(np.unique(chosen)) <= {0.0, 1.0}


def test_what_was_measured_stays_and_is_not_measured_again():
  random = np.random.default_rng(0)
  before = (random.random([SIZE, SIZE]) < 0.05).astype(np.float32)
  weights = random.random([SIZE, SIZE]) + 1e-3
  chosen = place(weights, 1000, before)
  assert chosen.sum() == 1000
  assert (chosen >= before).all()


@pytest.mark.parametrize("rounds", [2, 3, 8])
def test_even_rounds_are_the_static_scan(rounds):
  mask = np.zeros([SIZE, SIZE])
  for count in np.linspace(100, 700, rounds).astype(int):
    mask = place(np.ones([SIZE, SIZE]), int(count), mask)
  np.testing.assert_array_equal(mask, place(np.ones([SIZE, SIZE]), 700))


def test_even_positions_are_farther_from_each_other_than_random_ones():
  even = place(np.ones([SIZE, SIZE]), 400)
  random = np.zeros(SIZE * SIZE)
  random[np.random.default_rng(0).choice(SIZE * SIZE, 400, replace=False)] = 1
  gap = lambda mask: ndimage.distance_transform_edt(mask == 0).max()
  # A hexagonal grid of as many would leave 3 px, and more at the border, as these do.
  assert gap(even) < 6.0 < gap(random.reshape(SIZE, SIZE))


@pytest.mark.parametrize("ratio", [3.0, 10.0])
def test_density_follows_weights(ratio):
  weights = np.ones([SIZE, SIZE])
  weights[:, SIZE // 2 :] = ratio
  chosen = place(weights, 600)
  left, right = chosen[:, : SIZE // 2].sum(), chosen[:, SIZE // 2 :].sum()
  assert right / left == pytest.approx(ratio, rel=0.1)


def test_nothing_is_measured_where_the_weight_is_zero():
  weights = np.ones([SIZE, SIZE])
  weights[:, 40:] = 0
  assert place(weights, 800)[:, 40:].sum() == 0


def test_another_offset_gives_another_pattern_as_even():
  first, second = (place(np.ones([SIZE, SIZE]), 400, rank=rank_map(o)) for o in ((0, 0), (31, 77)))
  assert np.mean(first != second) > 0.01
  gap = lambda mask: ndimage.distance_transform_edt(mask == 0).max()
  assert gap(second) < 6.0


def test_repetitions_of_the_tile_take_turns():
  rank = rank_map((100, 3), 200).numpy()[0]
  row, column = np.mgrid[:200, :200]
  turn = placement.ranks()[(row + 100) % 128, (column + 3) % 128]
  order = (row // 128 + column // 128 / 64) / 2  # two tiles lie along each side
  np.testing.assert_allclose(rank, (turn + order / 2 + 0.25) / 128**2, rtol=1e-6)


def test_pixels_beside_the_first_positions_come_before_all_others():
  rank = tf.constant([[[0.1, 0.4, 0.2], [0.5, 0.3, 0.6]]])
  weights = placement.beside_first(rank, tf.constant([0.2]))[0]
  assert (weights.numpy() > 1e5).tolist() == [[False, True, False], [False, False, False]]
  assert set(np.ravel(weights)) == {1.0, np.float32(1e6 + 1)}
  np.testing.assert_array_equal(
    placement.beside_first(rank, tf.constant([0.0])), tf.ones([1, 2, 3])
  )


def test_scores_are_weights_over_ranks_and_ties_go_to_the_first_pixel():
  rank = tf.constant([[[0.5, 0.25, 0.1], [0.2, 0.4, 0.8]]])
  weights = np.array([[1.0, 1.0, 0.2], [0.8, 0.1, 8.0]])  # scores 2, 4, 2, 4, 0.25 and 10
  wanted = {1: [[0, 0, 0], [0, 0, 1]], 2: [[0, 1, 0], [0, 0, 1]], 4: [[1, 1, 0], [1, 0, 1]]}
  for count, mask in wanted.items():
    np.testing.assert_array_equal(place(weights, count, rank=rank), mask)
  before = [[0, 0, 0], [0, 1, 0]]
  np.testing.assert_array_equal(place(weights, 2, before, rank), [[0, 0, 0], [0, 1, 1]])


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(seed=st.integers(0, 999), levels=st.integers(1, 4))
def test_fields_of_a_batch_take_the_first_of_their_own_ties(seed, levels):
  random = np.random.default_rng(seed)
  scores = random.integers(1, levels + 1, [3, 7, 5]).astype(np.float32)
  counts = random.integers(1, 36, 3)
  chosen = placement.place(
    tf.constant(scores), tf.ones([3, 7, 5]), tf.zeros([3, 7, 5]), tf.constant(counts, tf.int32)
  )
  for field, count, mask in zip(scores, counts, chosen):
    first = np.argsort(-field.ravel(), kind="stable")[:count]
    np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(first))


def test_fields_smaller_and_larger_than_the_tile_have_its_ranks():
  offsets = np.array([[0, 0], [127, 64]], np.int32)
  large = placement.rank_map(300, 200, tf.constant(offsets)).numpy()
  assert large.shape == (2, 300, 200)
  for ranks, (down, right) in zip(large, offsets):
    turns = np.roll(placement.ranks(), (-down, -right), (0, 1))
    np.testing.assert_array_equal(ranks[:128, :128], (turns + 0.25) / np.float32(128**2))
    np.testing.assert_array_equal(np.argsort(ranks[256:, 128:].ravel()),
                                  np.argsort(turns[:44, :72].ravel()))  # fmt: skip
  unknown = tf.function(placement.rank_map, [tf.TensorSpec([], tf.int32)] * 2 + [
    tf.TensorSpec([None, 2], tf.int32)])  # fmt: skip
  np.testing.assert_array_equal(unknown(300, 200, offsets), large)
  small = placement.rank_map(40, 30, tf.constant(offsets))
  np.testing.assert_array_equal(small, large[:, :40, :30])


def test_no_more_is_measured_than_has_a_weight():
  weights = np.zeros([8, 8])
  weights[2, 3:6] = 1.0
  np.testing.assert_array_equal(place(weights, 10), weights)
