"""The critic: values of replayed and live actions."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import critic as critic_lib
from adaptive_stem_tf.scan import geometry, steering
from tests import tiny

SCAN = tiny.experiment().scan


def scans(rng, batch=3):
  observations = tf.constant(rng.uniform(-1, 1, [batch, SCAN.decisions, SCAN.probes]), tf.float32)
  actions = tf.constant(rng.uniform(-3, 3, [2, batch, SCAN.decisions, 1]), tf.float32)
  return observations, actions[0], actions[1]


def test_the_papers_critic_has_its_parameters():
  critic = critic_lib.Critic(config.Experiment())
  critic(tf.zeros([1, 1, 20]), tf.zeros([1, 1, 1]), tf.zeros([1, 1, 1]))
  assert sum(v.shape.num_elements() for v in critic.trainable_variables) == 953_856


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_values_are_not_negative_and_live_ones_equal_replayed_ones_of_the_same_action(
  rng, controller
):
  critic = critic_lib.Critic(tiny.experiment(controller=controller))
  observations, actions, live = scans(rng)
  q, live_q = critic(observations, actions, actions)
  assert q.shape == live_q.shape == [3, SCAN.decisions]
  np.testing.assert_allclose(q, live_q, atol=1e-5)
  assert (critic(observations, actions, live)[1].numpy() >= 0).all()
  critic.linear.w.assign(-critic.linear.w)
  np.testing.assert_allclose(critic(observations, actions, live)[0], q, atol=1e-6)  # Q = |z|


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_live_actions_never_influence_other_steps(rng, controller):
  critic = critic_lib.Critic(tiny.experiment(controller=controller))
  observations, actions, live = scans(rng)
  q, live_q = critic(observations, actions, live)
  for t in range(SCAN.decisions):
    other_q, other_live = critic(
      observations, actions, live + 0.5 * tf.one_hot([[t]], SCAN.decisions, axis=1)
    )
    np.testing.assert_array_equal(other_q, q)
    moved = np.abs(other_live - live_q) > 1e-6
    assert moved[:, t].all() and not np.delete(moved, t, 1).any()


def test_replayed_actions_influence_later_steps_only(rng):
  critic = critic_lib.Critic(tiny.experiment())
  observations, actions, live = scans(rng)
  q, live_q = critic(observations, actions, live)
  other_q, other_live = critic(
    observations, actions + 0.5 * tf.one_hot([[1]], SCAN.decisions, axis=1), live
  )
  np.testing.assert_array_equal(np.abs(other_q - q).max(0) > 1e-6, [False, True, True])
  np.testing.assert_array_equal(np.abs(other_live - live_q).max(0) > 1e-6, [False, False, True])


def test_inputs_are_intensities_then_angle_and_position_tiled(rng):
  critic = critic_lib.Critic(tiny.experiment())
  observations, actions, _ = scans(rng)
  positions = critic._positions(actions)
  inputs = critic._inputs(observations, actions, positions).numpy()
  assert inputs.shape == (3, SCAN.decisions, 4 * SCAN.probes)
  np.testing.assert_array_equal(inputs[..., : SCAN.probes], observations)
  tiled = inputs[..., SCAN.probes :].reshape(3, SCAN.decisions, SCAN.probes, 3)
  one = np.concatenate([actions, positions / SCAN.probes], -1)
  np.testing.assert_allclose(tiled, np.repeat(one[:, :, None], SCAN.probes, 2), rtol=1e-6)


def test_positions_leave_the_first_segment_out(rng):
  critic = critic_lib.Critic(tiny.experiment())
  _, actions, _ = scans(rng)
  expected, position = [], np.full([3, 2], SCAN.image_size / 2)
  for t in range(SCAN.decisions):
    expected.append(position)
    position = position + SCAN.probes * geometry.direction(actions[:, t], SCAN)
  np.testing.assert_allclose(critic._positions(actions), np.stack(expected, 1), rtol=1e-5)


def test_gradients_flow_into_live_angles(rng):
  critic = critic_lib.Critic(tiny.experiment())
  observations, actions, live = scans(rng)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(live)
    q, live_q = critic(observations, actions, live)
  assert tape.gradient(q, live) is None
  assert (np.abs(tape.gradient(live_q, live)) > 1e-8).all()


@pytest.mark.parametrize("delay", [0, 1])
def test_actions_on_waypoints_are_seen_with_the_segment_that_they_steer(rng, delay):
  experiment = tiny.experiment(steering="waypoints", reach=3.0, decision_delay=delay)
  actions = tf.constant(rng.uniform(-1, 1, [2, tiny.SEGMENTS, 2]), tf.float32)
  starts = steering.segments(actions, experiment.scan).starts
  decided = actions[:, delay:-1]
  undecided = tf.zeros([2, delay, 2])  # a delayed first decision leaves the corner where it is
  alone = tf.concat([undecided, decided, actions[:, -1:]], 1)
  np.testing.assert_allclose(
    critic_lib.Critic(experiment)._positions(decided),
    steering.segments(alone, experiment.scan).starts[:, 1 + delay :],
    atol=1e-5,
  )
  if not delay:
    assert (np.abs(starts[:, 1:] - starts[:, :-1]) > 1).any()
    np.testing.assert_allclose(critic_lib.Critic(experiment)._positions(decided), starts[:, 1:])
