"""The learner of whole fields: resuming, rates, replay, exploration."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.learning import field_agent, field_exploration, field_learner, field_replay
from adaptive_stem_tf.types import Draw
from tests import tiny


def draw(number):
  random = np.random.default_rng(number)
  return Draw(tf.constant(random.integers(4, size=2)), tf.constant(random.integers(8, size=2)))


def resume(tmp_path):
  """Trains two iterations, and the second again from a checkpoint; returns a learner."""
  through, resumed = tiny.field_learner(), tiny.field_learner()
  through.step(draw(0))
  tf.train.Checkpoint(learner=through).write(str(tmp_path / "state"))
  status = tf.train.Checkpoint(learner=resumed).read(str(tmp_path / "state"))
  status.assert_existing_objects_matched()
  assert np.array_equal(through.step(draw(1)), resumed.step(draw(1)))
  for one, other in zip(through.variables, resumed.variables):
    np.testing.assert_array_equal(one, other, err_msg=one.name)
  return through


def test_training_is_resumed_bit_for_bit(eagerly, tmp_path):
  resume(tmp_path)


@pytest.mark.slow
def test_training_is_resumed_bit_for_bit_in_the_graph_that_is_traced_once(tmp_path):
  assert resume(tmp_path).traces == 1


def test_a_generator_is_kept_while_decisions_are_learnt(eagerly):
  changes = {
    "generator_rate": 0.0,
    "generator_first": 0.0,
    "actor_from": 0.0,
    "start_from": "a run",
  }
  learner = tiny.field_learner(**changes)
  kept = [variable.numpy() for variable in learner.generator.variables]
  networks = (learner.actor, learner.critic)
  before = [variable.numpy() for network in networks for variable in network.trainable_variables]
  metrics = [learner.step(draw(number)) for number in range(2)][-1]
  for network in (learner.generator, learner.average_generator):
    for variable, was in zip(network.variables, kept, strict=True):
      np.testing.assert_array_equal(variable, was, err_msg=variable.name)
  after = [variable.numpy() for network in networks for variable in network.trainable_variables]
  assert sum(not np.array_equal(*pair) for pair in zip(before, after)) > 0.9 * len(before)
  # A new generator adds nothing to the interpolation; its uncertainty is that of the contrast.
  assert float(metrics.generator_ratio) == pytest.approx(0.0, abs=1e-5)
  assert metrics.generator_gradient == 0
  assert metrics.uncertainty_loss != 0


@pytest.mark.parametrize(
  "changes, said",
  [
    ({"generator_first": 0.0}, "--start_from=MODEL"),
    ({"generator_first": 0.5, "start_from": "a run"}, "--generator_first=0"),
  ],
)
def test_a_generator_that_is_kept_has_to_have_learnt(changes, said):
  with pytest.raises(ValueError, match=said):
    tiny.field_experiment(generator_rate=0.0, **changes)


def test_training_starts_from_a_generator_and_an_actor():
  experiment = tiny.field_experiment(seed=3)
  networks = field_agent.make_networks(experiment)
  other = field_agent.make_networks(tiny.field_experiment(seed=4))
  critic = [variable.numpy() for variable in networks.critic.variables]
  field_agent.start(networks, other.generator, other.actor)
  for name in ("generator", "actor"):
    for made in (getattr(networks, name), getattr(networks, f"average_{name}")):
      for one, wanted in zip(made.variables, getattr(other, name).variables, strict=True):
        np.testing.assert_array_equal(one, wanted, err_msg=one.name)
  for variable, was in zip(networks.critic.variables, critic):
    np.testing.assert_array_equal(variable, was)


def test_the_seed_decides_weights():
  actors = [field_agent.make_networks(tiny.field_experiment(seed=seed)).actor for seed in (0, 1)]
  first, other = (np.concatenate([np.ravel(v) for v in actor.variables]) for actor in actors)
  assert not np.array_equal(first, other)


def test_rates_rise_then_fall_to_a_fiftieth():
  rates = {"generator_rate": 1e-3, "actor_rate": 2e-3, "actor_from": 0.5}
  experiment = tiny.field_experiment(iterations=1000, **rates)
  for iteration, share in ((0, 0.01), (500, np.cos(np.pi / 4)), (2000, 0.02)):
    now = snt.Module()
    now.experiment, now.iteration = experiment, tf.constant(iteration)
    generators, actors = (field_learner.FieldLearner._rate(now, number) for number in (0, 2))
    assert float(generators) == pytest.approx(1e-3 * share, rel=1e-4)
    assert float(actors) == pytest.approx(2e-3 * share * (iteration > 0), rel=1e-4)


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


def test_noise_is_enlarged_bicubically():
  coarse = np.random.default_rng(0).normal(size=[1, 5, 7, 1]).astype(np.float32)
  rows, columns = field_exploration.bicubic(5, 16), field_exploration.bicubic(7, 20)
  ours = np.einsum("ri,bijk,cj->brck", rows, coarse, columns)
  # TensorFlow reads its weights from a table of 1,024.
  expected = tf.image.resize(coarse, [16, 20], "bicubic")
  np.testing.assert_allclose(ours, expected, atol=2e-3)


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
