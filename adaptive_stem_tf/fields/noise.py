"""Noise of measurements, estimated from neighbouring pixels (docs/FIELDS.md).

Evenly spread positions cannot tell noise from structure that is finer than their distance, since an
interpolation misses both. Neighbouring pixels can, since the probe blurs structure over
some of them: half the mean squared difference of neighbours is the variance of the noise (the
nugget of a variogram, Matheron 1963).
"""

from typing import NamedTuple

import tensorflow as tf

_OUTLIER = 8.0  # times the mean squared difference; greater ones are edges, not noise
_SHRINKAGE = 16.0  # pairs at which the slope is believed by half
_SPREAD = 0.02  # variance of intensities at which the slope is believed by half
_RANGE = 4.0  # factor by which the noise of dark and bright places may differ from the mean


class NoiseLaw(NamedTuple):
  """Variance of the noise, linear in intensity, [B, 1, 1, 1] each."""

  mean: tf.Tensor  # variance at the intensity `centre`
  slope: tf.Tensor  # of the variance with intensity; that of counts equals their mean
  centre: tf.Tensor
  pairs: tf.Tensor  # number of pairs that it was estimated from; without any, all are 0

  def variance(self, intensity: tf.Tensor) -> tf.Tensor:
    """Returns the variance of noise at intensities [B, H, W, 1]."""
    variance = self.mean + self.slope * (intensity - self.centre)
    return tf.clip_by_value(variance, self.mean / _RANGE, self.mean * _RANGE)


def estimate(residual: tf.Tensor, mask: tf.Tensor, intensity: tf.Tensor) -> NoiseLaw:
  """Estimates noise from measured pixels that are neighbours in a row or a column.

  Args:
    residual: [B, H, W, 1] measurement minus interpolation, so that slopes count little.
    mask: [B, H, W, 1], 1 where measured, else 0.
    intensity: [B, H, W, 1] of the interpolation.
  """
  both, squared, level = (tf.concat(parts, 1) for parts in zip(
    _pairs(residual, mask, intensity, 1), _pairs(residual, mask, intensity, 2)
  ))  # fmt: skip
  pairs = tf.reduce_sum(both, 1, keepdims=True)
  average = lambda values: tf.reduce_sum(both * values, 1, keepdims=True) / tf.maximum(pairs, 1.0)
  mean = average(squared)
  for _ in range(2):
    mean = average(tf.minimum(squared, _OUTLIER * mean))
  squared, centre = tf.minimum(squared, _OUTLIER * mean), average(level)
  covariance = average((squared - mean) * (level - centre))
  slope = covariance / (average(tf.square(level - centre)) + _SPREAD)
  slope *= pairs / (pairs + _SHRINKAGE)
  return NoiseLaw(*(value[..., None, None] for value in (mean, slope, centre, pairs)))


def _pairs(residual, mask, intensity, axis):
  """Returns, for all P pairs of neighbours along an axis, three tensors [B, P]: 1 if both were
  measured, else 0; half their squared difference; their mean intensity.
  """
  halves = lambda image: (
    (image[:, 1:], image[:, :-1]) if axis == 1 else (image[:, :, 1:], image[:, :, :-1])
  )
  flat = lambda image: tf.reshape(image, [tf.shape(image)[0], -1])
  (mask, other_mask), (one, other) = halves(mask), halves(residual)
  level, other_level = halves(intensity)
  return (
    flat(mask * other_mask),
    flat(0.5 * tf.square(one - other)),
    flat((level + other_level) / 2),
  )
