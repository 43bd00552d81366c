"""Maps intensities to [-1, 1] and back, by one rule of ranges (METHOD decision 13).

In training each specimen spans [-1, 1]. A live scan never sees the minimum and maximum of the
whole image, so it maps a known range (a black and a white calibration), or the range that it has
measured: that of the first segment whose intensities differ. Live scans follow the rule in NumPy;
training and comparisons follow it inside the graph, on the same `IntensityRange`. Recorded scans
stay as they were measured, and completions are mapped back before they are compared with specimens.
Intensities outside the range are not clipped, though no training crop of a model had any: clipping
costs more (docs/LIVE.md).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.types import Nest

KINDS = ("image", "measured", "known")
Array = Any  # np.ndarray or tf.Tensor


class _Operations(NamedTuple):
  """The functions that the rule computes with, of NumPy or of TensorFlow."""

  where: Callable[..., Array]
  minimum: Callable[..., Array]
  maximum: Callable[..., Array]
  least: Callable[..., Array]  # along an axis
  greatest: Callable[..., Array]
  reshape: Callable[..., Array]


def _reshape_double(limits, shape):
  """Reshapes limits in double precision: detectors count further than single precision can."""
  return np.reshape(np.asarray(limits, np.float64), shape)


_NUMPY = _Operations(np.where, np.minimum, np.maximum, np.min, np.max, _reshape_double)
_GRAPH = _Operations(tf.where, tf.minimum, tf.maximum, tf.reduce_min, tf.reduce_max, tf.reshape)


class IntensityRange(NamedTuple):
  """The intensities that become -1 and 1, of each of B scans: NumPy arrays or tensors.

  Before anything is measured, low is +inf and high -inf. As long as all measured intensities are
  equal, low and high are equal too, and everything is mapped to 0.
  """

  low: Array  # [B]
  high: Array  # [B]

  def update(self, observations: Array) -> "IntensityRange":
    """Returns the ranges after a segment: those that are still empty grow, the others stay.

    Args:
      observations: [B, n], the segment's intensities.
    """
    ops = self._operations()
    known = self.high > self.low
    low = ops.minimum(self.low, ops.least(observations, 1))
    high = ops.maximum(self.high, ops.greatest(observations, 1))
    return IntensityRange(ops.where(known, self.low, low), ops.where(known, self.high, high))

  def to_unit(self, values: Array) -> Array:
    """Maps intensities [B, ...] linearly, low to -1 and high to 1; nothing is clipped."""
    ops, (low, high) = self._operations(), self._beside(values)
    known = high > low
    span = ops.where(known, high - low, 1.0)
    start = ops.where(known, low, 0.0)  # inf - inf would be a NaN, which gradients keep
    return _single(ops.where(known, 2 * (values - start) / span - 1, 0.0))

  def from_unit(self, values: Array) -> Array:
    """Maps values [B, ...] back to intensities: inverts `to_unit`; low if all are equal."""
    low, high = self._beside(values)
    return _single(low + (values + 1) / 2 * (high - low))

  def _operations(self) -> _Operations:
    return _GRAPH if tf.is_tensor(self.low) else _NUMPY

  def _beside(self, values):
    """Returns low and high shaped to be used with values [B, ...]."""
    reshape, ones = self._operations().reshape, [1] * (len(values.shape) - 1)
    return reshape(self.low, [-1, *ones]), reshape(self.high, [-1, *ones])


def unknown_range(count: int | tf.Tensor, in_graph: bool = False) -> IntensityRange:
  """Returns the ranges of `count` scans that have measured nothing."""
  if in_graph:
    return IntensityRange(
      tf.fill([count], np.float32(np.inf)), tf.fill([count], np.float32(-np.inf))
    )
  return IntensityRange(np.full(count, np.inf), np.full(count, -np.inf))


@dataclasses.dataclass(frozen=True)
class Normalisation:
  """Which range of intensities becomes [-1, 1] when a model is deployed.

  Raises:
    ValueError: if the kind is unknown, or a known range is not finite or empty.
  """

  kind: str = "image"  # image: each specimen's own; measured: what was measured; known: low to high
  low: float = 0.0
  high: float = 1.0

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(
        f"normalise={self.kind!r} is unknown: give image, measured, or LOW,HIGH such as 0,65535."
      )
    finite = np.isfinite([self.low, self.high]).all()
    if self.kind == "known" and not (finite and self.low < self.high):
      raise ValueError(
        f"normalise={self.low:g},{self.high:g} is no range: give black first, then "
        "white, such as 0,65535."
      )

  @classmethod
  def parse(cls, text: str) -> "Normalisation":
    """Reads `image`, `measured` or `LOW,HIGH`.

    Raises:
      ValueError: if it is none of them.
    """
    if "," not in text:
      return cls(text)
    try:
      low, high = map(float, text.split(","))
    except ValueError:
      raise ValueError(
        f"normalise={text!r} is no range: give two numbers, LOW,HIGH such as 0,65535."
      ) from None
    return cls("known", low, high)

  def start(self, count: int, images: np.ndarray | None = None) -> IntensityRange:
    """Returns the ranges that `count` scans begin with.

    Args:
      count: B, number of scans.
      images: [B, ...], the specimens if they are known; only their own ranges need them.

    Raises:
      ValueError: if their own ranges are needed and they are not known.
    """
    if self.kind == "known":
      return IntensityRange(np.full(count, self.low), np.full(count, self.high))
    if self.kind == "measured":
      return unknown_range(count)
    if images is None:
      raise ValueError(
        "normalise=image needs an image whose range is known before it is scanned: "
        "calibrate black and white (LOW,HIGH), or choose measured."
      )
    flat = images.reshape(count, -1).astype(np.float64)
    return IntensityRange(flat.min(1), flat.max(1))

  def __str__(self):
    return f"{self.low:g},{self.high:g}" if self.kind == "known" else self.kind


class NetworkInputs(Protocol):
  """Maps intensities to the inputs of networks, for B scans of T segments of n probing positions.

  There are two kinds: `ImageRange` if specimens span [-1, 1] as they are, and `FirstSegmentRange`
  if each scan is mapped by the range that it has measured.
  """

  def policy(self, actor):
    """Returns a policy for `scan.rollout` that normalises measured intensities for `actor`."""

  def of_actor(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns the inputs [B, T, n] that an actor decided by, from recorded scans [B, T, n]."""

  def range_of(
    self, observations: tf.Tensor, num_segments: tf.Tensor | None = None
  ) -> IntensityRange | None:
    """Returns the ranges of recorded scans [B, T, n], or of the first `num_segments` [B]."""

  def of_generator(self, partial: tf.Tensor, ranges: IntensityRange | None) -> tf.Tensor:
    """Returns partial scans [B, S, S, 2] as the generator's inputs."""

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    ranges: IntensityRange | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Completes partial scans [B, S, S, 2] in the units they were measured in: [B, S, S, 1]."""


class ImageRange:
  """Whole specimens span [-1, 1] (`normalise=image`): networks see intensities as measured."""

  def policy(self, actor):
    """Returns the actor itself."""
    return actor

  def of_actor(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns the observations."""
    return observations

  def range_of(self, observations: tf.Tensor, num_segments: tf.Tensor | None = None) -> None:
    """Returns None: no range is measured."""
    del observations, num_segments
    return  # AutoGraph cannot transform a function that holds nothing but its docstring

  def of_generator(self, partial: tf.Tensor, ranges: IntensityRange | None) -> tf.Tensor:
    """Returns the partial scans."""
    del ranges
    return partial

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    ranges: IntensityRange | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Returns the generator's completions of partial scans."""
    del ranges
    return generator(partial, is_training=is_training)


