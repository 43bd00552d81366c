"""What critic and actor of whole fields say of replayed scans."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields.state import FEATURES
from adaptive_stem_tf.learning import field_agent, field_decisions, field_replay
from tests import tiny


@pytest.fixture
def networks():
  return field_agent.make_networks(tiny.field_experiment())


def scans(rng, gradient):
  """Returns two replayed scans of three rounds on 4 x 4 cells."""
  values = lambda *shape: tf.constant(rng.normal(size=[2, *shape]), tf.float32)
  one = (3, 4, 4, 1)
  return field_replay.FieldScans(
    values(3, 4, 4, FEATURES), gradient * values(*one), values(*one), values(*one),
    values(4, 4, 1), tf.constant([-3.0, -2.0]),
  )  # fmt: skip


def test_an_even_decision_gains_nothing_and_the_rule_does(networks, rng):
  even, rule = (
    field_decisions.evaluate(networks.actor, networks.critic, scans(rng, gradient))[1].numpy()
    for gradient in (0.0, 1.0)
  )
  assert even.shape == rule.shape == (2, 3)
  np.testing.assert_allclose(even, 0, atol=1e-6)
  assert (abs(rule) > 1e-3).all()


def test_predictions_follow_replayed_actions_and_gains_do_not(networks, rng):
  replayed = scans(rng, 1.0)
  other = replayed._replace(actions=2 * replayed.actions)
  first, second = (
    field_decisions.evaluate(networks.actor, networks.critic, each) for each in (replayed, other)
  )
  assert first[0].shape == [2, 3, 4, 4, 1]
  assert (first[0].numpy() != second[0].numpy()).all()
  np.testing.assert_array_equal(first[1], second[1])


def test_the_first_round_is_the_same_whatever_follows(networks, rng):
  replayed = scans(rng, 1.0)
  alone = field_replay.FieldScans(
    *(part[:, :1] for part in replayed[:4]), replayed.log_errors, replayed.log_coverage
  )
  every, one = (
    field_decisions.evaluate(networks.actor, networks.critic, each) for each in (replayed, alone)
  )
  for whole, first in zip(every, one, strict=True):
    np.testing.assert_allclose(first, whole[:, :1], rtol=1e-4, atol=1e-6)


def test_gains_teach_the_actor_and_predictions_do_not(networks, rng):
  with tf.GradientTape(persistent=True) as tape:
    predicted, gains = field_decisions.evaluate(networks.actor, networks.critic, scans(rng, 1.0))
  weight = networks.actor.powers.w
  assert tape.gradient(predicted, weight) is None
  assert float(tf.norm(tape.gradient(gains, weight))) > 1e-4


def test_correlation_is_pearsons(rng):
  first, second = rng.normal(size=[2, 3, 5]).astype(np.float32)
  expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
  np.testing.assert_allclose(field_decisions.correlation(first, second), expected, rtol=1e-5)
  assert float(field_decisions.correlation(first, tf.ones([3, 5]))) == 0
