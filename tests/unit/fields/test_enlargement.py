"""Planes of cells at twice the resolution, and blurred moments, against their definitions."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import interpolation


def _bilinear(planes, row, column):
  """Returns the average of the four planes nearest to a finer cell, at its centre."""
  height, width, _ = planes.shape
  place = (row / 2 - 0.25, column / 2 - 0.25)
  first = [int(np.floor(value)) for value in place]
  total = np.zeros(3)
  for y in (first[0], first[0] + 1):
    for x in (first[1], first[1] + 1):
      weight = (1 - abs(place[0] - y)) * (1 - abs(place[1] - x))
      at = (min(max(y, 0), height - 1), min(max(x, 0), width - 1))
      value, *slopes = planes[at]
      value += slopes[0] * (place[0] - at[0]) + slopes[1] * (place[1] - at[1])
      total += weight * np.array([value, slopes[0] / 2, slopes[1] / 2])
  return total


def test_a_finer_cell_averages_the_four_nearest_planes_at_its_place(rng):
  planes = rng.normal(size=[1, 3, 4, 3]).astype(np.float32)
  large = interpolation._enlarge(tf.constant(planes)).numpy()
  expected = [[_bilinear(planes[0], row, column) for column in range(8)] for row in range(6)]
  np.testing.assert_allclose(large[0], expected, rtol=1e-5, atol=1e-5)


def test_values_alone_are_the_values(rng):
  planes = tf.constant(rng.normal(size=[2, 5, 3, 3]), tf.float32)
  values = interpolation._enlarge(planes, values_only=True)
  np.testing.assert_allclose(values, interpolation._enlarge(planes)[..., :1], atol=1e-6)


def test_a_plane_stays_a_plane_up_to_the_border():
  rows, columns = np.mgrid[:4, :6].astype(np.float32)
  planes = np.stack([1 + 2 * rows - 3 * columns, 2 + 0 * rows, 0 * rows - 3], -1)[None]
  large = interpolation._enlarge(tf.constant(planes)).numpy()[0]
  rows, columns = np.mgrid[:8, :12] / 2 - 0.25
  np.testing.assert_allclose(large[..., 0], 1 + 2 * rows - 3 * columns, atol=1e-5)
  np.testing.assert_allclose(large[..., 1], 1.0, atol=1e-6)


def test_moments_beyond_the_border_count_in_the_second_blur():
  level = np.zeros([1, 4, 4, 3], np.float32)
  level[0, 0, 0, 0] = 16.0
  once, twice = interpolation._blur([tf.constant(level)], ("1", "y", "x"))
  taps = np.array([1, 2, 1]) / 4
  wide = np.convolve(taps, taps)
  np.testing.assert_allclose(once[0][0, :2, 0, 0], 16 * taps[1] * taps[1:], atol=1e-6)
  np.testing.assert_allclose(twice[0][0, :3, 0, 0], 16 * wide[2] * wide[2:], atol=1e-6)