class FirstSegmentRange:
  """Each scan is mapped by the range of its first segment whose intensities differ (`measured`)."""

  def policy(self, actor):
    """Returns a policy that measures the range on its way."""
    return _NormalisingPolicy(actor)

  def of_actor(self, observations: tf.Tensor) -> tf.Tensor:
    """Returns an actor's inputs [B, T, n], 0 in segments before any intensity differs."""
    segment, differs = _first_difference(observations)
    reached = tf.range(observations.shape[1]) >= segment[:, None]
    known = tf.logical_and(reached, differs[:, None])[..., None]
    return tf.where(known, self.range_of(observations).to_unit(observations), 0.0)

  def range_of(
    self, observations: tf.Tensor, num_segments: tf.Tensor | None = None
  ) -> IntensityRange:
    """Returns the range [B] that scans [B, T, n], or their first segments, end with.

    All segments before the first that shows a difference equal the first intensity, so updating by
    that intensity and then by that segment is updating by all.
    """
    segment, _ = _first_difference(observations, num_segments)
    first = unknown_range(tf.shape(observations)[0], in_graph=True).update(observations[:, 0, :1])
    return first.update(tf.gather(observations, segment, batch_dims=1))

  def of_generator(self, partial: tf.Tensor, ranges: IntensityRange | None) -> tf.Tensor:
    """Maps the intensities of partial scans, and leaves 0 where nothing was measured."""
    assert ranges is not None
    intensity, mask = partial[..., :1], partial[..., 1:]
    return tf.concat([mask * ranges.to_unit(intensity), mask], -1)

  def complete(
    self,
    generator: Callable[..., tf.Tensor],
    partial: tf.Tensor,
    ranges: IntensityRange | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Completes mapped partial scans, and maps completions back."""
    assert ranges is not None
    return ranges.from_unit(generator(self.of_generator(partial, ranges), is_training=is_training))


def make_network_inputs(normalise: str) -> NetworkInputs:
  """Returns the mapping that `config.Data.normalise` names."""
  return ImageRange() if normalise == "image" else FirstSegmentRange()


class _PolicyState(NamedTuple):
  """State of a `_NormalisingPolicy`."""

  actor: Nest
  ranges: IntensityRange


class _NormalisingPolicy:
  """An actor whose inputs are normalised by ranges measured on the way."""

  def __init__(self, actor):
    self._actor = actor

  def initial_state(self, batch: int | tf.Tensor) -> _PolicyState:
    """Returns the actor's initial state, with empty ranges."""
    return _PolicyState(self._actor.initial_state(batch), unknown_range(batch, in_graph=True))

  def __call__(
    self, observation: tf.Tensor, position: tf.Tensor, state: _PolicyState
  ) -> tuple[tf.Tensor, _PolicyState]:
    """Chooses the next action from an observation [B, n], as measured (see the actor)."""
    ranges = state.ranges.update(observation)
    action, actor_state = self._actor(ranges.to_unit(observation), position, state.actor)
    return action, _PolicyState(actor_state, ranges)


def _first_difference(observations, num_segments=None):
  """Returns the first segment [B] that has another intensity than the scan's first, else 0; and
  whether there is one, [B].
  """
  differs = tf.reduce_any(observations != observations[:, :1, :1], -1)
  if num_segments is not None:
    differs = tf.logical_and(differs, tf.range(observations.shape[1]) < num_segments[:, None])
  return tf.argmax(tf.cast(differs, tf.int32), 1, tf.int32), tf.reduce_any(differs, 1)


def _single(values):
  """Returns values in single precision, which networks compute in."""
  return tf.cast(values, tf.float32) if tf.is_tensor(values) else np.asarray(values, np.float32)
