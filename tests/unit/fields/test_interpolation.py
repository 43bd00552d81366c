"""Interpolation: exact for planes, any positions; second order by two passes."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields import interpolation

SIZE = 2 * interpolation.MULTIPLE


def interpolate(image, mask):
  image = np.where(mask, image, 0).astype(np.float32)
  found = interpolation.interpolate(
    tf.constant(image[None, ..., None]), tf.constant(mask[None, ..., None].astype(np.float32))
  )
  return interpolation.Interpolation(*(value.numpy()[0, ..., 0] for value in found))


def scattered(share, seed=0, size=SIZE):
  return np.random.default_rng(seed).random([size, size]) < share


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 1.0])
def test_a_plane_comes_back(share):
  rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
  plane = 0.3 + 0.5 * rows - 0.7 * columns
  estimate = interpolate(plane, scattered(share))
  # Slopes of few, nearly collinear measurements are held back by the ridge.
  inner = np.s_[8:-8, 8:-8]
  atol = 0.06 if share < 0.05 else 0.02
  np.testing.assert_allclose(estimate.twice[inner], plane[inner], atol=atol)


def test_a_constant_comes_back_exactly():
  estimate = interpolate(np.full([SIZE, SIZE], 0.37), scattered(0.02))
  for value in (estimate.near, estimate.smooth, estimate.twice):
    np.testing.assert_allclose(value, 0.37, atol=1e-4)


def test_two_passes_follow_curvature_better_than_one():
  rows, columns = np.mgrid[:SIZE, :SIZE]
  waves = np.sin(rows / 5) * np.cos(columns / 6)
  estimate = interpolate(waves, scattered(0.08))
  once = np.kron(estimate.near, np.ones([2, 2]))
  error = lambda value: np.mean((value - waves)[8:-8, 8:-8] ** 2)
  assert error(estimate.twice) < 0.7 * error(once)


def test_smooth_averages_more_noise_than_near():
  noise = np.random.default_rng(1).normal(size=[SIZE, SIZE])
  estimate = interpolate(noise, scattered(0.1))
  assert np.std(estimate.smooth) < 0.8 * np.std(estimate.near)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_density_is_that_of_the_measurements(share):
  estimate = interpolate(np.zeros([SIZE, SIZE]), scattered(share))
  assert np.median(np.exp(estimate.log_density)) == pytest.approx(share, rel=0.3)


def test_dense_and_sparse_parts_have_bandwidths_of_their_own():
  mask = scattered(0.01)
  mask[:, SIZE // 2 :] = True
  density = np.exp(interpolate(np.zeros([SIZE, SIZE]), mask).log_density)
  assert density[:, -8:].min() > 0.5 > 0.1 > np.median(density[:, :8])


def test_nothing_measured_is_zero_everywhere():
  estimate = interpolate(np.ones([SIZE, SIZE]), np.zeros([SIZE, SIZE], bool))
  assert np.abs(estimate.twice).max() == 0


def moments(level, row, column, image, mask, blurs=1):
  """Returns weights, offsets and values of what a cell of a level sees of a field, by pixels."""
  side = 2 << level
  at, places = np.array([row, column]), np.argwhere(mask)
  cells = places // side
  taps = np.array([1.0, 2, 1]) / 4
  for _ in range(blurs - 1):
    taps = np.convolve(taps, [0.25, 0.5, 0.25])
  apart = cells - at + len(taps) // 2
  near = ((apart >= 0) & (apart < len(taps))).all(1)
  weights = taps[apart[near, 0]] * taps[apart[near, 1]]
  offsets = (places[near] + 0.5) / side - 0.5 - at
  return weights, offsets, image[mask][near]


@pytest.mark.parametrize(
  ("name", "blurs", "limits"), [("near", 1, (0.6, 1.6)), ("smooth", 2, (2.5, 5.0))]
)
def test_estimates_are_weighted_least_squares_of_the_level_that_sees_enough(name, blurs, limits):
  rows, columns = np.mgrid[:SIZE, :SIZE]
  image, mask = np.sin(rows / 9) + columns / 40, scattered(0.6, 5)
  estimate = getattr(interpolate(image, mask), name)
  for row, column in ((10, 12), (20, 9), (0, 0), (31, 17)):
    weights, offsets, values = moments(0, row, column, image, mask, blurs)
    assert 4 * blurs * weights.sum() > limits[1]  # the finest level alone
    mean, level = weights @ offsets / weights.sum(), weights @ values / weights.sum()
    centred = offsets - mean
    covariance = (weights[:, None] * centred).T @ centred / weights.sum() + 0.02 * np.eye(2)
    slopes = np.linalg.solve(covariance, (weights * (values - level)) @ centred / weights.sum())
    assert estimate[row, column] == pytest.approx(level - slopes @ mean, abs=2e-4)
