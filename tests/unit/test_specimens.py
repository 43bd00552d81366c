"""Normalising, transforming and filtering images."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import specimens


def image(*rows):
  return np.array(rows, np.float32)[None, ..., None]


def test_normalise_by_hand():
  images = image([2.0, 4.0], [3.0, 6.0])
  assert specimens.normalise(images) == (0, 0)
  np.testing.assert_array_equal(images, image([-1.0, 0.0], [-0.5, 1.0]))


def test_normalise_is_image_by_image():
  images = np.concatenate([image([0.0, 1.0], [0.0, 0.0]), image([0.0, 100.0], [50.0, 0.0])])
  specimens.normalise(images)
  np.testing.assert_array_equal(images[..., 0], [[[-1, 1], [-1, -1]], [[-1, 1], [0, -1]]])


def test_non_finite_pixels_become_0_before_scaling_and_are_counted():
  images = image([np.nan, np.inf, -np.inf], [2.0, 4.0, 1.0], [1.0, 1.0, 1.0])
  assert specimens.normalise(images) == (3, 0)
  np.testing.assert_array_equal(
    images, image([-1.0, -1.0, -1.0], [0.0, 1.0, -0.5], [-0.5, -0.5, -0.5])
  )


def test_constant_images_become_0():
  images = np.concatenate(
    [image([7.0, 7.0], [7.0, 7.0 + 5e-7]), image([np.nan, np.nan], [np.nan, np.nan])]
  )
  assert specimens.normalise(images) == (4, 2)
  assert not images.any()


def test_normalised_images_span_the_range(rng):
  images = np.float32(1e4 + 300 * rng.standard_normal([20, 9, 9, 1]))
  specimens.normalise(images)
  assert np.abs(images).max() <= 1.0
  np.testing.assert_allclose(images.min((1, 2, 3)), -1.0, atol=3e-6)
  np.testing.assert_allclose(images.max((1, 2, 3)), 1.0, atol=3e-6)


def by_number(images):
  return [specimens.transform(images, tf.fill([len(images)], k)).numpy() for k in range(8)]


def test_transforms_are_the_dihedral_group(rng):
  square = rng.standard_normal([5, 5])
  turned = [np.rot90(square, k) for k in range(4)]
  group = {part.tobytes() for part in [*turned, *(part.T for part in turned)]}
  ours = {part[0, ..., 0].tobytes() for part in by_number(square[None, ..., None])}
  assert len(group) == 8
  assert ours == group


def test_transform_by_number(rng):
  square = rng.standard_normal([5, 5])
  expected = [square, square[::-1], square[:, ::-1], square[::-1, ::-1]]
  expected += [part.T for part in expected]
  for ours, wanted in zip(by_number(square[None, ..., None]), expected, strict=True):
    np.testing.assert_array_equal(ours[0, ..., 0], wanted)


def test_each_image_has_its_own_transform_and_channels_stay_together(rng):
  images = rng.standard_normal([8, 4, 4, 2])
  transformed = specimens.transform(tf.constant(images), tf.range(8))
  for k in range(8):
    np.testing.assert_array_equal(transformed[k], by_number(images[k : k + 1])[k][0])


@pytest.mark.parametrize("sigma", [0.7, 2.5])
def test_low_pass_is_a_normalised_5x5_gaussian_with_mirrored_borders(rng, sigma):
  images = rng.standard_normal([2, 9, 9, 1]).astype(np.float32)
  row, column = np.mgrid[-2:3, -2:3]
  kernel = np.exp(-(row**2 + column**2) / (2 * sigma**2))
  expected = [
    ndimage.correlate(part[..., 0], kernel / kernel.sum(), mode="mirror") for part in images
  ]
  np.testing.assert_allclose(
    specimens.low_pass(tf.constant(images), sigma)[..., 0], expected, atol=1e-6
  )


def test_low_pass_keeps_constants_and_sigma_0_keeps_everything(rng):
  np.testing.assert_allclose(specimens.low_pass(tf.fill([1, 8, 8, 1], 0.3), 2.5), 0.3, rtol=1e-6)
  images = tf.constant(rng.standard_normal([1, 8, 8, 1]), tf.float32)
  assert specimens.low_pass(images, 0.0) is images


def test_dose_noise_has_the_mean_and_variance_of_counts():
  images = np.full([1, 300, 300, 1], 0.5, np.float32)
  noisy = specimens.with_dose_noise(images, 20, seed=1)
  assert noisy.dtype == np.float32
  counts = 10 * (noisy + 1)  # N_e / 2 of them at 0
  np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
  assert counts.mean() == pytest.approx(15, rel=0.01) and counts.var() == pytest.approx(
    15, rel=0.03
  )
  assert (specimens.with_dose_noise(-np.ones([1, 4, 4, 1]), 20, 0) == -1).all()  # black stays black
  np.testing.assert_array_equal(noisy, specimens.with_dose_noise(images, 20, seed=1))
  assert (noisy != specimens.with_dose_noise(images, 20, seed=2)).any()
