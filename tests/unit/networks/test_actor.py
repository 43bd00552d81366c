"""The actor: segments to angles."""

import math

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import actor as actor_lib
from tests import tiny

SCAN = tiny.experiment().scan


def scans(rng, batch=2, steps=SCAN.decisions):
  observations = tf.constant(rng.uniform(-1, 1, [batch, steps, SCAN.probes]), tf.float32)
  return observations, tf.constant(rng.uniform(0, SCAN.image_size, [batch, steps, 2]), tf.float32)


def step_by_step(actor, observations, positions):
  state, angles = actor.initial_state(len(observations)), []
  for t in range(observations.shape[1]):
    angle, state = actor(observations[:, t], positions[:, t], state)
    angles.append(angle)
  return tf.stack(angles, 1)


def test_the_papers_actor_has_its_parameters():
  actor = actor_lib.Actor(config.Experiment())
  actor.unroll(tf.zeros([1, 1, 20]), tf.zeros([1, 1, 2]))
  assert sum(v.shape.num_elements() for v in actor.trainable_variables) == 912_896


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_unrolling_equals_scanning_step_by_step(rng, controller):
  actor = actor_lib.Actor(tiny.experiment(controller=controller))
  observations, positions = scans(rng)
  unrolled = actor.unroll(observations, positions)
  assert unrolled.shape == [2, SCAN.decisions, 1]
  np.testing.assert_allclose(unrolled, step_by_step(actor, observations, positions), atol=1e-5)


def test_the_actor_remembers(rng):
  actor = actor_lib.Actor(tiny.experiment())
  observations, positions = scans(rng)
  before = actor.unroll(observations, positions)
  changed = observations + tf.one_hot([[0]], SCAN.decisions, axis=1)  # in the first segment only
  assert (np.abs(actor.unroll(changed, positions) - before) > 1e-5).all()


def test_inputs_are_intensities_then_positions_in_segments(rng):
  actor = actor_lib.Actor(tiny.experiment())
  observations, positions = scans(rng)
  inputs = actor._inputs(observations[:, 0], positions[:, 0]).numpy()
  assert inputs.shape == (2, 3 * SCAN.probes)
  np.testing.assert_array_equal(inputs[:, : SCAN.probes], observations[:, 0])
  tiled = inputs[:, SCAN.probes :].reshape(2, SCAN.probes, 2)  # r, c, r, c, ...
  np.testing.assert_allclose(
    tiled, np.tile(positions[:, :1] / SCAN.probes, [1, SCAN.probes, 1]), rtol=1e-6
  )


def test_angles_are_pi_tanh_without_a_bias(rng):
  actor = actor_lib.Actor(tiny.experiment())
  observations, positions = scans(rng)
  actor.unroll(observations, positions)
  actor.linear.w.assign(1e6 * tf.ones_like(actor.linear.w))
  angles = np.abs(actor.unroll(observations, positions))
  np.testing.assert_allclose(angles, np.float32(math.pi), rtol=1e-6)
  actor.linear.w.assign(tf.zeros_like(actor.linear.w))
  np.testing.assert_array_equal(actor.unroll(observations, positions), 0.0)


def test_nothing_is_differentiated_into_the_inputs(rng):
  actor = actor_lib.Actor(tiny.experiment())
  observations, positions = scans(rng)
  with tf.GradientTape() as tape:
    tape.watch([observations, positions])
    angles = actor.unroll(observations, positions)
  gradients = tape.gradient(angles, [observations, positions, *actor.trainable_variables])
  assert gradients[:2] == [None, None]
  assert all(gradient is not None for gradient in gradients[2:])


def test_an_actor_of_waypoints_starts_by_leaving_them_where_they_are(rng):
  actor = actor_lib.Actor(tiny.experiment(steering="waypoints"))
  np.testing.assert_array_equal(actor.unroll(*scans(rng)), np.zeros([2, SCAN.decisions, 2]))


def test_the_head_predicts_errors_of_every_segment_that_are_not_negative(rng):
  actor = actor_lib.Actor(tiny.experiment(truncate=True))
  observations, positions = scans(rng)
  features = actor.features(observations, positions)
  predicted = actor.predicted_error(features)
  assert actor.error_head.hidden.w.shape == [2 * tiny.UNITS, 32]
  assert predicted.shape == [2, SCAN.decisions, 1] and (predicted.numpy() > 0).all()
  state = actor.initial_state(2)
  for t in range(SCAN.decisions):
    action, alone, state = actor.decide(observations[:, t], positions[:, t], state)
    np.testing.assert_allclose(alone, predicted[:, t], rtol=1e-4)
    np.testing.assert_allclose(action, actor.action(features)[:, t], atol=1e-5)
  assert actor_lib.Actor(tiny.experiment()).predicted_error(features) is None
