"""Replayed scans of whole fields as critic and actor evaluate them (FIELDS section 3)."""

import tensorflow as tf

from adaptive_stem_tf.fields import rounds
from adaptive_stem_tf.fields.state import Cells
from adaptive_stem_tf.learning.field_replay import FieldScans
from adaptive_stem_tf.networks import field_actor, field_critic


def evaluate(
  actor: field_actor.FieldActor, critic: field_critic.FieldCritic, scans: FieldScans
) -> tuple[tf.Tensor, tf.Tensor]:
  """Evaluates replayed and live actions on the replayed history.

  Args:
    actor: chooses the live actions.
    critic: predicts errors. Gains are to be differentiated by the actor's weights only.
    scans: replayed, of R rounds.

  Returns:
    predicted: log errors [B, R, h, w, 1] that replayed actions end with.
    gains: [B, R], the log of the mean error after live actions over that after even rounds.
  """
  valid = tf.ones_like(scans.actions[:, 0])
  log_coverage = scans.log_coverage[:, None, None, None]
  errors = lambda law, action: field_critic.log_errors(
    law, field_critic.log_density(action, valid), log_coverage
  )
  mean = lambda law, action: field_critic.log_mean_error(errors(law, action), valid)
  critic_state = critic.initial_state(scans.features[:, 0])
  actor_state = actor.initial_state(scans.features[:, 0])
  predicted, gains = [], []
  for number in range(scans.actions.shape[1]):
    seen = (scans.features[:, number], scans.gradient[:, number], scans.uncertainty[:, number])
    cells = Cells(*seen, valid)
    law, critic_state = critic(cells, critic_state)
    live, actor_state = actor(cells, actor_state)
    predicted.append(errors(law, scans.actions[:, number]))
    even = mean(law, tf.zeros_like(live))
    gains.append(mean(law, rounds.limit(live, valid)) - tf.stop_gradient(even))
  return tf.stack(predicted, 1), tf.stack(gains, 1)


def correlation(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
  """Returns Pearson's correlation of all values of two tensors of one shape; 0 for a constant."""
  first, second = (value - tf.reduce_mean(value) for value in (first, second))
  norm = tf.sqrt(tf.reduce_sum(tf.square(first)) * tf.reduce_sum(tf.square(second)))
  return tf.reduce_sum(first * second) / tf.maximum(norm, 1e-12)
