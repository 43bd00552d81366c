"""State of scans of whole fields, and its averages over cells, which policies see."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf.fields import maps

FEATURES = 13
_LIMIT = 5.0  # features are clipped to this
_FLAT = 0.02  # share of the mean squared gradient that is added everywhere (FIELDS section 1)
_TINY = 1e-8


class Completion(NamedTuple):
  """A generator's estimates of fields, [B, H, W, 1] each (networks.field_generator)."""

  mean: tf.Tensor  # the completion
  log_variance: tf.Tensor  # of its error
  plain: tf.Tensor  # the interpolation that it corrects
  smooth: tf.Tensor  # the interpolation of a wider bandwidth


class FieldState(NamedTuple):
  """All that is known of fields while they are scanned."""

  partial: tf.Tensor  # [B, H, W, 1] measured intensities, 0 where nothing was measured
  mask: tf.Tensor  # [B, H, W, 1], 1 where measured
  valid: tf.Tensor  # [B, H, W, 1], 1 inside the field, 0 where it was padded
  completion: Completion
  surprise: tf.Tensor  # [B, H, W, 1] squared error of the previous completion at new positions
  recent: tf.Tensor  # [B, H, W, 1], 1 at the positions of the last round
  progress: tf.Tensor  # [B], rounds done over rounds in all, 0 to 1
  coverage: tf.Tensor  # [B], the whole budget over the number of pixels


class Cells(NamedTuple):
  """Averages over cells that a policy decides from; h = ceil(H / cell), w likewise."""

  features: tf.Tensor  # [B, h, w, FEATURES]
  gradient: tf.Tensor  # [B, h, w, 1] log of the mean squared gradient, centred over the field
  uncertainty: tf.Tensor  # [B, h, w, 1] log of the expected squared error, not centred
  valid: tf.Tensor  # [B, h, w, 1] share of a cell that lies in the field


def see(state: FieldState, cell: int, whole: bool = False) -> Cells:
  """Returns the features of every cell, from which a policy decides.

  Args:
    state: of the fields.
    cell: width of a cell, px.
    whole: whether H and W are multiples of `cell` even if the graph does not know them yet.
  """
  valid = maps.to_cells(state.valid, cell, whole)
  weight = tf.maximum(maps.sum_in_cells(state.valid, cell, whole), _TINY)
  inside = lambda image: maps.sum_in_cells(image * state.valid, cell, whole) / weight
  centred = lambda image: image - field_mean(image, valid)
  completion, mean = state.completion, state.completion.mean
  density, recent = inside(state.mask), inside(state.recent)
  gradient = log_gradient(completion.plain, inside, valid)
  variance = inside(tf.exp(completion.log_variance))
  uncertainty = tf.math.log(variance + _TINY)
  average = inside(mean)
  spread = tf.math.log(inside(tf.square(mean)) - tf.square(average) + 1e-5)
  noise = inside(state.mask * tf.square(state.partial - completion.smooth)) / (density + 1e-3)
  expected = inside(state.recent * tf.exp(completion.log_variance))
  surprise = tf.math.log((inside(state.surprise) + _TINY) / (expected + _TINY))
  correction = inside(tf.square(mean - completion.plain))
  level = lambda value: value[:, None, None, None] + tf.zeros_like(average)
  contrast = tf.math.log(field_mean(tf.square(centred(average)), valid) + 1e-4)
  # Factors and offsets bring features to about the same size. Without recent positions in a cell,
  # nothing is surprising there.
  features = [
    gradient, centred(log_gradient(mean, inside, valid)), centred(uncertainty),
    uncertainty - contrast, tf.math.log(density + 1e-3) - level(tf.math.log(state.coverage)),
    2.0 * average, centred(spread), tf.math.log(noise + 1e-5) - uncertainty,
    surprise * tf.minimum(1.0, 16.0 * recent), 16.0 * recent,
    tf.math.log(correction + _TINY) - uncertainty, 2.0 * level(state.progress),
    level(tf.math.log(state.coverage) + 3.0)]  # fmt: skip
  features = tf.clip_by_value(tf.concat(features, -1), -_LIMIT, _LIMIT)
  return Cells(features, gradient, uncertainty, valid)


def log_gradient(
  image: tf.Tensor, inside: Callable[[tf.Tensor], tf.Tensor], valid: tf.Tensor
) -> tf.Tensor:
  """Returns the log of the mean squared gradient of each cell, centred over the field.

  Args:
    image: [B, H, W, 1].
    inside: averages an image over cells.
    valid: [B, h, w, 1] share of a cell that lies in the field.
  """
  energy = inside(maps.squared_gradient(image))
  log_energy = tf.math.log(energy + _FLAT * field_mean(energy, valid) + 1e-7)
  return log_energy - field_mean(log_energy, valid)


def field_mean(cells: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns the mean [B, 1, 1, C] over the cells [B, h, w, C] of a field, weighted by `valid`."""
  total = tf.reduce_sum(valid, [1, 2], keepdims=True)
  return tf.reduce_sum(cells * valid, [1, 2], keepdims=True) / tf.maximum(total, _TINY)
