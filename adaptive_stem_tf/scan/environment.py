"""Reads intensities from specimens."""

from collections.abc import Callable

import tensorflow as tf

from adaptive_stem_tf.scan import geometry
from adaptive_stem_tf.specimens import low_pass

_SMOOTH = 2.5  # px, of the low-pass filter (METHOD decision 5)

# (specimens [B, S, S, 1], positions [B, n, 2] px) -> intensities [B, n]
Reader = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


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


def read_between(specimens: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
  """Measures between pixels, bilinearly: differentiable with respect to specimens and places.

  A place counts pixels: the place (i, j) has exactly the value of pixel (i, j), and places outside
  [0, S - 1] read the border. `read`, in contrast, takes the pixel that holds a position. A beam
  that misses its position by a displacement reads at that pixel + displacement
  (`distorted.DistortedReader`), so that both agree without a displacement.

  Args:
    specimens: [B, S, S, 1], intensities in [-1, 1].
    places: [B, n, 2], px.

  Returns:
    Intensities [B, n].
  """
  size = specimens.shape[1]
  pixels = tf.reshape(specimens, [-1, size * size])
  inside = tf.clip_by_value(places, 0.0, size - 1.0)
  floors = tf.stop_gradient(tf.floor(inside))
  share = inside - floors  # 0 on the border, so that the pixel beyond it does not count
  first = tf.cast(floors, tf.int32)
  second = tf.minimum(first + 1, size - 1)
  corner = lambda row, column: tf.gather(pixels, row[..., 0] * size + column[..., 1], batch_dims=1)
  upper, lower = (
    corner(row, first) + share[..., 1] * (corner(row, second) - corner(row, first))
    for row in (first, second)
  )
  return upper + share[..., 0] * (lower - upper)


def read_detailed(specimens: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
  """Measures between pixels without averaging noise away.

  Interpolation alone averages the noise of up to four pixels, so that a distorted scan of a noisy
  micrograph would be better than an undistorted one. The part that passes the targets' low-pass
  filter is read by `read_between`; the rest, mostly noise, is taken from the nearest pixel. At
  whole pixels this equals `read`; it is differentiable with respect to places through the filtered
  part.

  Args:
    specimens: [B, S, S, 1], intensities in [-1, 1].
    places: [B, n, 2], px, as in `read_between`.

  Returns:
    Intensities [B, n].
  """
  smooth, nearest = low_pass(specimens, _SMOOTH), places + 0.5
  return read(specimens, nearest) + (read_between(smooth, places) - read(smooth, nearest))
