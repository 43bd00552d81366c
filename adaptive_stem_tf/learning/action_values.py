"""What critic and actor learn from a batch of recorded scans (METHOD section 4, SI S1 and S3)."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.learning import losses, truncation
from adaptive_stem_tf.learning.agent import Networks
from adaptive_stem_tf.scan import steering
from adaptive_stem_tf.types import ReplaySample


class ActionValues(NamedTuple):
  """The results of the forward and backward passes of critic and actor."""

  critic_loss: tf.Tensor
  actor_loss: tf.Tensor
  td_errors: tf.Tensor  # [B]
  critic_gradients: list[tf.Tensor]
  actor_gradients: list[tf.Tensor]


class Outcome(NamedTuple):
  """How well scans were completed, by which their actions are judged.

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
    networks: the networks that learn, and their targets.
    experiment: geometry and losses.
    sample: B scans, with observations as the actor saw them.
    outcome: how they ended.
    supervised_share: share of the discounted loss itself in the critic's targets; ignored if
      supervision is none.
  """
  scan, (final, cut, errors) = experiment.scan, outcome
  decisions = _Decisions(
    sample.observations[:, : scan.decisions],
    sample.actions[:, scan.decision_delay : -1],
    steering.segments(sample.actions, scan).starts[:, : scan.decisions],
  )
  if cut is not None:
    sample, final = truncation.weighted(sample, final)
  with tf.GradientTape(persistent=True) as tape:
    features = networks.actor.features(decisions.observations, decisions.starts)
    differentiated = live = networks.actor.action(features)
    if experiment.optimisation.action_gradient == "replayed":
      # SI S3: of the replayed action's value, and of the live action's derivative by the weights.
      differentiated = live + tf.stop_gradient(decisions.actions - live)
    q, live_q = networks.critic(decisions.observations, decisions.actions, differentiated)
    target_q = _target_q(networks, decisions, live)
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
  """Each segment that was followed by a decision, and the action that was decided."""

  observations: tf.Tensor  # [B, T', n]
  actions: tf.Tensor  # [B, T', A]
  starts: tf.Tensor  # [B, T', 2] px


def _target_q(networks, decisions, live):
  """Returns Q' [B, T'] of the target actor's actions, or of the live ones if it has no target."""
  if networks.target_actor is not networks.actor:
    live = networks.target_actor.unroll(decisions.observations, decisions.starts)
  _, target_q = networks.target_critic(
    decisions.observations, decisions.actions, tf.stop_gradient(live)
  )
  return target_q


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
