"""Scans that are cut short in training, so that a microscope may stop early.

The first scans of a batch are whole and teach the critic; the others are cut after a
random segment and teach the actor's head what error stopping there has. The generator
learns from all of them.
"""

import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.types import ReplaySample


def num_uncut(experiment: config.Experiment) -> int:
  """Returns how many scans of a replica's share are not cut: half with `truncate`, else all."""
  batch = replicas.share_of(experiment.optimisation.batch_size)
  return batch - batch // 2 if experiment.scan.truncate else batch


def draw(experiment: config.Experiment, seed: tf.Tensor) -> tf.Tensor | None:
  """Draws the number of segments after which each scan of a batch is cut.

  Args:
    experiment: the configuration.
    seed: [2] int64.

  Returns:
    [B] int32, all segments for scans that are not cut; None if training cuts no scans.
  """
  scan, kept = experiment.scan, num_uncut(experiment)
  if not scan.truncate:
    return None
  rest = replicas.share_of(experiment.optimisation.batch_size) - kept
  cuts = replicas.drawn(tf.random.stateless_uniform, [rest], seed, 1, scan.decisions + 1, tf.int32)
  return tf.concat([tf.fill([kept], scan.segments), cuts], 0)


def weighted(sample: ReplaySample, final: tf.Tensor) -> tuple[ReplaySample, tf.Tensor]:
  """Gives cut scans, whose final loss is unknown, no weight in the critic's loss.

  Args:
    sample: B scans, the first of them whole.
    final: [num_uncut], their losses.

  Returns:
    The sample with weights whose mean is that of the whole scans', and losses [B], 0 where unknown.
  """
  batch, kept = sample.weights.shape[0], final.shape[0]
  weights = tf.pad(sample.weights[:kept] * (batch / kept), [[0, batch - kept]])
  return sample._replace(weights=weights), tf.pad(final, [[0, batch - kept]])
