"""Paths of the beam: decided by an actor, by a random walk, or fixed. All share one interface."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.scan import environment, geometry, partial_scan, rollout, steering
from adaptive_stem_tf.types import Nest, Trajectory

_TRIES = 16  # directions drawn to find one that ends inside the image


class Path(Protocol):
  """A way to scan."""

  learns: bool  # whether an actor makes decisions, which it can learn

  @property
  def action_size(self) -> int:
    """Numbers A that an action holds: what steers a segment, or its pixels."""

  def scan(
    self,
    specimens: tf.Tensor,
    noise: tf.Tensor | None,
    seed: tf.Tensor,
    read: environment.Reader = environment.read,
  ) -> Trajectory:
    """Scans specimens.

    Args:
      specimens: [B, S, S, 1].
      noise: [B, T, A], exploration noise; None for none.
      seed: [2] int64, of paths that are drawn.
      read: measures intensities.
    """

  def positions(self, actions: tf.Tensor) -> tf.Tensor:
    """Returns the probing positions [B, T * n, 2] px of recorded scans, from actions [B, T, A]."""

  def draw(
    self, observations: tf.Tensor, actions: tf.Tensor, measured: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Draws recorded scans, or the first `measured` [B] segments of each, as partial scans [B, S,
    S, 2].
    """


class _Segmented:
  """Base of paths of straight segments."""

  _scan: config.ScanGeometry

  @property
  def action_size(self) -> int:
    """Numbers that an action holds."""
    return steering.make_steering(self._scan).width

  def positions(self, actions: tf.Tensor) -> tf.Tensor:
    """Returns the probing positions [B, T * n, 2] px of recorded scans, from actions [B, T, A]."""
    return partial_scan.scan_positions(actions, self._scan)

  def draw(
    self, observations: tf.Tensor, actions: tf.Tensor, measured: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Draws recorded scans, or the first `measured` [B] segments of each, as partial scans [B, S,
    S, 2].
    """
    return partial_scan.partial_scan(observations, actions, self._scan, measured)


class Adaptive(_Segmented):
  """Straight segments that an actor steers."""

  learns = True

  def __init__(self, actor, scan: config.ScanGeometry):
    self._actor, self._scan = actor, scan

  def with_policy(self, wrap: Callable) -> "Adaptive":
    """Returns the same path with the policy that `wrap` makes from its actor."""
    return Adaptive(wrap(self._actor), self._scan)

  def scan(
    self,
    specimens: tf.Tensor,
    noise: tf.Tensor | None,
    seed: tf.Tensor,
    read: environment.Reader = environment.read,
  ) -> Trajectory:
    """Scans with the actor; `seed` is not used."""
    del seed
    batch = specimens.shape[0] or tf.shape(specimens)[0]
    return rollout.rollout(
      self._actor, self._actor.initial_state(batch), specimens, self._scan, noise, read
    )


class _WalkState(NamedTuple):
  """State of random walks."""

  angles: tf.Tensor  # [B, T, K] rad, candidates for each decision
  time: tf.Tensor  # [B] int32, number of decisions so far
  start: tf.Tensor  # [B, 2] px, of the next segment


class RandomWalk(_Segmented):
  """Straight segments in random directions that end inside the image, a new walk for every scan."""

  learns = False

  def __init__(self, scan: config.ScanGeometry):
    # Walks choose directions, whichever steering the scan of an actor has.
    self._scan = dataclasses.replace(scan, steering="direction")

  def scan(
    self,
    specimens: tf.Tensor,
    noise: tf.Tensor | None,
    seed: tf.Tensor,
    read: environment.Reader = environment.read,
  ) -> Trajectory:
    """Scans along random walks drawn from `seed`; `noise` is not used."""
    del noise
    batch = specimens.shape[0] or tf.shape(specimens)[0]
    shape = [batch, self._scan.segments, _TRIES]
    angles = replicas.drawn(tf.random.stateless_uniform, shape, seed, -np.pi, np.pi)
    start = geometry.start_position(self._scan) + self._scan.probes * geometry.first_direction(
      self._scan
    )
    state = _WalkState(angles, tf.zeros([batch], tf.int32), tf.broadcast_to(start, [batch, 2]))
    return rollout.rollout(self._choose, state, specimens, self._scan, read=read)

  def _choose(
    self, observation: tf.Tensor, position: tf.Tensor, state: Nest
  ) -> tuple[tf.Tensor, Nest]:
    """Takes the first candidate whose segment ends inside; heads for the centre if none does."""
    del observation, position  # a walk is blind
    scan = self._scan
    candidates = tf.gather(state.angles, state.time, batch_dims=1)[..., None]  # [B, K, 1]
    ends = state.start[:, None] + scan.probes * geometry.direction(candidates, scan)
    inside = tf.reduce_all(tf.logical_and(ends >= 0.0, ends <= float(scan.image_size)), -1)
    choice = tf.argmax(tf.cast(inside, tf.int32), 1)
    inwards = geometry.start_position(scan) - state.start
    angle = tf.where(
      tf.reduce_any(inside, 1, keepdims=True),
      tf.gather(candidates, choice, batch_dims=1),
      tf.atan2(inwards[:, 1:], inwards[:, :1]),
    )
    start = state.start + scan.probes * geometry.direction(angle, scan)
    return angle, _WalkState(state.angles, state.time + 1, start)


class Fixed:
  """The same probing positions for every specimen."""

  learns, action_size = False, 1

  def __init__(self, positions: np.ndarray, scan: config.ScanGeometry):
    """Makes the path.

    Args:
      positions: [T * n, 2] px in order of time.
      scan: the geometry.

    Raises:
      ValueError: if the number of positions is not that of the scan.
    """
    count = scan.segments * scan.probes
    if positions.shape != (count, 2):
      raise ValueError(
        f"a fixed path of shape {list(positions.shape)} was given: the scan has {count} probing "
        f"positions, so it must be [{count}, 2]."
      )
    self._positions, self._scan = tf.constant(positions, tf.float32), scan

  def scan(
    self,
    specimens: tf.Tensor,
    noise: tf.Tensor | None,
    seed: tf.Tensor,
    read: environment.Reader = environment.read,
  ) -> Trajectory:
    """Scans along the path; `noise` and `seed` are not used."""
    del noise, seed
    scan = self._scan
    batch = specimens.shape[0] or tf.shape(specimens)[0]
    observations = read(
      specimens, tf.broadcast_to(self._positions, [batch, *self._positions.shape])
    )
    starts = tf.broadcast_to(self._positions[:: scan.probes], [batch, scan.segments, 2])
    return Trajectory(
      tf.reshape(observations, [batch, scan.segments, scan.probes]),
      tf.zeros([batch, scan.segments, self.action_size]),
      starts,
    )

  def positions(self, actions: tf.Tensor) -> tf.Tensor:
    """Returns the path, repeated for each scan of `actions` [B, T, A]: [B, T * n, 2] px."""
    batch = actions.shape[0] or tf.shape(actions)[0]
    return tf.broadcast_to(self._positions, [batch, *self._positions.shape])

  def draw(
    self, observations: tf.Tensor, actions: tf.Tensor, measured: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Draws recorded scans, or the first `measured` [B] segments of each, as partial scans [B, S,
    S, 2].
    """
    count = None if measured is None else measured * self._scan.probes
    return partial_scan.draw_at(observations, self.positions(actions), self._scan.image_size, count)
