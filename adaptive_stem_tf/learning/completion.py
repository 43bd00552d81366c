"""What the generator learns from a batch of partial scans, and what its errors teach the others."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import config, intensities, replicas
from adaptive_stem_tf.learning import alrc, losses
from adaptive_stem_tf.learning.agent import Networks


class Example(NamedTuple):
  """A batch of partial scans and what they show."""

  partial: tf.Tensor  # [B, S, S, 2], intensity and mask
  target: tf.Tensor  # [B, S, S, 1], filtered specimens
  # Of the measured intensities, if networks see scans relative to them.
  ranges: intensities.IntensityRange | None = None


class Completion(NamedTuple):
  """The results of a generator's forward and backward pass."""

  losses: tf.Tensor  # [B], 10 * MSE
  reinforcement: tf.Tensor  # [B], the loss that actor and critic learn to lower
  gradients: list[tf.Tensor]  # of the summed loss, by the generator's trainable variables


class LossState(NamedTuple):
  """Running statistics by which L_b is clipped and normalised (METHOD section 6)."""

  moments: alrc.Moments
  mean: tf.Tensor  # scalar


def complete(
  networks: Networks,
  inputs: intensities.NetworkInputs,
  example: Example,
  settings: config.Loss,
  moments: alrc.Moments,
) -> tuple[Completion, alrc.Moments]:
  """Completes partial scans and differentiates the generator's loss (METHOD sections 6 and 8).

  Args:
    networks: whose generator learns; its target, if it has one, gives the reinforcement loss.
    inputs: how networks see intensities.
    example: the scans and their targets.
    settings: which losses.
    moments: of the generator's loss, by which ALRC clips it.

  Returns:
    The completion, and the next moments (the same ones without ALRC).
  """
  variables = networks.generator.trainable_variables
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(variables)
    completions = inputs.complete(networks.generator, example.partial, example.ranges, True)
    per_example = losses.completion_loss(completions, example.target, settings.generator_loss)
    if settings.sobel_weight:
      # lambda_S times the Sobel loss, at the scale of 10 * MSE (SI eq. S2).
      sobel = losses.sobel_loss(completions, example.target)
      per_example += settings.sobel_weight * losses.SCALE * sobel
    if settings.generator_alrc:
      per_example, moments = alrc.clip(
        per_example, moments, settings.alrc_deviations, settings.alrc_decay
      )
    total = tf.reduce_sum(per_example)
  gradients = replicas.total(tape.gradient(total, variables))
  reinforced = completions
  if networks.target_generator is not networks.generator:
    # A soft copy in inference mode: the loss that critic and actor learn changes slowly.
    reinforced = inputs.complete(networks.target_generator, example.partial, example.ranges, False)
  return Completion(
    losses.completion_loss(completions, example.target),
    losses.completion_loss(reinforced, example.target, settings.rl_loss),
    gradients,
  ), moments


def reinforcement_loss(
  per_example: tf.Tensor, settings: config.Loss, state: LossState
) -> tuple[tf.Tensor, LossState]:
  """Clips and normalises completion losses [B] into the L_b that the critic learns.

  Args:
    per_example: [B], losses of scans.
    settings: whether to clip, and whether to normalise.
    state: running statistics.

  Returns:
    [B], not differentiated, and the next statistics.
  """
  moments, mean = state
  if settings.alrc:
    per_example, moments = alrc.clip(
      per_example, moments, settings.alrc_deviations, settings.alrc_decay
    )
  if settings.normalise_loss:
    per_example, mean = alrc.normalise(per_example, mean, settings.loss_mean_decay)
  return tf.stop_gradient(per_example), LossState(moments, mean)
