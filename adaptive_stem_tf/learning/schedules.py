"""Schedules: pure functions of the iteration `it` and the number of iterations N (METHOD section
7).
"""

import tensorflow as tf

from adaptive_stem_tf import config

_RELAXATION = 0.1  # share of N over which targets relax to their final rate, and supervision fades


def generator_rate(it: tf.Tensor, settings: config.Optimisation) -> tf.Tensor:
  """Returns the generator's learning rate.

  The envelope loses a quarter every fifth of training. The cyclic schedule multiplies
  it by 0.2 + 0.8 tri, tri a triangle wave 1 -> 0 -> 1 of half period max(1, floor(N/9)).
  A sweep rises exponentially, from `sweep_from` at the start to `sweep_to` at N.
  """
  it, n = tf.cast(it, tf.float32), settings.iterations
  if settings.schedule == "constant":
    return tf.fill(tf.shape(it), settings.generator_rate)
  if settings.schedule == "sweep":
    return settings.sweep_from * tf.pow(settings.sweep_to / settings.sweep_from, it / n)
  envelope = settings.generator_rate * tf.pow(0.75, it / (n / 5))
  if settings.schedule == "exponential":
    return envelope
  half = float(max(1, n // 9))
  triangle = tf.abs(1.0 - tf.math.floormod(it, 2 * half) / half)
  return envelope * (0.2 + 0.8 * triangle)


def target_decay(it: tf.Tensor, settings: config.Optimisation) -> tf.Tensor:
  """Returns rho = decay^(1 + max(0.1 N - it, 0) / (0.01 N)) of soft target updates."""
  it, n = tf.cast(it, tf.float32), float(settings.iterations)
  relaxing = tf.maximum(_RELAXATION * n - it, 0.0) / (0.1 * _RELAXATION * n)
  return tf.pow(settings.target_decay, 1.0 + relaxing)


def supervised_share(it: tf.Tensor, experiment: config.Experiment) -> tf.Tensor:
  """Returns the share s of supervised targets (SI S3)."""
  if experiment.loss.supervision != "start":
    return tf.constant(1.0 if experiment.loss.supervision == "full" else 0.0)
  end = _RELAXATION * experiment.optimisation.iterations
  return tf.maximum(1.0 - tf.cast(it, tf.float32) / end, 0.0)


def adding_probability(it: tf.Tensor, experiment: config.Experiment) -> tf.Tensor:
  """Returns the probability of adding scans to the replay: 1 / floor(it / (fraction N)), at most
  1.
  """
  period = experiment.replay.adding_decay * experiment.optimisation.iterations
  if not period:
    return tf.constant(1.0)
  return 1.0 / tf.maximum(tf.floor(tf.cast(it, tf.float32) / period), 1.0)


def exploration_scale(it: tf.Tensor, experiment: config.Experiment) -> tf.Tensor:
  """Returns the factor on exploration noise: (1 - 2 it / N)^2 in the first half, then 0, if it
  decays.
  """
  if not experiment.exploration.noise_decay:
    return tf.constant(1.0)
  left = 1.0 - 2.0 * tf.cast(it, tf.float32) / experiment.optimisation.iterations
  return tf.square(tf.maximum(left, 0.0))


def priority_beta(it: tf.Tensor, experiment: config.Experiment) -> tf.Tensor:
  """Returns the exponent of importance weights, rising linearly to 1 over training."""
  start = experiment.replay.priority_beta
  return start + (1.0 - start) * tf.minimum(
    tf.cast(it, tf.float32) / experiment.optimisation.iterations, 1.0
  )
