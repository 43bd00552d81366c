"""What critic and actor learn from a batch of recorded scans (METHOD section 4, SI S1 and S3)."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.learning import losses, truncation
from adaptive_stem_tf.learning.agent import Networks
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import ReplaySample


class ActionValues(NamedTuple):
  """What the forward and backward passes of critic and actor give."""

  critic_loss: tf.Tensor
  actor_loss: tf.Tensor
  td_errors: tf.Tensor  # [B]
  critic_gradients: list[tf.Tensor]
  actor_gradients: list[tf.Tensor]


class Outcome(NamedTuple):
  """How well scans were completed, which is what their actions are valued by.

  Scans that were not cut come first. Where none was cut, `cut` and `errors` are None.
  """

  final: tf.Tensor  # [scans not cut], L_b
  cut: tf.Tensor | None = None  # [B] int32, after how many segments scans were cut
  errors: tf.Tensor | None = None  # [B], present 10 * MSE, which the actor's head learns


def evaluate_actions(
  networks: Networks,
  experiment: config.Experiment,
  sample: ReplaySample,
  outcome: Outcome,
  supervised_share: tf.Tensor | float = 0.0,
) -> ActionValues:
  """Differentiates the losses of critic and actor on replayed scans.

  Args:
    networks: that learn, and their targets.
    experiment: geometry and losses.
    sample: B scans, with observations as the actor saw them.
    outcome: how they ended.
    supervised_share: how much of the critic's target is the discounted loss itself; read unless
      supervision is none.
  """
  scan, (final, cut, errors) = experiment.scan, outcome
  decided = _Decisions(
    sample.observations[:, : scan.decisions],
    sample.actions[:, scan.decision_delay : -1],
    steering.segments(sample.actions, scan).starts[:, : scan.decisions],
  )
  if cut is not None:
    sample, final = truncation.weighted(sample, final)
  with tf.GradientTape(persistent=True) as tape:
    features = networks.actor.features(decided.observations, decided.starts)
    valued = live = networks.actor.action(features)
    if experiment.optimisation.action_gradient == "replayed":
      # SI S3: the derivative at the replayed action, passed to the actor's.
      valued = live + tf.stop_gradient(decided.actions - live)
    q, live_q = networks.critic(decided.observations, decided.actions, valued)
    target_q = _target_q(networks, decided, live)
    targets = _targets(experiment, sample.actions, final, target_q, supervised_share)
    critic_loss, td_errors = losses.critic_loss(q, targets, sample.weights)
    actor_loss = minimised = losses.actor_loss(live_q)
    if cut is not None and errors is not None:
      uncut = outcome.final.shape[0]
      predicted = networks.actor.error_head(features[uncut:])
      minimised += losses.prediction_loss(predicted, cut[uncut:], errors[uncut:])
  return ActionValues(
    critic_loss,
    actor_loss,
    td_errors,
    replicas.mean(tape.gradient(critic_loss, networks.critic.trainable_variables)),
    replicas.mean(tape.gradient(minimised, networks.actor.trainable_variables)),
  )


class _Decisions(NamedTuple):
  """What was seen before each action that was decided, and the action."""

  observations: tf.Tensor  # [B, T', n]
  actions: tf.Tensor  # [B, T', A]
  starts: tf.Tensor  # [B, T', 2] px


def _target_q(networks, decided, live):
  """Returns Q' [B, T'] of what the target actor, or the actor without one, would do."""
  if networks.target_actor is not networks.actor:
    live = networks.target_actor.unroll(decided.observations, decided.starts)
  return networks.target_critic(decided.observations, decided.actions, tf.stop_gradient(live))[1]


def _targets(experiment, actions, final, target_q, supervised_share):
  """Returns the critic's targets y [B, T'] (METHOD section 6)."""
  settings = experiment.loss
  outside = steering.over_edge(actions, experiment.scan)[:, experiment.scan.decision_delay :]
  rewards = losses.step_losses(final, outside, settings.over_edge_penalty)
  bellman = losses.bellman_targets(rewards, target_q, settings.discount)
  if settings.supervision == "none":
    return bellman
  # y <- s y_super + (1 - s) y, SI eq. S3.
  supervised = losses.supervised_targets(rewards, settings.discount)
  return supervised_share * supervised + (1 - supervised_share) * bellman
