"""What critic and actor learn from recorded scans, by hand with networks of a weight or two."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import action_values
from adaptive_stem_tf.learning.action_values import Outcome
from adaptive_stem_tf.learning.agent import Networks
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import Draw, ReplaySample
from tests import tiny

FINAL = np.array([1.0, 0.5, 2.0, 0.1])
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.5])
DISCOUNT = 0.97


class Actor(tf.Module):
  """Its features are mean intensities; its actions, and predicted errors, multiples of them."""

  def __init__(self, weight, slope=3.0):
    super().__init__()
    self.weight, self.slope = tf.Variable(float(weight)), tf.Variable(slope, trainable=False)

  def features(self, observations, starts):
    del starts
    return tf.reduce_mean(observations, -1, keepdims=True)

  def action(self, features):
    return self.weight * features

  def unroll(self, observations, starts):
    return self.action(self.features(observations, starts))

  def error_head(self, features):
    return self.weight * self.slope * features


class Critic(tf.Module):
  """Values an action at a multiple of its square."""

  def __init__(self, weight):
    super().__init__()
    self.weight = tf.Variable(float(weight))

  def __call__(self, observations, actions, live_actions):
    del observations
    return self.weight * actions[..., 0] ** 2, self.weight * live_actions[..., 0] ** 2


def networks(target_actor=None):
  actor = Actor(0.5)
  soft = actor if target_actor is None else Actor(target_actor)
  return Networks(actor, Critic(2.0), None, soft, Critic(1.5), None)


def sample(rng):
  scan = tiny.experiment().scan
  observations = rng.uniform(-1, 1, [4, scan.segments, scan.probes])
  actions = rng.uniform(-1, 1, [4, scan.segments, 1])
  rows = tf.range(4)
  tensors = (tf.constant(part, tf.float32) for part in (observations, actions))
  return ReplaySample(*tensors, Draw(rows, rows), rows, tf.constant(WEIGHTS, tf.float32))


def by_hand(experiment, scans, final, target_weight=0.5):
  """Returns features [B, T'], replayed actions [B, T'] and Bellman targets [B, T']."""
  features = scans.observations.numpy().mean(-1)[:, :-1]
  outside = steering.over_edge(scans.actions, experiment.scan).numpy()
  rewards = experiment.loss.over_edge_penalty * outside
  rewards[:, -1] += final
  following = 1.5 * (target_weight * features) ** 2
  following = np.concatenate([following[:, 1:], np.zeros([4, 1])], 1)
  return features, scans.actions.numpy()[:, :-1, 0], rewards, rewards + DISCOUNT * following


def evaluate(scans, nets=None, outcome=None, share=0.0, **changes):
  experiment = tiny.experiment(**{"discount": DISCOUNT, "target_actor": False} | changes)
  outcome = outcome or Outcome(tf.constant(FINAL, tf.float32))
  values = action_values.evaluate_actions(nets or networks(), experiment, scans, outcome, share)
  return values, experiment


@pytest.mark.parametrize("target_actor", [None, -1.0])
def test_the_critics_loss_and_gradient(rng, target_actor):
  scans = sample(rng)
  values, experiment = evaluate(scans, networks(target_actor))
  target_weight = 0.5 if target_actor is None else target_actor
  _, actions, _, targets = by_hand(experiment, scans, FINAL, target_weight)
  differences = 2.0 * actions**2 - targets
  np.testing.assert_allclose(values.td_errors, (differences**2).mean(1), rtol=1e-4)
  loss = (WEIGHTS * (differences**2).mean(1)).mean()
  np.testing.assert_allclose(values.critic_loss, loss, rtol=1e-4)
  slope = (WEIGHTS[:, None] * 2 * differences * actions**2).mean()
  np.testing.assert_allclose(values.critic_gradients, [slope], rtol=1e-4)


def test_the_actors_loss_and_gradient(rng):
  scans = sample(rng)
  values, experiment = evaluate(scans)
  features = by_hand(experiment, scans, FINAL)[0]
  np.testing.assert_allclose(values.actor_loss, (2 * (0.5 * features) ** 2).mean(), rtol=1e-5)
  # dQ/da da/dw = 2 * 2 a * f at the live action a = 0.5 f.
  np.testing.assert_allclose(values.actor_gradients, [(4 * 0.5 * features**2).mean()], rtol=1e-5)


def test_the_derivative_is_at_the_replayed_action_if_asked(rng):
  scans = sample(rng)
  values, experiment = evaluate(scans, action_gradient="replayed")
  features, actions, *_ = by_hand(experiment, scans, FINAL)
  np.testing.assert_allclose(values.actor_gradients, [(4 * actions * features).mean()], rtol=1e-4)


def test_supervised_targets_are_mixed_in(rng):
  scans = sample(rng)
  values, experiment = evaluate(scans, share=0.25, supervision="start")
  _, actions, rewards, bellman = by_hand(experiment, scans, FINAL)
  steps = np.arange(rewards.shape[1])
  weights = np.tril(DISCOUNT ** np.maximum(np.subtract.outer(steps, steps), 0.0))  # [t', t]
  targets = 0.25 * rewards @ weights + 0.75 * bellman
  expected = ((2.0 * actions**2 - targets) ** 2).mean(1)
  np.testing.assert_allclose(values.td_errors, expected, rtol=1e-4)


def test_cut_scans_teach_the_head_and_not_the_critic(rng):
  scans, errors = sample(rng), np.array([9.0, 9.0, 1.0, 2.0])
  cut = tf.constant([tiny.experiment().scan.segments] * 2 + [1, 2])
  outcome = Outcome(tf.constant(FINAL[:2], tf.float32), cut, tf.constant(errors, tf.float32))
  values, experiment = evaluate(scans, outcome=outcome)
  features, actions, _, targets = by_hand(experiment, scans, np.append(FINAL[:2], [0, 0]))
  differences = (2.0 * actions**2 - targets)[:2]
  np.testing.assert_allclose(
    values.critic_loss, (WEIGHTS[:2] * (differences**2).mean(1)).mean(), rtol=1e-4
  )
  seen = np.array([features[2, 0], features[3, 1]])  # when the scans were cut
  head = (2 * (0.5 * 3 * seen - errors[2:]) * 3 * seen).mean()
  live = (4 * 0.5 * features**2).mean()
  np.testing.assert_allclose(values.actor_gradients, [live + head], rtol=1e-4)
  np.testing.assert_allclose(values.actor_loss, (2 * (0.5 * features) ** 2).mean(), rtol=1e-5)


def test_a_delay_pairs_actions_with_what_was_seen_when_they_were_decided(rng):
  scans = sample(rng)
  values, experiment = evaluate(scans, decision_delay=1)
  features = scans.observations.numpy().mean(-1)[:, : experiment.scan.decisions]
  np.testing.assert_allclose(values.actor_gradients, [(4 * 0.5 * features**2).mean()], rtol=1e-5)
  actions = scans.actions.numpy()[:, 1:-1, 0]
  assert actions.shape == features.shape and values.td_errors.shape == [4]
