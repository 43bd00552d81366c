"""The learner of whole fields: what learns when, resuming, and one trace for each part."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.learning import field_exploration, field_replay
from adaptive_stem_tf.types import Draw
from tests import tiny


def draw(number):
  random = np.random.default_rng(number)
  return Draw(tf.constant(random.integers(4, size=2)), tf.constant(random.integers(8, size=2)))


def values(network):
  return [variable.numpy() for variable in network.trainable_variables]


def moved(before, network):
  return any(not np.array_equal(old, new) for old, new in zip(before, values(network)))


def test_all_networks_learn_and_metrics_are_finite(eagerly):
  trained = tiny.field_learner()
  before = [values(network) for network in (trained.generator, trained.critic, trained.actor)]
  metrics = [trained.step(draw(number)) for number in range(2)]
  for old, network in zip(before, (trained.generator, trained.critic, trained.actor)):
    assert moved(old, network)
  assert np.isfinite(np.array(metrics)).all()
  assert int(trained.replay.added) == 4 and int(trained.iteration) == 2


def test_the_generator_learns_alone_first_then_the_critic_then_the_actor(eagerly):
  trained = tiny.field_learner(generator_first=0.1, actor_from=0.2)
  parts = (trained.generator, trained.critic, trained.actor)
  history = []
  for number in range(3):
    before = [values(part) for part in parts]
    trained.step(draw(number))
    history.append([moved(old, part) for old, part in zip(before, parts)])
  assert history == [[True, False, False], [True, True, False], [True, True, True]]


def test_averages_follow_what_they_are_averages_of(eagerly):
  trained = tiny.field_learner()
  trained.step(draw(0))
  for network, average in (
    (trained.generator, trained.average_generator), (trained.actor, trained.average_actor)
  ):  # fmt: skip
    assert moved(values(average), network)
    for weight, mean in zip(values(network), values(average)):
      assert np.abs(weight - mean).max() < 1e-2


def resume(tmp_path):
  """Trains three iterations, and two and one with a checkpoint between; returns both learners."""
  through, first = tiny.field_learner(), tiny.field_learner()
  for number in range(2):
    through.step(draw(number))
    first.step(draw(number))
  tf.train.Checkpoint(learner=first).write(str(tmp_path / "state"))
  resumed = tiny.field_learner()
  status = tf.train.Checkpoint(learner=resumed).read(str(tmp_path / "state"))
  status.assert_existing_objects_matched()
  assert np.array_equal(through.step(draw(2)), resumed.step(draw(2)))
  for one, other in zip(through.variables, resumed.variables):
    np.testing.assert_array_equal(one, other, err_msg=one.name)
  return through


def test_training_is_resumed_bit_for_bit(eagerly, tmp_path):
  resume(tmp_path)


@pytest.mark.slow
def test_training_is_resumed_bit_for_bit_in_the_graph_that_is_traced_once(tmp_path):
  assert resume(tmp_path).traces == 1


def test_the_seed_decides_weights_and_scans(eagerly):
  same, other = (tiny.field_learner(seed=seed) for seed in (0, 1))
  flat = lambda network: np.concatenate([value.ravel() for value in values(network)])
  assert not np.array_equal(flat(same.critic), flat(other.critic))
  np.testing.assert_array_equal(flat(same.critic), flat(tiny.field_learner().critic))


def test_rates_fall_and_warm_up(eagerly):
  trained = tiny.field_learner(generator_rate=1e-3)
  rates = [float(trained.step(draw(number)).generator_rate) for number in range(2)]
  assert rates[0] == pytest.approx(1e-3 / 100, rel=1e-4)
  assert rates[1] == pytest.approx(np.cos(0.5 * np.pi * 0.1) * 2e-3 / 100, rel=1e-4)


def test_the_replay_keeps_the_newest_scans_and_draws_what_it_holds():
  example = field_replay.FieldScans(*([tf.TensorSpec([1, 2])] * 5), tf.TensorSpec([1]))
  replay = field_replay.FieldReplay(4, example)
  for number in (1.0, 2.0, 3.0):
    one = tf.fill([2, 2], number)
    replay.add(field_replay.FieldScans(one, one, one, one, one, tf.fill([2], number)))
    drawn = replay.sample(50, tf.constant([0, int(number)], tf.int64)).log_coverage.numpy()
    assert set(drawn) == ({1.0} if number == 1 else {number - 1, number})


def test_noise_is_that_of_the_dose_and_of_a_share_of_the_crops():
  data = field_config.FieldData(noisy_share=1.0, electrons_low=50.0, electrons_high=50.0)
  white = tf.ones([4, 64, 64, 1])
  noise = field_exploration.with_noise(white, data, tf.constant([0, 1], tf.int64)) - white
  assert float(tf.math.reduce_std(noise)) == pytest.approx(np.sqrt(4 / 50), rel=0.05)
  data = field_config.FieldData(noisy_share=0.0)
  still = field_exploration.with_noise(white, data, tf.constant([0, 1], tf.int64))
  np.testing.assert_array_equal(still, white)


def test_plans_are_within_the_coverages_and_differ():
  scan = tiny.field_experiment(coverage_low=0.02, coverage_high=0.1).scan
  plan = field_exploration.draw_plan(scan, 3, [64, 32, 32, 1], tf.constant([0, 1], tf.int64))
  share = plan.counts[-1].numpy() / 1024
  assert 0.019 < share.min() < 0.03 < 0.08 < share.max() < 0.101
  assert not np.array_equal(plan.rank[0], plan.rank[1])


def test_some_training_scans_have_pairs_and_some_have_none():
  scan = tiny.field_experiment(coverage_low=0.1, coverage_high=0.1, pairs=0.1).scan
  plan = field_exploration.draw_plan(scan, 2, [64, 64, 64, 1], tf.constant([0, 1], tf.int64))
  share = float((plan.pairs.numpy() == np.float32(0.1)).mean())
  assert 0.6 < share < 0.9
  assert set(plan.pairs.numpy()) == {np.float32(0.1), np.float32(0.0)}


def test_behaviour_is_even_or_louder_or_noisy():
  log_weights = tf.constant(np.random.default_rng(0).normal(size=[200, 8, 8, 1]).astype(np.float32))
  seed = tf.constant([0, 1], tf.int64)
  act = lambda **settings: field_exploration.Behaviour(
    field_config.FieldExploration(**settings), [200, 8, 8, 1], seed
  )(log_weights, 0)
  even = act(even_share=1.0)
  assert np.abs(even).max() == 0
  scaled = act(even_share=0.0, noise=0.0, power_low=2.0, power_high=2.0)
  np.testing.assert_allclose(scaled, 2 * log_weights, rtol=1e-6)
  noisy = act(even_share=0.0, power_low=1.0, power_high=1.0, noise=1.0) - log_weights
  assert 0.3 < float(tf.math.reduce_std(noisy)) < 1.0
  neighbours = np.corrcoef(noisy[:, 0, 0, 0], noisy[:, 0, 1, 0])[0, 1]
  assert neighbours > 0.5
