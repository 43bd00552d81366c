"""Decides where the beam goes next (METHOD section 4, SI S1)."""

from typing import Any

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import blocks, cores, initialisers
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import Nest

_HEAD_UNITS = 32


class ErrorHead(snt.Module):
  """Predicts the present 10 * MSE, that of a scan which stopped now, from an actor's features.

  No gradient flows into the features: the actor learns its decisions as it would without the head.
  """

  def __init__(
    self, name: str = "error_head", weights: initialisers.Weights = initialisers.UNSEEDED
  ):
    super().__init__(name=name)
    linear = lambda size, name: snt.Linear(size, w_init=weights.truncated_normal(), name=name)
    self.hidden, self.output = linear(_HEAD_UNITS, "hidden"), linear(1, "output")

  def __call__(self, features: tf.Tensor) -> tf.Tensor:
    """Maps features [..., F] to errors [..., 1], >= 0."""
    hidden = tf.nn.relu(
      snt.BatchApply(self.hidden, features.shape.rank - 1)(tf.stop_gradient(features))
    )
    return tf.nn.softplus(snt.BatchApply(self.output, features.shape.rank - 1)(hidden))


class Actor(snt.Module):
  """Recurrent policy: intensities and start of a segment to the action that steers the next.

  Called with one segment at a time (`__call__`, when scanning) or with a whole
  recorded scan (`unroll`, when learning). No gradient flows into its inputs.
  """

  def __init__(
    self,
    experiment: config.Experiment,
    name: str = "actor",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self._scan = experiment.scan
    self.core = cores.make_core(experiment.controller, experiment.memory, weights=weights)
    self._steering = steering.make_steering(experiment.scan)
    # An actor at first leaves waypoints where they are: the zigzag is a good path to start from.
    self.linear = blocks.Projection(
      self._steering.width, zeros=experiment.scan.steering == "waypoints", weights=weights
    )
    self.error_head: Any = ErrorHead(weights=weights) if experiment.scan.truncate else None

  def initial_state(self, batch_size: int | tf.Tensor) -> Nest:
    """Returns the trainable initial state, tiled over the batch."""
    return self.core.initial_state(batch_size)

  def __call__(
    self, observation: tf.Tensor, position: tf.Tensor, state: Nest
  ) -> tuple[tf.Tensor, Nest]:
    """Chooses the next action.

    Args:
      observation: [B, n], intensities of the segment.
      position: [B, 2], px, its start.
      state: recurrent state.

    Returns:
      Action that steers the next segment [B, A], and the next state.
    """
    action, _, state = self.decide(observation, position, state)
    return action, state

  def decide(
    self, observation: tf.Tensor, position: tf.Tensor, state: Nest
  ) -> tuple[tf.Tensor, tf.Tensor | None, Nest]:
    """Chooses the next action, and predicts the error of stopping after this segment.

    Args:
      observation: [B, n], intensities of the segment.
      position: [B, 2], px, its start.
      state: recurrent state.

    Returns:
      Action [B, A]; predicted 10 * MSE [B, 1], None without a head; and the next state.
    """
    features, state = self.core(self._inputs(observation, position), state)
    return self.action(features), self.predicted_error(features), state

  def unroll(self, observations: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns mu(h_t) [B, T', A] for observations [B, T', n] and starts [B, T', 2] px."""
    return self.action(self.features(observations, positions))

  def features(self, observations: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns the core's features [B, T', F], which `action` and `predicted_error` read.

    Args:
      observations: [B, T', n].
      positions: [B, T', 2] px, starts of the segments.
    """
    batch = observations.shape[0] or tf.shape(observations)[0]
    return cores.unroll(
      self.core, self._inputs(observations, positions), self.initial_state(batch)
    )[0]

  def action(self, features: tf.Tensor) -> tf.Tensor:
    """Maps features [..., F] to actions [..., A]."""
    return self._steering.squash(self.linear(features))

  def predicted_error(self, features: tf.Tensor) -> tf.Tensor | None:
    """Maps features [..., F] to predictions of the present 10 * MSE [..., 1]; None without a
    head.
    """
    return self.error_head(features) if self.error_head else None

  def _inputs(self, observations, positions):
    n = self._scan.probes
    tiled = tf.tile(positions / n, [1] * (positions.shape.rank - 1) + [n])
    return tf.stop_gradient(tf.concat([observations, tiled], -1))
