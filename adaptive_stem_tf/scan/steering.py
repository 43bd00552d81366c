"""What a decision steers: the direction of the next segment, or where that segment ends.

`Directions` is the published scan (METHOD section 3): an action is an angle, and the spacing of
probing positions is fixed. `Waypoints` moves the corners of a zigzag that covers the specimen by
itself: the spacing follows from a segment's length, offsets do not add up, and no
segment leaves the image. Both have the same number of probing positions.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import baselines, geometry


class Segments(NamedTuple):
  """Straight segments of scans."""

  starts: tf.Tensor  # [B, T, 2] px, p_k
  steps: tf.Tensor  # [B, T, 2] px, u_k, from one probing position to the next

  def ends(self, scan: config.ScanGeometry) -> tf.Tensor:
    """Returns where the segments end [B, T, 2] px: where the next ones start."""
    return self.starts + scan.probes * self.steps


class Steering(Protocol):
  """The meaning of actions."""

  width: int  # components of an action, A
  start: np.ndarray  # [2] px, p_0
  first_step: np.ndarray  # [2] px, u_0: the first segment is the same for every specimen

  def squash(self, features: tf.Tensor) -> tf.Tensor:
    """Maps unbounded features [..., A] to actions."""

  def perturb(self, action: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Adds exploration noise [B, A] to actions [B, A]."""

  def step(self, action: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns u_k [B, 2] px of segment k, which starts at `start` [B, 2] px, from the action [B, A]
    before it.
    """

  def undecided(self, last: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns u_k [B, 2] px of segment k if no decision has been made for it yet.

    Args:
      last: [B, 2] px, u_{k-1}.
      start: [B, 2] px, where segment k starts.
      segment: k.
    """

  def segments(self, actions: tf.Tensor) -> Segments:
    """Returns the segments of scans from their actions [B, T, A].

    They are rounded as in a rollout, so that probing positions fall in the same pixels.
    """


class Directions:
  """An action is the angle of the next segment, rad in (-pi, pi]."""

  width = 1

  def __init__(self, scan: config.ScanGeometry):
    self._scan = scan
    self.start = np.full([2], geometry.start_position(scan), np.float32)
    self.first_step = geometry.first_direction(scan)

  def squash(self, features: tf.Tensor) -> tf.Tensor:
    """Maps features [..., 1] to angles in (-pi, pi)."""
    return math.pi * tf.tanh(features)

  def perturb(self, action: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Adds noise [B, 1] rad to angles, and wraps them."""
    return geometry.wrap_angle(action + noise)

  def step(self, action: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns u_k [B, 2] px; where and when the segment starts make no difference."""
    del start, segment
    return geometry.direction(action, self._scan)

  def undecided(self, last: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns the last step: the beam goes straight on."""
    del start, segment
    return last

  def segments(self, actions: tf.Tensor) -> Segments:
    """Returns the segments of scans from angles [B, T, 1] rad."""
    fixed = 1 + self._scan.decision_delay
    first = tf.broadcast_to(self.first_step, [actions.shape[0] or tf.shape(actions)[0], fixed, 2])
    steps = tf.concat([first, geometry.direction(actions[:, fixed - 1 : -1], self._scan)], 1)
    starts = [tf.broadcast_to(self.start, tf.shape(steps[:, 0]))]
    # One after the other, since a cumulative sum would not be rounded as in a rollout.
    for k in range(self._scan.segments - 1):
      starts.append(starts[-1] + self._scan.probes * steps[:, k])
    return Segments(tf.stack(starts, 1), steps)


class Waypoints:
  """An action in [-1, 1] moves the next corner of a zigzag, by at most `reach` px along an axis."""

  width = 2

  def __init__(self, scan: config.ScanGeometry):
    self._scan = scan
    self.corners = baselines.zigzag_corners(scan)  # [T + 1, 2] px
    self.start = self.corners[0]
    self.first_step = (self.corners[1] - self.corners[0]) / np.float32(scan.probes)

  def squash(self, features: tf.Tensor) -> tf.Tensor:
    """Maps features [..., 2] to offsets in (-1, 1)."""
    return tf.tanh(features)

  def perturb(self, action: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Adds noise [B, 2] to offsets, and clips them."""
    return tf.clip_by_value(action + noise, -1.0, 1.0)

  def step(self, action: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns u_k [B, 2] px towards the moved corner, which is kept inside the image."""
    corner = tf.gather(tf.constant(self.corners), tf.minimum(segment + 1, len(self.corners) - 1))
    end = tf.clip_by_value(corner + self._scan.reach * action, 0.0, float(self._scan.image_size))
    return (end - start) / self._scan.probes

  def undecided(self, last: tf.Tensor, start: tf.Tensor, segment: tf.Tensor | int) -> tf.Tensor:
    """Returns the step [B, 2] px towards the corner, which is not moved."""
    return self.step(tf.zeros_like(last), start, segment)

  def segments(self, actions: tf.Tensor) -> Segments:
    """Returns the segments of scans from offsets [B, T, 2]."""
    batch = actions.shape[0] or tf.shape(actions)[0]
    starts, steps = ([tf.broadcast_to(part, [batch, 2])] for part in (self.start, self.first_step))
    for k in range(1, self._scan.segments):
      starts.append(starts[-1] + self._scan.probes * steps[-1])
      decided = k > self._scan.decision_delay
      steps.append(
        self.step(actions[:, k - 1], starts[-1], k)
        if decided
        else self.undecided(steps[-1], starts[-1], k)
      )
    return Segments(tf.stack(starts, 1), tf.stack(steps, 1))


def make_steering(scan: config.ScanGeometry) -> Steering:
  """Returns the steering that `scan.steering` names."""
  return Directions(scan) if scan.steering == "direction" else Waypoints(scan)


def segments(actions: tf.Tensor, scan: config.ScanGeometry) -> Segments:
  """Returns the segments of scans from their actions [B, T, A]; the last action is unused."""
  return make_steering(scan).segments(actions)


def over_edge(actions: tf.Tensor, scan: config.ScanGeometry) -> tf.Tensor:
  """Returns whether the segment of each action [B, T, A] ends outside [0, S]^2, [B, T-1] bool."""
  ends = segments(actions, scan).ends(scan)
  if scan.steering == "waypoints":  # corners are kept inside, up to rounding
    return tf.zeros_like(ends[:, 1:, 0], tf.bool)
  outside = tf.logical_or(ends < 0.0, ends > float(scan.image_size))
  return tf.reduce_any(outside[:, 1:], -1)
