"""Scans specimens with a policy, inside the graph."""

from collections.abc import Callable

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import environment, geometry
from adaptive_stem_tf.types import Nest, Trajectory

# (observation [B, n], position [B, 2] px, state) -> (angle [B, 1] rad, next state)
Policy = Callable[[tf.Tensor, tf.Tensor, Nest], tuple[tf.Tensor, Nest]]


def rollout(policy: Policy, state: Nest, specimens: tf.Tensor, scan: config.Scan,
            noise: tf.Tensor | None = None) -> Trajectory:
  """Scans a batch of specimens, asking the policy for a direction after each segment.

  With a decision delay of D segments, what the policy decides after segment t starts segment t + 1 + D; segments
  before that keep the first's direction. Actions are recorded by the segment they start, not by when they were made.

  Args:
    policy: maps a segment's intensities, its start and the recurrent state to the
      angle of the next segment and the next state.
    state: recurrent state that enters the first decision.
    specimens: [B, S, S, 1], intensities in [-1, 1].
    scan: the geometry.
    noise: [B, T, 1] rad, added to the angles, which are then wrapped; None for none.

  Returns:
    The scans; nothing is differentiated through them.
  """
  batch = specimens.shape[0] or tf.shape(specimens)[0]
  position = tf.fill([batch, 2], geometry.start_position(scan))
  step = tf.broadcast_to(geometry.first_direction(scan), [batch, 2])
  coming = ((tf.fill([batch, 1], geometry.FIRST_ANGLE), step),) * scan.decision_delay  # decided, not yet scanned
  columns = [tf.TensorArray(tf.float32, scan.segments, element_shape=[specimens.shape[0], width])
             for width in (scan.probes, 1, 2)]

  def scan_segment(time, position, step, coming, state, observations, actions, positions):
    observation = environment.read(specimens, geometry.probe_positions(position, step, scan))
    angle, state = policy(observation, position, state)
    if noise is not None:
      angle = geometry.wrap_angle(angle + noise[:, time])
    coming = coming + ((angle, geometry.direction(angle, scan)),)
    (angle, direction), coming = coming[0], coming[1:]
    return (time + 1, position + scan.probes * step, direction, coming, state,
            observations.write(time, observation), actions.write(time, angle), positions.write(time, position))

  loop = (tf.constant(0), position, step, coming, state, *columns)
  *_, observations, actions, positions = tf.while_loop(
      lambda time, *_: time < scan.segments, scan_segment, loop, maximum_iterations=scan.segments)
  batch_major = [tf.transpose(column.stack(), [1, 0, 2]) for column in (observations, actions, positions)]
  return Trajectory(*tf.nest.map_structure(tf.stop_gradient, batch_major))
