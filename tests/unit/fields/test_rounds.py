"""Scans in rounds: budgets, what a policy sees, and where positions go."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields import placement, policies, rounds
from adaptive_stem_tf.fields import state as state_lib

SIZE, CELL = 64, 8


def complete(partial, mask):
  """Completes by the mean of what was measured."""
  mean = tf.reduce_sum(partial, [1, 2], keepdims=True) / tf.reduce_sum(mask, [1, 2], keepdims=True)
  level = mean + tf.zeros_like(partial)
  return state_lib.Completion(level, tf.zeros_like(partial) - 2.0, partial, level)


def plan(counts, valid=None):
  rank = placement.rank_map(SIZE, SIZE, tf.constant([[3, 4]]))
  valid = tf.ones([1, SIZE, SIZE, 1]) if valid is None else tf.constant(valid, tf.float32)
  return rounds.FieldPlan(tf.constant(counts)[:, None], rank, valid)


def specimen():
  return tf.constant(np.random.default_rng(0).random([1, SIZE, SIZE, 1]).astype(np.float32))


def scan(policy, counts=(50, 100, 200), valid=None):
  return rounds.scan(specimen(), plan(counts, valid), policy, tf.constant(0), complete, CELL)


def test_budgets_are_cumulative_and_end_at_the_coverage():
  counts = rounds.budget(tf.constant([0.1, 0.05]), 4096, 0.25, 3)
  np.testing.assert_array_equal(counts, [[102, 51], [205, 102], [308, 154], [410, 205]])
  np.testing.assert_array_equal(rounds.budget(tf.constant([0.1]), 4096, 0.25, 0), [[410]])


def test_each_round_measures_its_share_and_nothing_twice():
  masks = scan(policies.gradient(0.5)).masks.numpy()[:, 0]
  np.testing.assert_array_equal(masks.sum((1, 2, 3)), [50, 100, 200])
  assert (np.diff(masks, axis=0) >= 0).all()


def test_even_rounds_are_one_static_scan():
  several, one = scan(policies.even).masks[-1], scan(policies.even, (200,)).masks[-1]
  np.testing.assert_array_equal(several, one)


def test_positions_go_where_a_policy_says():
  def corner(cells, state):
    weights = np.full(cells.gradient.shape, -2.0, np.float32)
    weights[:, :4, :4] = 2.0
    return tf.constant(weights), state + 1

  masks = scan(corner).masks.numpy()[..., 0]
  new = masks[-1, 0] - masks[0, 0]
  assert new[:32, :32].sum() > 0.8 * new.sum()


def test_a_policy_is_given_its_own_state_of_the_round_before():
  seen = []

  def counting(cells, state):
    seen.append(int(state))
    return tf.zeros_like(cells.gradient), state + 1

  scan(counting)
  assert seen == [0, 1]


def test_nothing_is_measured_outside_a_field_that_was_padded():
  valid = np.ones([1, SIZE, SIZE, 1])
  valid[:, 40:] = 0
  masks = scan(policies.gradient(0.5), valid=valid).masks.numpy()
  assert masks[:, :, 40:].sum() == 0 and masks[-1].sum() == 200


def test_log_weights_are_about_their_mean_and_limited():
  log_weights = tf.constant(np.array([3.0, 5.0, 40.0, 0.0], np.float32).reshape(1, 2, 2, 1))
  valid = tf.constant(np.array([1.0, 1.0, 1.0, 0.0], np.float32).reshape(1, 2, 2, 1))
  limited = rounds.limit(log_weights, valid).numpy().ravel()
  assert limited[:3] == pytest.approx([-rounds.LIMIT, -rounds.LIMIT, rounds.LIMIT])


def test_log_weights_are_less_their_mean_over_the_field_alone(rng):
  log_weights, valid = rng.normal(size=[2, 3, 4, 1]), rng.uniform(0, 1, [2, 3, 4, 1])
  valid[1, :, 2:] = 0
  mean = (log_weights * valid).sum((1, 2)) / valid.sum((1, 2))
  limited = rounds.limit(*(tf.constant(part, tf.float32) for part in (log_weights, valid)))
  np.testing.assert_allclose(limited, log_weights - mean[:, None, None], atol=1e-5)
  nothing = rounds.limit(tf.ones([1, 2, 2, 1]), tf.zeros([1, 2, 2, 1]))
  np.testing.assert_array_equal(nothing, tf.ones([1, 2, 2, 1]))


def test_a_round_is_placed_by_weights_of_cells_made_pixels(rng):
  log_weights = tf.constant(rng.normal(size=[1, 8, 8, 1]), tf.float32)
  valid = np.ones([1, SIZE, SIZE, 1])
  valid[:, :, 50:] = 0
  given, mask = plan((50, 100, 200), valid), np.zeros([1, SIZE, SIZE, 1], np.float32)
  mask[0, 5, :20] = 1
  pixels = np.exp(tf.image.resize(log_weights, [SIZE, SIZE])) * valid
  score = (pixels / given.rank.numpy()[..., None]).ravel()
  score[mask.ravel() > 0] = np.inf
  expected = np.zeros(SIZE * SIZE)
  expected[np.argsort(-score)[:200]] = 1
  after = rounds.next_mask(log_weights, tf.constant(mask), given, 2, CELL)
  np.testing.assert_array_equal(after.numpy().ravel(), expected)


def test_states_tell_how_far_a_scan_is():
  states = []

  def watching(cells, state):
    return tf.zeros_like(cells.gradient), state

  def see(state, cell):
    states.append(state)
    return state_lib.see(state, cell)

  valid = np.ones([1, SIZE, SIZE, 1])
  valid[:, 32:] = 0
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rounds, "see", see)
    masks = scan(watching, (50, 100, 150, 200), valid).masks.numpy()
  assert [float(state.progress[0]) for state in states] == pytest.approx([0, 1 / 3, 2 / 3])
  for number, state in enumerate(states):
    assert float(state.coverage[0]) == pytest.approx(200 / (32 * SIZE))
    np.testing.assert_array_equal(state.mask, masks[number])
    np.testing.assert_array_equal(state.partial, specimen() * masks[number])


def test_what_lies_on_the_way_is_measured_instead():
  def visit(before, wanted):
    return tf.maximum(before, tf.roll(wanted, 1, 2))

  given = plan((50, 100))
  moved = rounds.scan(specimen(), given, policies.even, tf.constant(0), complete, CELL, visit)
  np.testing.assert_array_equal(moved.masks[0], tf.roll(rounds.survey_mask(given), 1, 2))
  assert moved.masks.shape[0] == 2


def test_surprise_is_the_error_at_new_positions_alone():
  first = plan((50, 100))
  mask = placement.place(
    first.valid[..., 0], first.rank, tf.zeros([1, SIZE, SIZE]), first.counts[0]
  )
  mask = mask[..., None]
  state = rounds.first_state(specimen(), mask, first, complete(specimen() * mask, mask))
  after = rounds.next_mask(tf.zeros([1, 8, 8, 1]), mask, first, 1, CELL)
  following = rounds.next_state(state, specimen(), after, state.completion, 1.0)
  new = (after - mask).numpy()
  expected = new * (specimen().numpy() - state.completion.mean.numpy()) ** 2
  np.testing.assert_allclose(following.surprise, expected, rtol=1e-5)
  np.testing.assert_array_equal(following.recent, new)


def test_what_is_seen_is_finite_and_in_order():
  first = plan((50, 100))
  mask = tf.zeros([1, SIZE, SIZE, 1])
  flat = state_lib.Completion(*([tf.zeros_like(mask)] * 4))
  cells = state_lib.see(rounds.first_state(tf.zeros_like(mask), mask, first, flat), CELL)
  assert cells.features.shape == [1, 8, 8, state_lib.FEATURES]
  assert np.isfinite(cells.features).all()


def test_the_gradient_that_is_seen_is_high_where_structure_is():
  rows = np.zeros([SIZE, SIZE], np.float32)
  rows[20:28, 20:28] = np.random.default_rng(0).random([8, 8])
  image = tf.constant(rows[None, ..., None])
  first = plan((50, 100))
  completion = state_lib.Completion(image, tf.zeros_like(image), image, image)
  state = rounds.first_state(image, tf.zeros_like(image), first, completion)
  gradient = state_lib.see(state, CELL).gradient.numpy()[0, ..., 0]
  assert np.unravel_index(gradient.argmax(), gradient.shape) in {(2, 2), (2, 3), (3, 2), (3, 3)}
  assert abs(gradient.mean()) < 1e-4


def test_pairs_of_the_survey_are_part_of_the_budget():
  paired = plan((100, 200))._replace(pairs=0.05)
  masks = rounds.scan(specimen(), paired, policies.even, tf.constant(0), complete, CELL).masks
  np.testing.assert_array_equal(masks.numpy().sum((1, 2, 3, 4)), [100, 200])
  survey = masks.numpy()[0, 0, ..., 0]
  assert (survey[:, 1:] * survey[:, :-1]).sum() == pytest.approx(10, abs=2)


def test_no_pair_lies_in_the_padding():
  valid = np.zeros([1, SIZE, SIZE, 1])
  valid[:, :, :40] = 1
  survey = rounds.survey_mask(plan((100, 200), valid)._replace(pairs=0.2)).numpy()[0, ..., 0]
  assert survey[:, 40:].sum() == 0 and survey.sum() == 100
