"""Draws scans as images: measured intensities and where they were measured."""

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import geometry, steering


def scan_positions(actions: tf.Tensor, scan: config.ScanGeometry) -> tf.Tensor:
  """Returns every probing position [B, T * n, 2] px, from actions [B, T, A]."""
  positions = geometry.probe_positions(*steering.segments(actions, scan), scan)
  return tf.reshape(positions, [-1, scan.segments * scan.probes, 2])


def partial_scan(
  observations: tf.Tensor,
  actions: tf.Tensor,
  scan: config.ScanGeometry,
  measured: tf.Tensor | None = None,
) -> tf.Tensor:
  """Draws a scan: the generator's input.

  Args:
    observations: [B, T, n], intensities.
    actions: [B, T, A].
    scan: the geometry.
    measured: [B] int32, number of segments to draw, from the first; None for all.

  Returns:
    [B, S, S, 2]: intensity (0 where nothing was measured, the last one where a pixel was measured
    repeatedly) and a binary mask of measured pixels.
  """
  count = None if measured is None else measured * scan.probes
  return draw_at(observations, scan_positions(actions, scan), scan.image_size, count)


def draw_at(
  observations: tf.Tensor, positions: tf.Tensor, size: int, limit: tf.Tensor | None = None
) -> tf.Tensor:
  """Draws intensities that were measured at given positions as partial scans [B, size, size, 2].

  Args:
    observations: [B, ...], N intensities of each scan.
    positions: [B, N, 2] px.
    size: side of the image, px.
    limit: [B] int32, number of intensities to draw, from the first; None for all.
  """
  pixels = geometry.pixel_index(positions, size)
  batch, count = pixels.shape[0] or tf.shape(pixels)[0], pixels.shape[1]
  # The last visit of a pixel wins. Unlike a plain scatter, the maximum does not depend on the order
  # of writes.
  visit = tf.broadcast_to(tf.range(1, count + 1)[None], [batch, count])
  if limit is not None:
    visit = tf.where(visit <= limit[:, None], visit, 0)
  rows = tf.broadcast_to(tf.range(batch)[:, None], [batch, count])
  last = tf.tensor_scatter_nd_max(
    tf.zeros([batch, size * size], tf.int32), tf.stack([rows, pixels], -1), visit
  )
  # Visit 0 stands for pixels that were not measured, of intensity 0.
  values = tf.pad(tf.reshape(observations, [batch, count]), [[0, 0], [1, 0]])
  image = tf.gather(values, last, batch_dims=1)
  mask = tf.cast(last > 0, image.dtype)
  return tf.reshape(tf.stack([image, mask], -1), [batch, size, size, 2])


def distinct_share(partial: tf.Tensor) -> tf.Tensor:
  """Returns the share of pixels that were measured [B], from partial scans [B, S, S, 2]."""
  return tf.reduce_mean(partial[..., 1], [1, 2])
