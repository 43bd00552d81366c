"""Scans specimens with a policy, inside the graph."""

from collections.abc import Callable

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import environment, geometry, steering
from adaptive_stem_tf.types import Nest, Trajectory

# (observation [B, n], position [B, 2] px, state) -> (action [B, A], next state)
Policy = Callable[[tf.Tensor, tf.Tensor, Nest], tuple[tf.Tensor, Nest]]


def rollout(
  policy: Policy,
  state: Nest,
  specimens: tf.Tensor,
  scan: config.ScanGeometry,
  noise: tf.Tensor | None = None,
  read: environment.Reader = environment.read,
) -> Trajectory:
  """Scans a batch of specimens, asking the policy for a decision after each segment.

  With a decision delay of D segments, what the policy decides after segment t starts
  segment t + 1 + D; segments before that go where the steering leads undecided. Actions
  are recorded by the segment they start, not by when they were made.

  Args:
    policy: maps a segment's intensities, its start and the recurrent state to the
      action that steers the next segment and the next state.
    state: recurrent state that enters the first decision.
    specimens: [B, S, S, 1], intensities in [-1, 1].
    scan: the geometry.
    noise: [B, T, A] in the actions' units, added to them (`steering.Steering.perturb`); None for
      none.
    read: measures a segment after the other, in order of time.

  Returns:
    The scans; nothing is differentiated through them.
  """
  batch = specimens.shape[0] or tf.shape(specimens)[0]
  steered = steering.make_steering(scan)
  position, step = (
    tf.broadcast_to(part, [batch, 2]) for part in (steered.start, steered.first_step)
  )
  coming = (tf.zeros([batch, steered.width]),) * scan.decision_delay  # decided, not yet scanned
  columns = [
    tf.TensorArray(tf.float32, scan.segments, element_shape=[specimens.shape[0], width])
    for width in (scan.probes, steered.width, 2)
  ]

  def scan_segment(time, position, step, coming, state, observations, actions, positions):
    """Reads a segment, asks the policy, and moves on; takes and returns the loop's state."""
    observation = read(specimens, geometry.probe_positions(position, step, scan))
    action, state = policy(observation, position, state)
    if noise is not None:
      action = steered.perturb(action, noise[:, time])
    decided = (*coming, action)
    action, coming = decided[0], decided[1:]
    end = position + scan.probes * step
    following = steered.step(action, end, time + 1)
    if scan.decision_delay:
      following = tf.where(
        time < scan.decision_delay, steered.undecided(step, end, time + 1), following
      )
    return (
      time + 1,
      end,
      following,
      coming,
      state,
      observations.write(time, observation),
      actions.write(time, action),
      positions.write(time, position),
    )

  loop = (tf.constant(0), position, step, coming, state, *columns)
  *_, observations, actions, positions = tf.while_loop(
    lambda time, *_: time < scan.segments, scan_segment, loop, maximum_iterations=scan.segments
  )
  batch_major = [
    tf.transpose(column.stack(), [1, 0, 2]) for column in (observations, actions, positions)
  ]
  return Trajectory(*tf.nest.map_structure(tf.stop_gradient, batch_major))
