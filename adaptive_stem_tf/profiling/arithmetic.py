"""Counts the arithmetic of a training iteration, in floating point operations.

A product and a sum count as two. Only matrix products and convolutions count.
"""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf.learning.learner import Learner
from adaptive_stem_tf.networks import blocks


class Work(NamedTuple):
  """Operations of one iteration."""

  generator: float
  recurrent: float

  @property
  def total(self) -> float:
    """Operations of both."""
    return self.generator + self.recurrent


def iteration(learner: Learner) -> Work:
  """Counts one iteration: forward passes, and gradients at twice their cost.

  The generator runs forward and backward once. The actor scans T segments, and runs
  forward and backward over T-1; the critic does so for replayed actions, and forward
  and back to its input for live ones; the target critic runs forward for both.
  """
  e = learner.experiment
  scans, decisions = (
    e.optimisation.batch_size * e.scan.segments,
    e.optimisation.batch_size * e.scan.decisions,
  )
  actor, critic = _matrix_work(learner.actor), _matrix_work(learner.critic)
  recurrent = 0.0
  if learner.path.learns:
    recurrent = actor * (scans + 3 * decisions) + critic * decisions * (3 + 2 + 2)
  return Work(3 * e.optimisation.batch_size * _convolution_work(learner), recurrent)


def _matrix_work(network: tf.Module) -> float:
  """Returns the work of a forward pass for one example and time step."""
  return sum(
    2.0 * v.shape[0] * v.shape[1]
    for v in network.trainable_variables
    if v.shape.rank == 2 and v.shape[0] > 1
  )


def _convolution_work(learner: Learner) -> float:
  """Returns the work of a generator's forward pass for one image."""
  size, work = learner.experiment.scan.image_size, 0.0
  if not learner.generator.trainable_variables:  # infilling by the nearest pixel
    return work
  layers: list[tf.Module] = [*learner.generator.layers, learner.generator.output]
  convolutions = [
    m
    for layer in layers
    for m in (layer, *layer.submodules)
    if isinstance(m, (blocks.Convolution, blocks.TransposedConvolution))
  ]
  for convolution in convolutions:  # in the order in which they run
    if isinstance(convolution, blocks.Convolution):
      size //= convolution.stride
    # transposed: one product a weight and input pixel
    work += 2.0 * size**2 * tf.size(convolution.w).numpy()
    if isinstance(convolution, blocks.TransposedConvolution):
      size *= 2
  return work
