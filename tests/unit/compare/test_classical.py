"""Completions without learning."""

import numpy as np
import pytest
from scipy import interpolate

from adaptive_stem_tf.compare import classical, plan
from tests import tiny

SIZE = 16


def scans(rng, images, share=0.3):
  """Returns partial scans of images at random pixels, another draw each."""
  masks = (rng.random(images.shape) < share).astype(np.float32)
  return np.concatenate([images * masks, masks], -1)


@pytest.mark.parametrize("name", classical.METHODS)
def test_what_was_measured_is_kept(name, rng):
  images = tiny.images(3)
  partial = scans(rng, images)
  completions = classical.complete(name, partial)
  assert completions.shape == images.shape and completions.dtype == np.float32
  measured = partial[..., 1:] > 0
  np.testing.assert_allclose(completions[measured], images[measured], atol=1e-6)
  errors = np.mean(np.square(completions - images), (1, 2, 3))
  assert (errors < 0.5 * images.var((1, 2, 3))).all()  # better than each image's mean


@pytest.mark.parametrize("name", classical.METHODS)
def test_a_constant_stays_constant(name, rng):
  partial = scans(rng, np.full([1, SIZE, SIZE, 1], 0.25, np.float32))
  np.testing.assert_allclose(classical.complete(name, partial), 0.25, atol=1e-5)


@pytest.mark.parametrize("name", classical.METHODS)
def test_scans_of_one_mask_are_completed_as_if_alone(name, rng):
  images = tiny.images(3)
  mask = (rng.random([1, SIZE, SIZE, 1]) < 0.3).astype(np.float32)
  partial = np.concatenate([images * mask, np.broadcast_to(mask, images.shape)], -1)
  alone = np.concatenate([classical.complete(name, one[None]) for one in partial])
  np.testing.assert_allclose(classical.complete(name, partial), alone, atol=1e-5)


def test_linear_reproduces_a_plane_within_the_hull():
  rows, columns = np.mgrid[:SIZE, :SIZE]
  plane = (0.05 * rows - 0.03 * columns).astype(np.float32)[None, ..., None]
  mask = np.zeros_like(plane)
  mask[0, ::5, ::5] = 1  # the corners, too
  np.testing.assert_allclose(
    classical.complete("linear", np.concatenate([plane * mask, mask], -1)), plane, atol=1e-5
  )


def test_points_on_a_line_have_no_triangles():
  mask, values = np.zeros([SIZE, SIZE], bool), np.zeros([SIZE, SIZE, 1])
  mask[4] = True
  values[4, :, 0] = np.arange(SIZE)
  np.testing.assert_array_equal(
    classical.linear(values, mask), np.tile(np.arange(SIZE), [SIZE, 1])[..., None]
  )


def test_nearest_against_scipys_interpolator(rng):
  image = rng.standard_normal([SIZE, SIZE, 1])
  mask = rng.random([SIZE, SIZE]) < 0.2
  points = np.argwhere(mask)
  distance = lambda chosen: np.hypot(
    *(np.stack(np.indices([SIZE, SIZE]), -1) - chosen).transpose(2, 0, 1)
  )
  tree = interpolate.NearestNDInterpolator(points, np.arange(len(points)))
  theirs = points[tree(np.stack(np.indices([SIZE, SIZE]), -1).reshape(-1, 2)).astype(int)].reshape(
    SIZE, SIZE, 2
  )
  values = {value: point for point, value in zip(map(tuple, points), image[mask][:, 0])}
  ours = np.array([values[value] for value in classical.nearest(image, mask).ravel()]).reshape(
    SIZE, SIZE, 2
  )
  np.testing.assert_allclose(distance(ours), distance(theirs))


def test_total_variation_keeps_an_edge_that_linear_blurs(rng):
  edge = np.where(np.arange(SIZE) < 8, -1.0, 1.0) * np.ones([SIZE, 1])
  partial = scans(rng, np.float32(edge)[None, ..., None], 0.15)
  error = {
    name: np.mean(np.square(classical.complete(name, partial)[0, ..., 0] - edge))
    for name in ("linear", "total_variation")
  }
  assert error["total_variation"] < 0.7 * error["linear"]


def test_plans_know_every_method():
  assert sorted(plan.CLASSICAL) == sorted(classical.METHODS)
