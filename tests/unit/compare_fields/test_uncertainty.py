"""Figures of uncertainty against arithmetic by hand, and on noise whose law is known."""

import numpy as np
import pytest

from adaptive_stem_tf.compare_fields import uncertainty


def test_area_by_hand():
  squared = np.array([[1.0, 2.0], [3.0, 6.0]])
  # Surest first: means 1, 1.5, 2, 3 of what is left, over 3.
  assert uncertainty.sparsification_area(squared, squared) == pytest.approx(7.5 / 12)
  # Surest last: 6, 4.5, 11/3, 3.
  area = (6 + 4.5 + 11 / 3 + 3) / 12
  assert uncertainty.sparsification_area(-squared, squared) == pytest.approx(area)


def test_bins_are_of_as_many_pixels_and_ordered_by_what_is_expected():
  variance = np.arange(20.0)[::-1].reshape(4, 5)
  expected, observed = uncertainty.bins(variance, 2 * variance)
  assert expected == [0.5 + 2 * i for i in range(10)]
  assert observed == [1.0 + 4 * i for i in range(10)]


def test_intervals_of_normal_errors_hold_what_they_say(rng):
  deviation = rng.uniform(0.1, 0.5, [300, 300])
  mean, target = np.zeros([300, 300]), deviation * rng.standard_normal([300, 300])
  found = uncertainty.figures(mean, deviation**2, target, np.ones([300, 300]))
  assert found["within_68"] == pytest.approx(0.6827, abs=0.01)
  assert found["within_95"] == pytest.approx(0.95, abs=0.005)
  np.testing.assert_allclose(found["observed"], found["expected"], rtol=0.1)
  assert found["area_oracle"] < found["area"] < found["area_local_variance"]


def test_local_variance_is_of_measurements_alone(rng):
  image = np.zeros([60, 60])
  image[:, 30:] = rng.standard_normal([60, 30])
  mask = rng.random([60, 60]) < 0.3
  local = uncertainty.local_variance(np.where(mask, image, 99.0), mask)
  assert local[:, :15].max() < 1e-9
  assert local[:, 45:].mean() == pytest.approx(1.0, abs=0.3)
