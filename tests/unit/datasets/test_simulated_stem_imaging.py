"""Tests of the probe, the scan, the dose and the detector against their definitions."""

import numpy as np
import pytest

from datasets.simulated_stem import imaging


def _moments(image):
  """Total, centroid and variance along each axis."""
  rows, columns = np.indices(image.shape)
  total = image.sum()
  centroid = np.array([(image * axis).sum() / total for axis in (rows, columns)])
  variance = np.array(
    [(image * (axis - c) ** 2).sum() / total for axis, c in zip((rows, columns), centroid)]
  )
  return total, centroid, variance


def test_splat_keeps_weight_and_position():
  image = imaging.splat(np.array([[10.25, 20.75, 3.0], [-1.0, 5.0, 100.0], [5.0, 40.5, 100.0]]), 32)
  total, centroid, _ = _moments(image)
  assert total == pytest.approx(3.0)
  np.testing.assert_allclose(centroid, [10.25, 20.75], atol=1e-5)


def test_probe_is_a_gaussian_with_tails():
  point = np.zeros((128, 128), np.float32)
  point[64, 64] = 2.0
  for tail, variance in [(0.0, 2.0**2), (0.2, 0.8 * 2.0**2 + 0.2 * 6.0**2)]:
    total, centroid, measured = _moments(imaging.scan(point, 2.0, tail, np.zeros(128)))
    assert total == pytest.approx(2.0, rel=1e-4)
    np.testing.assert_allclose(centroid, [64, 64], atol=0.01)
    np.testing.assert_allclose(measured, variance, rtol=0.01)


def test_row_shift_displaces_the_probe_along_each_row():
  specimen = np.random.default_rng(0).random((64, 64), np.float32)
  steady = imaging.scan(specimen, 1.5, 0.1, np.zeros(64))
  shifts = np.zeros(64)
  shifts[10] = 3.0
  moved = imaging.scan(specimen, 1.5, 0.1, shifts)
  np.testing.assert_allclose(moved[10], np.roll(steady[10], -3), atol=1e-4)
  np.testing.assert_allclose(np.delete(moved, 10, 0), np.delete(steady, 10, 0), atol=1e-5)


def test_row_shifts_have_their_jitter_and_drift():
  rng = np.random.default_rng(0)
  jitters = np.stack([imaging.row_shifts(rng, 200, 0.5, 0.0) for _ in range(300)])
  # The difference of neighbouring lines: two independent shifts, and one step of a walk a third as
  # large.
  assert np.diff(jitters, axis=1).std() == pytest.approx(0.5 * np.sqrt(2 + 1 / 9), rel=0.02)
  np.testing.assert_allclose(imaging.row_shifts(rng, 3, 0.0, 4.0), [-2, 0, 2])


def test_area_average_by_hand():
  np.testing.assert_array_equal(
    imaging.area_average(np.arange(16.0).reshape(4, 4), 2), [[2.5, 4.5], [10.5, 12.5]]
  )


@pytest.mark.parametrize("fraction, dose", [(0.02, 100.0), (0.2, 100.0), (0.2, 5000.0)])
def test_shot_noise_is_poisson(fraction, dose):
  counts = dose * imaging.shot_noise(np.random.default_rng(0), np.full((400, 400), fraction), dose)
  np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
  assert counts.mean() == pytest.approx(dose * fraction, rel=0.02)
  assert counts.var() == pytest.approx(counts.mean(), rel=0.02)


def test_flicker_scales_whole_rows():
  image = imaging.flicker(np.random.default_rng(0), np.ones((2000, 3)), 0.05)
  assert np.ptp(image, axis=1).max() == 0
  assert image[:, 0].mean() == pytest.approx(1, abs=0.005)
  assert image[:, 0].std() == pytest.approx(0.05, rel=0.05)


def test_afterglow_by_hand():
  np.testing.assert_allclose(
    imaging.afterglow(np.array([[0.0, 8.0, 0.0, 0.0]]), 0.5), [[0, 4, 2, 1]]
  )
  np.testing.assert_allclose(imaging.afterglow(np.full((2, 5), 3.0), 0.4), np.full((2, 5), 3.0))
