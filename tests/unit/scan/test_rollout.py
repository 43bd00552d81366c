"""Scanning with a policy inside the graph."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.scan import environment, partial_scan, rollout, steering
from tests import tiny

SCAN = tiny.experiment().scan
ANGLES = np.float32([0.5, -2.0, 3.0, 1.0])


class Memory(NamedTuple):
  time: tf.Tensor  # [B] int32
  total: tf.Tensor  # [B], sum of what was measured


def scripted(observation, position, state):
  """Follows ANGLES, and remembers what it saw."""
  del position
  angle = tf.gather(tf.constant(ANGLES), state.time)[:, None]
  return angle, Memory(state.time + 1, state.total + tf.reduce_sum(observation, 1))


def start(batch=2):
  return Memory(tf.zeros([batch], tf.int32), tf.zeros([batch]))


def specimens(batch=2):
  return tf.constant(tiny.images(batch))


def test_a_script_is_followed():
  trajectory = rollout.rollout(scripted, start(), specimens(), SCAN)
  np.testing.assert_array_equal(trajectory.actions[..., 0], np.tile(ANGLES, [2, 1]))
  assert trajectory.observations.shape == [2, SCAN.segments, SCAN.probes]
  np.testing.assert_array_equal(
    trajectory.positions, steering.segments(trajectory.actions, SCAN).starts
  )


def test_what_is_recorded_is_what_lies_along_the_path():
  trajectory = rollout.rollout(scripted, start(), specimens(), SCAN)
  read = environment.read(specimens(), partial_scan.scan_positions(trajectory.actions, SCAN))
  np.testing.assert_array_equal(tf.reshape(trajectory.observations, [2, -1]), read)


def test_state_is_carried_from_step_to_step():
  def policy(observation, position, state):
    _, state = scripted(observation, position, state)
    return 0.1 * state.total[:, None], state

  trajectory = rollout.rollout(policy, start(), specimens(), SCAN)
  seen = np.cumsum(trajectory.observations.numpy().sum(2), 1)
  np.testing.assert_allclose(trajectory.actions[..., 0], 0.1 * seen, rtol=1e-5)


def test_the_policy_sees_the_segment_and_its_start():
  policy = lambda observation, position, state: (
    observation[:, 1:2] + 0.01 * position[:, :1] + 0.001 * position[:, 1:],
    state,
  )
  made = rollout.rollout(policy, start(), specimens(), SCAN)
  expected = (
    made.observations[..., 1] + 0.01 * made.positions[..., 0] + 0.001 * made.positions[..., 1]
  )
  np.testing.assert_allclose(made.actions[..., 0], expected, rtol=1e-5)


def test_noise_is_added_and_wrapped_and_leads_the_scan():
  noise = tf.constant([[[0.25], [-2.0], [1.0], [0.0]]] * 2)
  noisy = rollout.rollout(scripted, start(), specimens(), SCAN, noise)
  expected = [0.75, -4.0 + 2 * math.pi, 4.0 - 2 * math.pi, 1.0]
  np.testing.assert_allclose(noisy.actions[..., 0], [expected] * 2, atol=1e-6)
  np.testing.assert_array_equal(noisy.positions, steering.segments(noisy.actions, SCAN).starts)


def test_nothing_is_differentiated_through_a_scan():
  images, bias = specimens(), tf.Variable(0.1)
  with tf.GradientTape() as tape:
    tape.watch(images)
    policy = lambda observation, position, state: (bias * observation[:, :1], state)
    trajectory = rollout.rollout(policy, start(), images, SCAN)
    total = sum(tf.reduce_sum(part) for part in trajectory)
  assert tape.gradient(total, [images, bias]) == [None, None]


def test_a_scan_stays_in_the_graph_and_knows_no_batch_size():
  actor = actor_lib.Actor(tiny.experiment())

  @tf.function(input_signature=[tf.TensorSpec([None, tiny.SIZE, tiny.SIZE, 1])])
  def scan(images):
    return rollout.rollout(actor, actor.initial_state(tf.shape(images)[0]), images, SCAN)

  actor(tf.zeros([1, SCAN.probes]), tf.zeros([1, 2]), actor.initial_state(1))  # makes the variables
  graph = scan.get_concrete_function().graph.as_graph_def()
  kinds = {
    node.op
    for node in [
      *graph.node,
      *(n for function in graph.library.function for n in function.node_def),
    ]
  }
  assert any("While" in kind for kind in kinds)
  assert not any("PyFunc" in kind for kind in kinds)
  for batch in (1, 3):
    eager = rollout.rollout(actor, actor.initial_state(batch), specimens(batch), SCAN)
    for ours, theirs in zip(scan(specimens(batch)), eager, strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_with_a_delay_a_decision_is_carried_out_one_segment_late():
  delayed = tiny.experiment(decision_delay=1).scan
  trajectory = rollout.rollout(scripted, start(), specimens(), delayed)
  np.testing.assert_allclose(trajectory.actions[0, :, 0], [0.0, *ANGLES[:3]], rtol=1e-6)
  # Segments of 4 x sqrt(2) px: two along the diagonal from (8, 8), then at 0.5 rad; the last starts
  # at (16 + 5.65685 cos 0.5, 16 + 5.65685 sin 0.5).
  np.testing.assert_allclose(
    trajectory.positions[0], [[8, 8], [12, 12], [16, 16], [20.96439, 18.71205]], atol=1e-4
  )
  starts, moves = steering.segments(trajectory.actions, delayed)
  np.testing.assert_array_equal(moves[:, :2], 1.0)
  np.testing.assert_array_equal(trajectory.positions, starts)
  read = environment.read(specimens(), partial_scan.scan_positions(trajectory.actions, delayed))
  np.testing.assert_array_equal(tf.reshape(trajectory.observations, [2, -1]), read)


def test_with_a_delay_noise_moves_the_decision_it_is_drawn_for():
  noise = tf.constant([[[0.25], [0.5], [0.0], [0.0]]] * 2)
  noisy = rollout.rollout(
    scripted, start(), specimens(), tiny.experiment(decision_delay=1).scan, noise
  )
  np.testing.assert_allclose(noisy.actions[0, :, 0], [0.0, 0.75, -1.5, 3.0], rtol=1e-6)
