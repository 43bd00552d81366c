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
  return ReplaySample(
    trajectory.observations, trajectory.actions, draw, tf.range(4), tf.constant(weights)
  )


def parts(learner, sample):
  """Returns the observations, replayed actions and starts that decisions are based on."""
  scan = learner.experiment.scan
  starts = steering.segments(sample.actions, scan).starts
  decided = scan.segments - 1 - scan.decision_delay
  return (
    sample.observations[:, :decided],
    sample.actions[:, scan.decision_delay : -1],
    starts[:, :decided],
  )


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
  expected = tape.gradient(
    live, learner.actor.trainable_variables, slope / (4 * learner.experiment.scan.decisions)
  )
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
  outside = steering.over_edge(sample.actions, scan)[:, scan.decision_delay :]
  rewards = losses.step_losses(FINAL, outside, settings.over_edge_penalty)
  _, target_q = learner.target_critic(
    observations, actions, target_actor.unroll(observations, starts)
  )
  return share * losses.supervised_targets(rewards, 0.97) + (1 - share) * losses.bellman_targets(
    rewards, target_q, 0.97
  )


def shaken(learner):
  """Moves the soft copies away from the networks they copy."""
  for module in (learner.target_critic, learner.target_actor):
    if module is not learner.actor:
      for variable in module.trainable_variables:
        variable.assign_add(0.3 * tf.ones_like(variable))
  return learner


@pytest.mark.parametrize(
  "changes, share",
  [
    ({}, 0.0),
    ({"target_actor": True}, 0.0),
    ({"supervision": "full"}, 1.0),
    ({"decision_delay": 1}, 0.0),
    ({"supervision": "start", "iterations": 100}, 1 - 4 / 10),
    ({"supervision": "start", "iterations": 10}, 0.0),
  ],
)
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


def silent(learner):
  """Makes the critic value every action at 0, so that its loss is the mean of the squared
  targets.
  """
  learner.critic.linear.w.assign(tf.zeros_like(learner.critic.linear.w))
  return learner


@pytest.mark.parametrize(
  "delay, actions, expected",
  [
    # Four segments from (8, 8), each 5.657 px long, in a field of 16 px. Without a delay the three
    # decisions start segments 2 to 4, which end at (17.66, 12), (12, 12) and (12, 17.66): the first
    # and third are outside. y: the last is 0.1 + 2, the one before 0 + 0.5 * 2.1, the first 0.1 +
    # 0.5 * 1.05.
    (0, [0.0, np.pi, np.pi / 2, 9.0], (0.625**2 + 1.05**2 + 2.1**2) / 3),
    # With a delay the first action recorded is the first segment's, which takes the second one to
    # (16, 16). Then come two decisions, which end at (10.34, 16) and (10.34, 21.66), the second
    # outside: y = 0.5 * 2.1 and 2.1.
    (1, [np.pi / 4, np.pi, np.pi / 2, 9.0], (1.05**2 + 2.1**2) / 2),
  ],
)
def test_targets_by_hand(delay, actions, expected):
  learner = silent(
    tiny.learner(
      decision_delay=delay,
      supervision="full",
      discount=0.5,
      over_edge_penalty=0.1,
      spacing=float(np.sqrt(2)),
    )
  )
  sample = replayed(learner)._replace(
    actions=tf.constant([[[float(angle)] for angle in actions]] * 4)
  )
  made = learner.evaluate_actions(sample, tf.fill([4], 2.0))
  assert float(made.critic_loss) == pytest.approx(expected, rel=1e-5)


def cut_learner():
  learner = tiny.learner(truncate=True)
  return learner, replayed(learner), tf.constant([4, 4, 1, 3]), tf.constant([0.0, 0.0, 2.0, 5.0])


def test_cut_scans_teach_the_head_their_present_error():
  learner, sample, cut, errors = cut_learner()
  # predicts log 2
  learner.actor.error_head.output.w.assign(tf.zeros_like(learner.actor.error_head.output.w))
  head = [v.ref() for v in learner.actor.error_head.trainable_variables]
  made = learner.evaluate_actions(sample, FINAL[:2], cut, errors)
  gradient = dict(
    zip((v.ref() for v in learner.actor.trainable_variables), made.actor_gradients, strict=True)
  )
  # d/db of ((softplus(b) - 2)^2 + (softplus(b) - 5)^2) / 2 at b = 0, where softplus is log 2 and
  # its slope a half.
  slope = ((np.log(2) - 2) + (np.log(2) - 5)) / 2
  np.testing.assert_allclose(gradient[learner.actor.error_head.output.b.ref()], [slope], rtol=1e-5)
  other = learner.evaluate_actions(sample, FINAL[:2], cut, errors + 1.0)
  for variable, before, after in zip(
    learner.actor.trainable_variables, made.actor_gradients, other.actor_gradients
  ):
    if variable.ref() not in head:
      # the policy's are its own
      np.testing.assert_array_equal(before, after, err_msg=variable.name)


def test_cut_scans_do_not_teach_the_critic():
  learner, sample, cut, errors = cut_learner()
  made = learner.evaluate_actions(sample, FINAL[:2], cut, errors)
  plain = learner.evaluate_actions(sample, FINAL)
  assert float(made.critic_loss) == pytest.approx(
    float(tf.reduce_mean(plain.td_errors[:2])), rel=1e-5
  )
  changed = sample._replace(actions=tf.concat([sample.actions[:2], -sample.actions[2:]], 0))
  close(
    learner.evaluate_actions(changed, FINAL[:2], cut, errors).critic_gradients,
    made.critic_gradients,
  )
