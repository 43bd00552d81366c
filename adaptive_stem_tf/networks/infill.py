"""Completes partial scans without learning: every pixel takes the nearest measured one's
intensity.
"""

import numpy as np
import sonnet as snt
import tensorflow as tf


@snt.allow_empty_variables
class NearestInfill(snt.Module):
  """Nearest-neighbour completion, called as a generator is.

  The exact nearest measured pixel is found in two passes, one per axis: the nearest in
  each pixel's own row, then the best of those over the rows of its column.
  """

  def __call__(self, partial_scan: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Completes scans.

    Args:
      partial_scan: [B, S, S, 2], measured intensity and mask.
      is_training: makes no difference.

    Returns:
      [B, S, S, 1] float32.
    """
    del is_training
    return at(partial_scan[..., :1], nearest(partial_scan[..., 1]))


def nearest(measured: tf.Tensor) -> tf.Tensor:
  """Finds the nearest measured pixel of every pixel.

  Args:
    measured: [B, S, S], 1 where measured, else 0.

  Returns:
    [B, S, S] int32, row * S + column. Of several that are equally near, the first.
  """
  size = measured.shape[1]
  far = 4.0 * size**2  # farther than any two pixels
  distance, column = _nearest_along(far * (1.0 - measured))  # in the same row
  across = [0, 2, 1]
  _, row = _nearest_along(tf.transpose(distance, across))  # over the rows, the nearest of those
  column = tf.gather(tf.transpose(column, across), row, batch_dims=2)
  return tf.transpose(row * size + column, across)


def _nearest_along(cost):
  """Returns, for every place j of the last axis of `cost` [B, N, S], the minimum over k of
  (j - k)^2 + cost_k, and the first such k: [B, N, S] each.

  It compares one k after the other: all at once, distances would be [B, N, S, S], which is 17 GB
  for 32 specimens of 512 px.
  """
  size = cost.shape[-1]
  places = tf.range(size)

  def compare(k, least, which):
    """Replaces the least cost wherever that of place k is less."""
    squares = tf.cast(tf.square(places - k), cost.dtype)
    here = squares + tf.gather(cost, k, axis=-1)[..., None]
    closer = here < least
    return k + 1, tf.where(closer, here, least), tf.where(closer, k, which)

  start = (tf.constant(0), tf.fill(tf.shape(cost), np.inf), tf.zeros_like(cost, tf.int32))
  _, least, which = tf.while_loop(lambda k, *_: k < size, compare, start)
  return least, which


def at(images: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
  """Returns the values of images [B, S, S, C] at pixels [B, S, S] of `nearest`: [B, S, S, C]."""
  size, channels = images.shape[1], images.shape[3]
  values = tf.gather(
    tf.reshape(images, [-1, size * size, channels]),
    tf.reshape(index, [-1, size * size]),
    batch_dims=1,
  )
  return tf.reshape(values, [-1, size, size, channels])
