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

  With a decision delay of D segments, the policy's decision after segment t steers segment
  t + 1 + D. The segments before the first decision go where the steering leads without one
  (`steering.Steering.undecided`). Actions are recorded by the segment that they steer, not by when
  they were decided.

  Args:
    policy: maps a segment's intensities, its start and the recurrent state to the
      action that steers the next segment and the next state.
    state: recurrent state that enters the first decision.
    specimens: [B, S, S, 1], intensities in [-1, 1].
    scan: the geometry.
    noise: [B, T, A] in the actions' units, added to them (`steering.Steering.perturb`); None for
      none.
    read: measures one segment after another, in order of time.

  Returns:
    The scans; nothing is differentiated through them.
  """
  batch = specimens.shape[0] or tf.shape(specimens)[0]
  steer = steering.make_steering(scan)
  position, step = (tf.broadcast_to(part, [batch, 2]) for part in (steer.start, steer.first_step))
  # Actions that were decided and wait for their segments, D of them.
  pending = (tf.zeros([batch, steer.width]),) * scan.decision_delay
  columns = [
    tf.TensorArray(tf.float32, scan.segments, element_shape=[specimens.shape[0], width])
    for width in (scan.probes, steer.width, 2)
  ]

  def scan_segment(time, position, step, pending, state, observations, actions, positions):
    """Reads a segment, asks the policy, and moves on; takes and returns the loop's state."""
    observation = read(specimens, geometry.probe_positions(position, step, scan))
    action, state = policy(observation, position, state)
    if noise is not None:
      action = steer.perturb(action, noise[:, time])
    queue = (*pending, action)
    action, pending = queue[0], queue[1:]
    end = position + scan.probes * step
    next_step = steer.step(action, end, time + 1)
    if scan.decision_delay:
      undecided = steer.undecided(step, end, time + 1)
      next_step = tf.where(time < scan.decision_delay, undecided, next_step)
    return (
      time + 1,
      end,
      next_step,
      pending,
      state,
      observations.write(time, observation),
      actions.write(time, action),
      positions.write(time, position),
    )

  loop = (tf.constant(0), position, step, pending, state, *columns)
  # No other condition than the length, so that XLA knows it, as in `networks.recurrence.scan`.
  *_, observations, actions, positions = tf.while_loop(
    lambda *_: tf.constant(True), scan_segment, loop, maximum_iterations=scan.segments
  )
  batch_major = [
    tf.transpose(column.stack(), [1, 0, 2]) for column in (observations, actions, positions)
  ]
  return Trajectory(*tf.nest.map_structure(tf.stop_gradient, batch_major))
