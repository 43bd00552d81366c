"""How actor, critic and generator see intensities: as they are, or by a measured range (METHOD
decision 13).

A live scan maps the range of its first segment to [-1, 1] (`intensities`, in NumPy); here
training does the same, inside the graph. Recorded scans stay as they were measured, and
what a generator makes is mapped back before anything is compared with a specimen.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.types import Nest


class Range(NamedTuple):
  """Intensities that become -1 and 1. All becomes 0 while nothing lies between them."""

  low: tf.Tensor  # [B]
  high: tf.Tensor  # [B]

  def update(self, observation: tf.Tensor) -> "Range":
    """Takes in the intensities [B, n] of a segment, unless some have differed before: then the
    range stays.
    """
    frozen = self.high > self.low
    return Range(
      tf.where(frozen, self.low, tf.minimum(self.low, tf.reduce_min(observation, 1))),
      tf.where(frozen, self.high, tf.maximum(self.high, tf.reduce_max(observation, 1))),
    )

  def to_unit(self, values: tf.Tensor) -> tf.Tensor:
    """Maps intensities [B, ...] linearly, low to -1 and high to 1; nothing is clipped."""
    low, high = _beside(self.low, values), _beside(self.high, values)
    span = tf.where(high > low, high - low, tf.ones_like(low))
    return tf.where(high > low, 2 * (values - low) / span - 1, tf.zeros_like(values))

  def from_unit(self, values: tf.Tensor) -> tf.Tensor:
    """Maps values [B, ...] back to intensities."""
    low, high = _beside(self.low, values), _beside(self.high, values)
    return low + (values + 1) / 2 * (high - low)


def unknown(batch: int | tf.Tensor) -> Range:
  """Returns the ranges of scans that have measured nothing."""
  return Range(tf.fill([batch], np.float32(np.inf)), tf.fill([batch], np.float32(-np.inf)))


class Seeing(Protocol):
  """What networks see. B scans of T segments of n probing positions."""

  def policy(self, actor):
    """Returns a policy, as `scan.rollout` has them, that is given intensities as measured and shows
    them to `actor`.
    """

  def decided(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns what the actor saw [B, T, n] when it decided, from what was measured [B, T, n]."""

  def range_of(self, observations: tf.Tensor, measured: tf.Tensor | None = None) -> Range | None:
    """Returns the range of recorded scans [B, T, n], or of the first `measured` [B] segments of
    each, if one counts.
    """

  def shown(self, partial: tf.Tensor, found: Range | None) -> tf.Tensor:
    """Returns partial scans [B, S, S, 2] as the generator sees them."""

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    found: Range | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Completes partial scans [B, S, S, 2], in the units that they were measured in: [B, S, S,
    1].
    """


class AsMeasured:
  """Intensities as they are: specimens span [-1, 1] (`normalise=image`)."""

  def policy(self, actor):
    """Returns the actor itself."""
    return actor

  def decided(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns the observations."""
    return observations

  def range_of(self, observations: tf.Tensor, measured: tf.Tensor | None = None) -> None:
    """Returns None: no range counts."""

  def shown(self, partial: tf.Tensor, found: Range | None) -> tf.Tensor:
    """Returns the partial scans."""
    del found
    return partial

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    found: Range | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Returns what the generator makes of partial scans."""
    del found
    return generator(partial, is_training=is_training)


class ByFirstSegment:
  """Intensities by the range of the first segment, or of as many as it takes to see a difference
  (`measured`).
  """

  def policy(self, actor):
    """Returns a policy that finds the range as it scans, and shows the actor what it maps."""
    return _Policy(actor)

  def decided(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns [B, T, n]: 0 in segments before any intensity differs."""
    segment, differs = _first_difference(observations)
    known = tf.logical_and(tf.range(observations.shape[1]) >= segment[:, None], differs[:, None])
    return tf.where(known[..., None], self.range_of(observations).to_unit(observations), 0.0)

  def range_of(self, observations: tf.Tensor, measured: tf.Tensor | None = None) -> Range:
    """Returns the range that a scan [B, T, n], or its first `measured` [B] segments, ends with."""
    segment, _ = _first_difference(observations, measured)
    # all before it equal the first intensity
    found = tf.gather(observations, segment, batch_dims=1)
    first = observations[:, 0, :1]
    return Range(
      tf.reduce_min(tf.concat([first, found], 1), 1), tf.reduce_max(tf.concat([first, found], 1), 1)
    )

  def shown(self, partial: tf.Tensor, found: Range | None) -> tf.Tensor:
    """Maps the intensities of partial scans, and leaves 0 where nothing was measured."""
    assert found is not None
    intensity, mask = partial[..., :1], partial[..., 1:]
    return tf.concat([mask * found.to_unit(intensity), mask], -1)

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    found: Range | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Completes what is shown, and maps it back."""
    assert found is not None
    return found.from_unit(generator(self.shown(partial, found), is_training=is_training))


def make_seeing(normalise: str) -> Seeing:
  """Returns what `config.Data.normalise` names."""
  return AsMeasured() if normalise == "image" else ByFirstSegment()


class _State(NamedTuple):
  actor: Nest
  found: Range


class _Policy:
  """An actor that is shown what a range, found on the way, maps."""

  def __init__(self, actor):
    self._actor = actor

  def initial_state(self, batch: int | tf.Tensor) -> _State:
    return _State(self._actor.initial_state(batch), unknown(batch))

  def __call__(
    self, observation: tf.Tensor, position: tf.Tensor, state: _State
  ) -> tuple[tf.Tensor, _State]:
    found = state.found.update(observation)
    action, following = self._actor(found.to_unit(observation), position, state.actor)
    return action, _State(following, found)


def _first_difference(observations, measured=None):
  """Returns the first segment [B] that holds another intensity than the scan's first, 0 if none
  does, and whether.
  """
  differ = tf.reduce_any(observations != observations[:, :1, :1], -1)
  if measured is not None:
    differ = tf.logical_and(differ, tf.range(observations.shape[1]) < measured[:, None])
  return tf.argmax(tf.cast(differ, tf.int32), 1, tf.int32), tf.reduce_any(differ, 1)


def _beside(limit, values):
  """Returns limits [B] shaped to be used with values [B, ...]."""
  return tf.reshape(limit, [-1] + [1] * (values.shape.rank - 1))
