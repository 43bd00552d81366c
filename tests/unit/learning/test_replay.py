"""Experience replay."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import replay
from adaptive_stem_tf.types import Draw, Trajectory
from tests import tiny

SCAN = tiny.experiment().scan
ALWAYS, BETA = tf.constant(1.0), tf.constant(1.0)


def seeds(number):
  return replay.Seeds(*(tf.constant([purpose, number], tf.int64) for purpose in range(3)))


def scans(first, batch=4):
  """Returns scans that carry their numbers first, first + 1, ... in every field."""
  numbers = tf.range(first, first + batch)
  filled = lambda *shape: (
    tf.reshape(tf.cast(numbers, tf.float32), [-1, 1, 1]) * tf.ones([batch, *shape])
  )
  trajectory = Trajectory(
    filled(SCAN.segments, SCAN.probes), filled(SCAN.segments, 1), filled(SCAN.segments, 2)
  )
  return trajectory, Draw(numbers, numbers % 8)


def make(capacity=10, **changes):
  return replay.Replay(config.Replay(capacity=capacity, **changes), SCAN)


def fill(buffer, batches, probability=ALWAYS, first=0, batch=4):
  for number in range(batches):
    chosen = seeds(first + number)
    adding = buffer.adds(chosen, probability)
    buffer.add(*scans(first + batch * number, batch), chosen, adding)
  return buffer


def held(buffer):
  return buffer.index.numpy()


def test_rows_are_filled_in_order():
  buffer = fill(make(), 2)
  np.testing.assert_array_equal(held(buffer), [0, 1, 2, 3, 4, 5, 6, 7, 0, 0])
  np.testing.assert_array_equal(buffer.observations[:8, 1, 2], np.arange(8))
  np.testing.assert_array_equal(buffer.actions[:8, 3, 0], np.arange(8))
  np.testing.assert_array_equal(buffer.transform[:8], np.arange(8))
  assert int(buffer.size) == int(buffer.added) == 8


def test_capacity_need_not_be_a_multiple_of_the_batch():
  buffer = fill(make(), 3)
  np.testing.assert_array_equal(held(buffer), [10, 11, 2, 3, 4, 5, 6, 7, 8, 9])
  assert int(buffer.size) == 10 and int(buffer.added) == 12


def test_a_ring_goes_round():
  buffer = fill(make(overwrite="ring"), 6)  # 24 scans in 10 rows
  np.testing.assert_array_equal(held(buffer), [20, 21, 22, 23, 14, 15, 16, 17, 18, 19])


def test_a_full_replay_overwrites_one_contiguous_block_anywhere():
  buffer, starts = fill(make(overwrite="random"), 3), []
  for number in range(60):
    before = held(buffer)
    first = 100 + 4 * number
    buffer.add(*scans(first), seeds(100 + number), tf.constant(True))
    new = held(buffer) >= first
    assert new.sum() == 4
    start = int(np.flatnonzero(held(buffer) == first)[0])
    np.testing.assert_array_equal(held(buffer)[(start + np.arange(4)) % 10], first + np.arange(4))
    np.testing.assert_array_equal(held(buffer)[~new], before[~new])
    starts.append(start)
  assert set(starts) == set(range(10))  # the block wraps round the end


def test_random_overwriting_begins_as_soon_as_the_replay_is_full():
  starts = set()
  for number in range(20):
    buffer = fill(make(capacity=8), 2)
    buffer.add(*scans(100), seeds(number), tf.constant(True))
    starts.add(int(np.flatnonzero(held(buffer) == 100)[0]))
  assert len(starts) > 4


def test_every_field_of_a_row_belongs_to_one_scan():
  buffer = fill(make(), 9)
  numbers = held(buffer)
  np.testing.assert_array_equal(buffer.observations[:, 0, 0], numbers)
  np.testing.assert_array_equal(buffer.actions[:, 0, 0], numbers)
  np.testing.assert_array_equal(buffer.transform, numbers % 8)
  sample = buffer.sample(6, seeds(0), BETA)
  np.testing.assert_array_equal(sample.draw.index, numbers[sample.rows])
  np.testing.assert_array_equal(sample.observations[:, 2, 1], sample.draw.index)
  np.testing.assert_array_equal(sample.actions[:, 2, 0], sample.draw.index)
  np.testing.assert_array_equal(sample.draw.transform, sample.draw.index % 8)
  np.testing.assert_array_equal(sample.weights, np.ones(6))


@pytest.mark.parametrize("prioritised", [False, True])
def test_rows_not_written_are_never_sampled(prioritised):
  buffer = fill(make(capacity=50, prioritised=prioritised), 1)
  rows = np.concatenate([buffer.sample(20, seeds(k), BETA).rows for k in range(20)])
  assert set(rows) == {0, 1, 2, 3}


def test_sampling_is_uniform_and_anew_each_time():
  buffer = fill(make(), 3)
  rows = np.concatenate([buffer.sample(50, seeds(k), BETA).rows for k in range(40)])
  counts = np.bincount(rows, minlength=10)
  assert len(counts) == 10
  assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
  np.testing.assert_array_equal(
    buffer.sample(5, seeds(3), BETA).rows, buffer.sample(5, seeds(3), BETA).rows
  )


@pytest.mark.parametrize("prioritised", [False, True])
def test_a_batch_that_is_not_added_leaves_everything_as_it_was(prioritised):
  buffer = fill(make(prioritised=prioritised), 2)
  before = [variable.numpy() for variable in buffer.variables]
  fill(buffer, 3, probability=tf.constant(0.0), first=50)
  for variable, kept in zip(buffer.variables, before, strict=True):
    np.testing.assert_array_equal(variable, kept, err_msg=variable.name)


def test_batches_are_added_with_the_given_probability():
  buffer = fill(make(), 200, probability=tf.constant(0.3))
  assert 4 * 38 < int(buffer.added) < 4 * 85  # 60 expected, standard deviation 6.5
  assert int(buffer.added) % 4 == 0  # all of a batch or none


def priorities(buffer, values):
  buffer.update_priorities(tf.range(len(values)), tf.constant(values, tf.float32))
  return buffer


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_frequencies_are_proportional_to_priorities(alpha):
  errors = np.array([1.0, 4.0, 0.0, 9.0])
  buffer = priorities(fill(make(prioritised=True, priority_alpha=alpha), 1), errors)
  rows = np.concatenate([buffer.sample(100, seeds(k), BETA).rows for k in range(40)])
  expected = errors**alpha if alpha else np.ones(4)
  expected = expected / expected.sum()
  np.testing.assert_allclose(np.bincount(rows, minlength=4) / 4000, expected, atol=0.03)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_importance_weights(beta):
  errors = np.array([1.0, 4.0, 3.0, 8.0])
  buffer = priorities(fill(make(prioritised=True), 1), errors)
  sample = buffer.sample(200, seeds(0), tf.constant(beta))
  weights = (4 * errors / errors.sum()) ** -beta
  assert set(sample.rows.numpy()) == {0, 1, 2, 3}
  np.testing.assert_allclose(sample.weights, (weights / weights.max())[sample.rows], rtol=1e-4)


def test_new_scans_get_the_mean_priority_of_those_sampled():
  buffer = fill(make(prioritised=True), 1)
  np.testing.assert_array_equal(buffer.priority[:4], 1.0)  # before any was sampled
  buffer.update_priorities(tf.constant([1, 3, 3]), tf.constant([2.0, 6.0, 6.0]))
  fill(buffer, 1, first=4)
  np.testing.assert_allclose(buffer.priority[:8], [1, 2, 1, 6, 4, 4, 4, 4])
  fill(buffer, 1, first=8)  # overwrites rows 8, 9, 0 and 1: of those sampled, row 3 stays
  np.testing.assert_allclose(buffer.priority, [4, 4, 1, 6, 4, 4, 4, 4, 4, 4])
  fill(buffer, 1, first=12)
  np.testing.assert_array_equal(np.sort(buffer.priority)[-4:], 6.0)


def test_a_scan_that_is_sampled_twice_gets_the_mean_of_its_errors():
  buffer = fill(make(prioritised=True), 1)
  for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):  # the order does not matter
    rows, errors = np.array([2, 1, 2, 0, 2])[order], np.array([3.0, 5.0, 6.0, 7.0, 1.5])[order]
    buffer.update_priorities(tf.constant(rows, tf.int32), tf.constant(errors, tf.float32))
    np.testing.assert_array_equal(buffer.priority[:4], [7.0, 5.0, 3.5, 1.0])
  np.testing.assert_array_equal(buffer.sampled[:4], [True, True, True, False])


def test_uniform_replay_ignores_priorities():
  fill(make(), 1).update_priorities(tf.constant([0]), tf.constant([5.0]))


def test_exchange_adds_then_samples():
  buffer = make(capacity=4)
  trajectory, draw = scans(7)
  sample = buffer.exchange(lambda: trajectory, draw, seeds(0), ALWAYS, BETA)
  assert set(sample.draw.index.numpy()) <= {7, 8, 9, 10}
  assert int(buffer.size) == 4


def test_nothing_is_scanned_that_would_not_be_added():
  buffer, scanned = fill(make(), 1), []

  def scan():
    scanned.append(scans(50)[0])
    return scanned[-1]

  for number in range(30):
    before = int(buffer.added)
    sample = buffer.exchange(scan, scans(50)[1], seeds(number), tf.constant(0.3), BETA)
    assert sample.actions.shape == [4, SCAN.segments, 1]
    assert len(scanned) == (int(buffer.added) - 4) // 4 and int(buffer.added) - before in (0, 4)
  assert 0 < len(scanned) < 30


def test_without_replay_the_newest_batch_is_replayed():
  trajectory, draw = scans(7)
  sample = replay.NoReplay().exchange(lambda: trajectory, draw, seeds(0), ALWAYS, BETA)
  np.testing.assert_array_equal(sample.observations, trajectory.observations)
  np.testing.assert_array_equal(sample.actions, trajectory.actions)
  np.testing.assert_array_equal(sample.draw.index, draw.index)
  np.testing.assert_array_equal(sample.weights, np.ones(4))
