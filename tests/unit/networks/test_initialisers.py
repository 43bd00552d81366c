"""Initial weights: their distributions, and that the seed alone decides all of them."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.correction import cycle_learner
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.training import field_model
from tests import tiny


def networks(**changes):
  """Returns the networks of a tiny experiment without the copies among them."""
  made = agent.make_networks(tiny.experiment(**changes))
  return [made.actor, made.critic, made.generator]


def correction(**changes):
  learner = tiny.cycle_learner(**changes)
  return [learner.corrector, learner.distorter, learner.raster_discriminator,
          learner.partial_discriminator]  # fmt: skip


def fields(seed):
  learner = tiny.field_learner(seed=seed)
  return [learner.generator, learner.actor, learner.critic]


def trained_fields(seed):
  restored = field_model.TrainedModel(tiny.field_experiment(seed=seed))
  return [restored.generator, restored.actor]


def scanner(seed):
  scanner_ = model.fresh(tiny.experiment(seed=seed))
  return [scanner_.actor, scanner_.generator]


BUILDERS = {
  "lstm": lambda seed: networks(seed=seed, depth=3),
  "projected": lambda seed: networks(seed=seed, depth=3, projection=4),
  "gru": lambda seed: networks(seed=seed, controller="gru", depth=3),
  "dnc": lambda seed: networks(seed=seed, controller="dnc", blocks=2),
  "truncated": lambda seed: networks(seed=seed, steering="waypoints", truncate=True),
  "causal": lambda seed: correction(seed=seed, distorter="causal"),
  "warp": lambda seed: correction(seed=seed, distorter="warp", distorter_blocks=1),
  "residual": lambda seed: correction(seed=seed, distorter="residual", distorter_blocks=1),
  "fields": fields,
  "trained_fields": trained_fields,
  "scanner": scanner,
}


@pytest.fixture
def unseeded():
  """Takes TensorFlow's global seed away: deterministic operations then refuse to draw from it."""
  tf.random.set_seed(None)
  yield
  tf.random.set_seed(0)


def weights(modules):
  """Returns the values that were drawn: neither zeros nor ones."""
  values = [variable.numpy() for module in modules for variable in module.trainable_variables]
  return [value for value in values if value.std() > 0]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_seed_alone_decides_all_weights(name, unseeded):
  first, again, other = (weights(BUILDERS[name](seed)) for seed in (1, 1, 2))
  assert len(first) > 3
  for value, same, different in zip(first, again, other, strict=True):
    np.testing.assert_array_equal(value, same)
    assert not np.isclose(value, different).any()


@pytest.mark.parametrize("name", BUILDERS)
def test_no_two_variables_of_a_model_start_alike(name):
  drawn = [value.ravel() / value.std() for value in weights(BUILDERS[name](0))]
  for first, second in itertools.combinations(drawn, 2):
    count = min(len(first), len(second))
    assert abs(first[:count] - second[:count]).max() > 0.05


def test_the_tests_build_without_a_global_seed_where_that_is_refused(unseeded):
  with pytest.raises(RuntimeError, match="seed"):
    initialisers.UNSEEDED.xavier()([3, 3, 2, 2], tf.float32)


@pytest.mark.parametrize("seed", [0, None])
def test_truncated_normal_has_the_deviation_of_its_fan_in(seed):
  values = initialisers.Weights(seed).truncated_normal()([5, 20, 2000], tf.float32).numpy()
  deviation = 1 / math.sqrt(100)
  assert 1.95 * deviation < abs(values).max() <= 2 * deviation
  # A standard normal that is cut at two deviations has a deviation of 0.8796.
  np.testing.assert_allclose(values.std(), 0.8796 * deviation, rtol=0.01)
  np.testing.assert_allclose(values.mean(), 0, atol=0.01 * deviation)


@pytest.mark.parametrize("seed", [0, None])
def test_xavier_is_uniform_with_the_variance_of_both_fans(seed):
  values = initialisers.Weights(seed).xavier()([3, 3, 40, 120], tf.float32).numpy()
  variance = 2 / (9 * (40 + 120))
  limit = math.sqrt(3 * variance)
  assert 0.99 * limit < abs(values).max() <= limit
  np.testing.assert_allclose(values.var(), variance, rtol=0.02)
  quarters = np.histogram(values, 4, (-limit, limit))[0] / values.size
  np.testing.assert_allclose(quarters, 0.25, atol=0.01)


def test_a_distorter_that_is_read_back_needs_no_global_seed(unseeded):
  distorter = cycle_learner.make_distorter(tiny.correction(), initialisers.Weights(0))
  assert distorter.displacements(
    tf.zeros([1, 16, 16, 1]), tf.zeros([1, 16, 2]), is_training=False
  ).shape == [1, 16, 2]
