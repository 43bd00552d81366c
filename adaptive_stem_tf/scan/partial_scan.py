"""Draws scans as images: measured intensities and where they were measured."""

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import geometry


def scan_pixels(actions: tf.Tensor, scan: config.Scan) -> tf.Tensor:
  """Returns the pixel of each probing position [B, T * n] int32, from actions [B, T, 1] rad."""
  directions = geometry.segment_directions(actions, scan)
  positions = geometry.probe_positions(geometry.segment_starts(directions, scan), directions, scan)
  index = geometry.pixel_index(positions, scan.image_size)
  return tf.reshape(index, [-1, scan.segments * scan.probes])


def partial_scan(observations: tf.Tensor, actions: tf.Tensor, scan: config.Scan) -> tf.Tensor:
  """Draws a scan: the generator's input.

  Args:
    observations: [B, T, n], intensities.
    actions: [B, T, 1], rad.
    scan: the geometry.

  Returns:
    [B, S, S, 2]: intensity (0 where not measured; the last one where measured
    repeatedly) and a binary mask of measured pixels.
  """
  return draw(observations, scan_pixels(actions, scan), scan.image_size)


def draw(observations: tf.Tensor, pixels: tf.Tensor, size: int) -> tf.Tensor:
  """Draws intensities [B, ...] measured at pixels [B, N] int32 as a partial scan [B, size, size, 2]."""
  batch, count = pixels.shape[0] or tf.shape(pixels)[0], pixels.shape[1]
  # The greatest visit number wins: unlike a plain scatter, this is the same whatever the order of writes.
  visit = tf.broadcast_to(tf.range(1, count + 1)[None], [batch, count])
  rows = tf.broadcast_to(tf.range(batch)[:, None], [batch, count])
  last = tf.tensor_scatter_nd_max(
      tf.zeros([batch, size * size], tf.int32), tf.stack([rows, pixels], -1), visit)
  values = tf.pad(tf.reshape(observations, [batch, count]), [[0, 0], [1, 0]])  # visit 0: not measured
  image = tf.gather(values, last, batch_dims=1)
  mask = tf.cast(last > 0, image.dtype)
  return tf.reshape(tf.stack([image, mask], -1), [batch, size, size, 2])


def distinct_share(partial: tf.Tensor) -> tf.Tensor:
  """Returns the share of pixels that were measured [B], from partial scans [B, S, S, 2]."""
  return tf.reduce_mean(partial[..., 1], [1, 2])
