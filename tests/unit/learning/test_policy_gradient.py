"""Losses and gradients of actor and critic on replayed scans (SI eqs. S1 and S3)."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import losses
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import ReplaySample
from tests import tiny

FINAL = tf.constant([1.0, 0.5, 2.0, 0.1])


def replayed(learner, weights=(1.0, 1.0, 1.0, 1.0)):
  """Returns a noisy scan, as if replayed."""
  draw = tiny.draw()
  trajectory = learner.scan(learner.specimens(draw))
  return ReplaySample(trajectory.observations, trajectory.actions, draw, tf.range(4), tf.constant(weights))


def parts(learner, sample):
  """Returns the observations, replayed actions and starts that decisions are based on."""
  scan = learner.experiment.scan
  starts = steering.segments(sample.actions, scan).starts
  return sample.observations[:, :-1], sample.actions[:, :-1], starts[:, :-1]


def close(ours, theirs, tolerance=1e-5):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(a, b, atol=tolerance * max(1e-3, float(tf.reduce_max(tf.abs(b)))))


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_the_actors_gradient_is_eq_s1(controller):
  learner = tiny.learner(controller=controller)
  sample = replayed(learner)
  observations, actions, starts = parts(learner, sample)
  live = learner.actor.unroll(observations, starts)
  with tf.GradientTape() as tape:  # dQ_t(h_t, a)/da at a = mu(h_t) ...
    tape.watch(live)
    value = tf.reduce_sum(learner.critic(observations, actions, live)[1])
  slope = tape.gradient(value, live)
  with tf.GradientTape() as tape:  # ... times dmu(h_t)/dtheta, averaged over scans and decisions
    live = learner.actor.unroll(observations, starts)
  expected = tape.gradient(live, learner.actor.trainable_variables, slope / (4 * learner.experiment.scan.decisions))
  made = learner.evaluate_actions(sample, FINAL)
  close(made.actor_gradients, expected)
  assert float(tf.linalg.global_norm(expected)) > 1e-6


def test_the_actors_gradient_vanishes_where_the_critic_ignores_actions():
  learner = tiny.learner()
  n = learner.experiment.scan.probes
  rows = [n + 3 * i for i in range(n)]  # where the angle enters, tiled with the position
  for layer in learner.critic.core.layers:
    weights = layer.w_gates.numpy()
    weights[rows] = 0.0
    layer.w_gates.assign(weights)
  made = learner.evaluate_actions(replayed(learner), FINAL)
  assert all(not gradient.numpy().any() for gradient in made.actor_gradients)
  assert any(gradient.numpy().any() for gradient in made.critic_gradients)


def test_live_and_replayed_action_gradients_differ():
  live, other = tiny.learner(), tiny.learner(action_gradient="replayed")
  sample = replayed(live)
  ours, theirs = (learner.evaluate_actions(sample, FINAL) for learner in (live, other))
  assert not np.allclose(ours.actor_gradients[0], theirs.actor_gradients[0], atol=1e-6)
  close([ours.critic_loss], [theirs.critic_loss])
  close(ours.critic_gradients, theirs.critic_gradients)
  observations, actions, starts = parts(live, sample)
  with tf.GradientTape() as tape:
    tape.watch(actions)
    value = tf.reduce_sum(other.critic(observations, tf.stop_gradient(actions), actions)[1])
  slope = tape.gradient(value, actions)
  with tf.GradientTape() as tape:
    mu = other.actor.unroll(observations, starts)
  close(theirs.actor_gradients, tape.gradient(mu, other.actor.trainable_variables, slope / 12))


def expected_targets(learner, sample, target_actor, share):
  observations, actions, starts = parts(learner, sample)
  settings, scan = learner.experiment.loss, learner.experiment.scan
  rewards = losses.step_losses(FINAL, steering.over_edge(sample.actions, scan), settings.over_edge_penalty)
  _, target_q = learner.target_critic(observations, actions, target_actor.unroll(observations, starts))
  return (share * losses.supervised_targets(rewards, 0.97)
          + (1 - share) * losses.bellman_targets(rewards, target_q, 0.97))


def shaken(learner):
  """Moves the soft copies away from the networks they copy."""
  for module in (learner.target_critic, learner.target_actor):
    if module is not learner.actor:
      for variable in module.trainable_variables:
        variable.assign_add(0.3 * tf.ones_like(variable))
  return learner


@pytest.mark.parametrize("changes, share", [
    ({}, 0.0), ({"target_actor": True}, 0.0), ({"supervision": "full"}, 1.0),
    ({"supervision": "start", "iterations": 100}, 1 - 4 / 10), ({"supervision": "start", "iterations": 10}, 0.0)])
def test_the_critics_loss_is_the_mean_squared_error_of_its_targets(changes, share):
  learner = shaken(tiny.learner(**changes))
  learner.iteration.assign(4)
  sample = replayed(learner, weights=(1.0, 0.5, 0.2, 0.1))
  observations, actions, _ = parts(learner, sample)
  targets = expected_targets(learner, sample, learner.target_actor, share)
  with tf.GradientTape() as tape:
    q = learner.critic(observations, actions, actions)[0]
    errors = tf.reduce_mean(tf.square(q - targets), 1)
    loss = tf.reduce_mean(sample.weights * errors)
  made = learner.evaluate_actions(sample, FINAL)
  close([made.critic_loss, made.td_errors], [loss, errors])
  close(made.critic_gradients, tape.gradient(loss, learner.critic.trainable_variables), 1e-4)


def test_the_target_critic_and_actor_are_used():
  learner = tiny.learner(target_actor=True)
  sample = replayed(learner)
  before = float(learner.evaluate_actions(sample, FINAL).critic_loss)
  for module in (learner.target_critic, learner.target_actor):
    for variable in module.trainable_variables:
      variable.assign_add(0.3 * tf.ones_like(variable))
    after = float(learner.evaluate_actions(sample, FINAL).critic_loss)
    assert abs(after - before) > 1e-6
    before = after
