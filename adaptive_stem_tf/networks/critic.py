"""Predicts the losses that follow an action (METHOD section 4, SI S1 and S3)."""

import sonnet as snt
import tensorflow as tf
import tree

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import blocks, cores, initialisers
from adaptive_stem_tf.scan import geometry, steering


class Critic(snt.Module):
  """Recurrent action-value network on recorded scans."""

  def __init__(
    self,
    experiment: config.Experiment,
    name: str = "critic",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self._scan = experiment.scan
    self.core = cores.make_core(experiment.controller, experiment.memory, weights=weights)
    self.linear = blocks.Projection(1, weights=weights)

  def __call__(
    self, observations: tf.Tensor, actions: tf.Tensor, live_actions: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Evaluates replayed and live actions on the replayed history.

    Replayed actions advance the state. Live ones are evaluated in one batched step from
    the states that enter each step of the replayed pass, so they never influence
    later steps (SI eq. S1).

    Args:
      observations: [B, T-1, n], intensities of the segments before each action.
      actions: [B, T-1, A], as replayed.
      live_actions: [B, T-1, A]; differentiable.

    Returns:
      Q of the replayed and of the live actions, each [B, T-1], >= 0.
    """
    batch, steps = observations.shape[0] or tf.shape(observations)[0], observations.shape[1]
    positions = self._positions(actions)
    features, entering, _ = cores.unroll(
      self.core, self._inputs(observations, actions, positions), self.core.initial_state(batch)
    )
    merge = lambda x: tf.reshape(x, [batch * steps, *x.shape[2:]])
    live_features, _ = self.core(
      merge(self._inputs(observations, live_actions, positions)),
      tree.map_structure(merge, entering),
    )
    return self._value(features), tf.reshape(self._value(live_features), [batch, steps])

  def _positions(self, actions):
    """Returns where the steered segments start [B, T-1, 2] px.

    For directions, the fixed first segment is left out: starts differ by a constant offset.
    """
    if self._scan.steering == "waypoints":
      early = self._scan.decision_delay
      # Actions of undecided segments are 0; the last action is not used.
      padded = tf.pad(actions, [[0, 0], [early, 1], [0, 0]])
      return steering.segments(padded, self._scan).starts[:, 1 + early :]
    moves = self._scan.probes * geometry.direction(actions, self._scan)
    return geometry.start_position(self._scan) + tf.cumsum(moves, axis=1, exclusive=True)

  def _inputs(self, observations, actions, positions):
    n = self._scan.probes
    return tf.concat(
      [observations, tf.tile(tf.concat([actions, positions / n], -1), [1, 1, n])], -1
    )

  def _value(self, features):
    return tf.abs(tf.squeeze(self.linear(features), -1))
