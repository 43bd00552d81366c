"""Completes partial scans without learning: every pixel takes the nearest measured one's
intensity.
"""

import sonnet as snt
import tensorflow as tf


@snt.allow_empty_variables
class NearestInfill(snt.Module):
  """Nearest-neighbour completion, with the face of a generator.

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
    [B, S, S] int32, row * S + column.
  """
  size = measured.shape[1]
  places = tf.range(size, dtype=tf.float32)
  squares = tf.square(places[:, None] - places)  # [S, S]
  far = 4.0 * size**2
  # [B, row, column, column']: the nearest measured column' of the same row.
  in_row = squares + far * (1.0 - measured)[:, :, None, :]
  distance, column = tf.reduce_min(in_row, -1), tf.argmin(in_row, -1, tf.int32)
  # [B, row, row', column]: over the rows, the nearest of those.
  row = tf.argmin(squares[:, :, None] + distance[:, None], 2, tf.int32)  # [B, row, column]
  chosen = tf.gather(tf.transpose(column, [0, 2, 1]), tf.transpose(row, [0, 2, 1]), batch_dims=2)
  return row * size + tf.transpose(chosen, [0, 2, 1])


def at(images: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
  """Returns images [B, S, S, C] at pixels [B, S, S] that `nearest` gives: [B, S, S, C]."""
  size, channels = images.shape[1], images.shape[3]
  taken = tf.gather(
    tf.reshape(images, [-1, size * size, channels]),
    tf.reshape(index, [-1, size * size]),
    batch_dims=1,
  )
  return tf.reshape(taken, [-1, size, size, channels])
