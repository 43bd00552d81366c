"""Decides where the beam goes next (METHOD section 4, SI S1)."""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import blocks, cores
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import Nest


class Actor(snt.Module):
  """Recurrent policy: intensities and start of a segment to the action that steers the next.

  Called with one segment at a time (`__call__`, when scanning) or with a whole
  recorded scan (`unroll`, when learning). Nothing is differentiated into its inputs.
  """

  def __init__(self, experiment: config.Experiment, name: str = "actor"):
    super().__init__(name=name)
    self._scan = experiment.scan
    self.core = cores.make_core(experiment.controller, experiment.memory)
    self._steering = steering.make_steering(experiment.scan)
    self.linear = blocks.Projection(self._steering.width)

  def initial_state(self, batch_size: int | tf.Tensor) -> Nest:
    """Returns the trainable initial state, tiled over the batch."""
    return self.core.initial_state(batch_size)

  def __call__(self, observation: tf.Tensor, position: tf.Tensor, state: Nest) -> tuple[tf.Tensor, Nest]:
    """Chooses the next action.

    Args:
      observation: [B, n], intensities of the segment.
      position: [B, 2], px, its start.
      state: recurrent state.

    Returns:
      Action that steers the next segment [B, A], and the next state.
    """
    features, state = self.core(self._inputs(observation, position), state)
    return self._action(features), state

  def unroll(self, observations: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns mu(h_t) [B, T', A] for observations [B, T', n] and starts [B, T', 2] px."""
    batch = observations.shape[0] or tf.shape(observations)[0]
    features, _, _ = cores.unroll(self.core, self._inputs(observations, positions), self.initial_state(batch))
    return self._action(features)

  def _inputs(self, observations, positions):
    n = self._scan.probes
    tiled = tf.tile(positions / n, [1] * (positions.shape.rank - 1) + [n])
    return tf.stop_gradient(tf.concat([observations, tiled], -1))

  def _action(self, features):
    return self._steering.squash(self.linear(features))
