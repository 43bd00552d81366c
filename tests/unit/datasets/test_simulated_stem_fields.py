"""Tests of random fields and shapes."""

import numpy as np
import pytest

from datasets.simulated_stem import fields


def test_smooth_has_zero_mean_unit_variance_and_is_smooth():
  draws = np.stack([fields.smooth(np.random.default_rng(i), 64, 4) for i in range(400)])
  assert draws.mean() == pytest.approx(0, abs=0.1)
  assert draws.std() == pytest.approx(1, abs=0.15)
  assert np.abs(np.diff(draws, axis=1)).max() < 0.6


def test_thickness_stays_positive_and_flat_without_variation():
  draws = [fields.thickness(np.random.default_rng(i), 64, 2.0) for i in range(20)]
  assert min(d.min() for d in draws) >= 0.1
  np.testing.assert_array_equal(
    fields.thickness(np.random.default_rng(0), 64, 0.0), np.ones((64, 64))
  )


def test_straight_edge_is_a_signed_distance():
  distance = fields.edge_distance(np.random.default_rng(0), 40, 5.0, 0.0, angle=0.0)
  np.testing.assert_allclose(distance[:, 7], np.arange(40) - 25.0, atol=1e-4)


def test_grains_meet_at_zero_distance():
  labels, distance = fields.grain_labels(np.random.default_rng(1), 80, 3)
  assert set(np.unique(labels)) == {0, 1, 2}
  assert distance.min() >= 0
  boundary = labels[:, 1:] != labels[:, :-1]
  assert distance[:, 1:][boundary].max() < 1.5
  assert distance.max() > 10


@pytest.mark.parametrize("facets, peak", [(0, 2.0), (6, 1.4)])
def test_particle_has_its_size_and_thickness(facets, peak):
  centre = np.array([60.0, 70.0])
  window, thickness = fields.particle(np.random.default_rng(0), 128, centre, 20.0, facets)
  field = np.zeros((128, 128))
  field[window] = thickness
  assert field.max() == pytest.approx(peak, abs=0.02)
  assert np.count_nonzero(field) == pytest.approx(np.pi * 20**2, rel=0.25)
  rows, columns = np.nonzero(field)
  np.testing.assert_allclose([rows.mean(), columns.mean()], centre, atol=3)


@pytest.mark.parametrize("centre", [(-50.0, 20.0), (20.0, 150.0)])
def test_particle_outside_the_field_covers_nothing(centre):
  window, thickness = fields.particle(np.random.default_rng(0), 96, np.array(centre), 10.0, 0)
  assert thickness.size == 0 and np.zeros((96, 96))[window].size == 0


def test_sample_reads_the_nearest_px_and_clips():
  field = np.arange(9.0).reshape(3, 3)
  np.testing.assert_array_equal(
    fields.sample(field, np.array([[0.4, 1.6], [-5.0, 0.0], [1.0, 9.0]])), [2, 0, 5]
  )
