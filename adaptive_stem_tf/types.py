"""Tuples of tensors that cross the stages of training.

B is the batch, T the number of segments, n the probing positions per segment, S the
side of a specimen in px and A the components of an action: 1 (rad) if directions are
steered, 2 if waypoints are (`scan.steering`), n pixels where scans are drawn
(`scan.drawn_paths`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class Draw(NamedTuple):
  """The specimens of a batch, and which of the 8 dihedral transforms each is shown under."""

  index: tf.Tensor  # [B] int32, row of the training images
  transform: tf.Tensor  # [B] int32, 0..7
  # data that come with them (`Streamed`); empty if the learner holds all specimens
  images: Any = ()


class Streamed(NamedTuple):
  """Data that come with draws if a learner does not hold all specimens."""

  # takes the iteration, counted from 0, and its draw as arrays; returns a nest of arrays
  read: Callable[[int, Draw], Any]
  spec: Any  # a nest of tf.TensorSpec


class Trajectory(NamedTuple):
  """A batch of scans, as recorded."""

  observations: tf.Tensor  # [B, T, n], intensities in [-1, 1]
  # [B, T, A]; action t steers segment t + 1 (whenever decided), the last is unused
  actions: tf.Tensor
  positions: tf.Tensor  # [B, T, 2], px, start of each segment


class ReplaySample(NamedTuple):
  """Scans drawn from the replay, with their places and importance weights."""

  observations: tf.Tensor  # [B, T, n]
  actions: tf.Tensor  # [B, T, A]
  draw: Draw
  rows: tf.Tensor  # [B] int32, rows of the replay
  weights: tf.Tensor  # [B], importance weights; ones unless prioritised


class LearnerMetrics(NamedTuple):
  """Scalars of one training iteration."""

  generator_loss: tf.Tensor  # mean over the batch of 10 * MSE of replayed scans
  reinforcement_loss: tf.Tensor  # mean loss given to the critic, clipped and normalised
  critic_loss: tf.Tensor
  actor_loss: tf.Tensor
  over_edge: tf.Tensor  # share of replayed segments that end outside the image
  coverage: tf.Tensor  # distinct pixels visited by replayed scans, share of all
  generator_rate: tf.Tensor
  generator_gradient: tf.Tensor  # global norms
  critic_gradient: tf.Tensor
  actor_gradient: tf.Tensor


class CycleMetrics(NamedTuple):
  """Scalars of one training iteration of a distortion correction; those of networks that are not
  trained are 0.
  """

  # mean 10 * MSE of corrected scans against the specimens; only the paired bound learns from it
  error: tf.Tensor
  # rms px by which the distorter's displacements miss the microscope's; nothing learns from it
  displacement_error: tf.Tensor
  # mean losses of the corrector's and the distorter's images
  raster_adversarial: tf.Tensor
  partial_adversarial: tf.Tensor
  partial_cycle: tf.Tensor
  raster_cycle: tf.Tensor
  raster_discriminator: tf.Tensor
  partial_discriminator: tf.Tensor
  corrector_gradient: tf.Tensor  # global norms
  distorter_gradient: tf.Tensor
  discriminator_gradient: tf.Tensor
  corrector_rate: tf.Tensor


Nest = Any  # a nest of tensors that dm-tree can map
