"""Triangles drawn one by one are SciPy's interpolation."""

import numpy as np
import pytest

from adaptive_stem_tf.compare import classical
from adaptive_stem_tf.compare_fields import delaunay


@pytest.mark.parametrize(("shape", "count"), [((40, 61), 150), ((33, 20), 5), ((64, 64), 2000)])
def test_it_is_the_interpolation_of_scipy(rng, shape, count):
  image, mask = rng.standard_normal(shape), np.zeros(shape, bool)
  mask.flat[rng.choice(mask.size, count, replace=False)] = True
  wanted = classical.linear(image[..., None], mask)[..., 0]
  np.testing.assert_allclose(delaunay.linear(image, mask), wanted, atol=1e-12)


def test_planes_are_exact_inside_the_hull():
  plane = 0.1 * np.arange(30)[:, None] - 0.2 * np.arange(30)
  mask = np.zeros([30, 30], bool)
  mask[::29, ::29] = mask[11, 17] = True
  np.testing.assert_allclose(delaunay.linear(plane, mask), plane, atol=1e-12)


def test_positions_on_a_line_have_no_triangles():
  image, mask = np.arange(25.0).reshape(5, 5), np.zeros([5, 5], bool)
  mask[2] = True
  np.testing.assert_array_equal(delaunay.linear(image, mask), np.tile(image[2], [5, 1]))
