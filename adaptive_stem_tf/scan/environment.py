"""Reads intensities from specimens."""

import tensorflow as tf

from adaptive_stem_tf.scan import geometry


def read(specimens: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
  """Measures the pixels under the beam.

  Args:
    specimens: [B, S, S, 1], intensities in [-1, 1].
    positions: [B, n, 2], px.

  Returns:
    Intensities [B, n].
  """
  size = specimens.shape[1]
  pixels = tf.reshape(specimens, [-1, size * size])
  return tf.gather(pixels, geometry.pixel_index(positions, size), batch_dims=1)
