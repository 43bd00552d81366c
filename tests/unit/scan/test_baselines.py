"""Fixed scan paths."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import baselines, geometry, partial_scan
from tests import tiny

PAPER = config.ScanGeometry()


def polar(positions):
  offset = positions.astype(np.float64) - 48
  return np.hypot(*offset.T), np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))


@pytest.mark.parametrize("pitch", baselines.PITCHES)
def test_a_spiral_has_its_spacing_along_the_curve_and_its_pitch_across(pitch):
  positions = baselines.spiral(PAPER, pitch)
  assert positions.shape == (400, 2) and positions.dtype == np.float32
  np.testing.assert_array_equal(positions[0], [48, 48])
  radius, angle = polar(positions)
  growth, turned = pitch / (2 * math.pi), angle - math.pi / 4
  # Archimedes: radius grows with the angle
  np.testing.assert_allclose(radius[1:], growth * turned[1:], atol=1e-4)
  # Integrates the curve's length between neighbours.
  fine = np.linspace(0, turned[-1], 200_001)
  curve = growth * fine[:, None] * np.stack([np.cos(fine), np.sin(fine)], -1)
  length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
  turned[0] = 0
  steps = np.diff(np.interp(turned, fine, length))
  np.testing.assert_allclose(steps, PAPER.spacing, rtol=0.02)


def test_chords_of_a_spiral_are_hardly_shorter_than_its_spacing():
  chords = np.hypot(*np.diff(baselines.spiral(PAPER), axis=0).T)
  assert chords.max() <= PAPER.spacing * 1.0001
  np.testing.assert_allclose(chords[4:], PAPER.spacing, rtol=0.02)


def test_pitch_12_8_fills_the_inscribed_circle():
  radius, _ = polar(baselines.spiral(PAPER, 12.8))
  assert 45 < radius.max() <= 48


@pytest.mark.parametrize("pitch", baselines.PITCHES)
def test_a_spiral_polygon_has_whole_segments_from_the_diagonal_on(pitch):
  angles = baselines.spiral_polygon(PAPER, pitch)
  assert angles.shape == (20,)
  assert angles[0] == pytest.approx(geometry.FIRST_ANGLE, abs=1e-6)
  positions = baselines.polygon_positions(angles, PAPER)
  assert positions.shape == (400, 2)
  starts = positions[::20].astype(np.float64)
  chords = np.hypot(*np.diff(starts, axis=0).T)
  np.testing.assert_allclose(chords, 28.2843, atol=1e-3)
  np.testing.assert_allclose(positions[:20], 48 + np.stack([np.arange(20)] * 2, -1), atol=1e-4)
  radius, angle = polar(starts)
  growth = pitch / (2 * math.pi)
  # Corners lie on one spiral, each further out.
  np.testing.assert_allclose(np.diff(radius[1:]), growth * np.diff(angle[1:]), atol=1e-3)
  assert (np.diff(radius) > 0).all()


def test_polygon_positions_are_those_of_an_adaptive_scan():
  scan = tiny.experiment().scan
  angles = np.float32([geometry.FIRST_ANGLE, 1.0, -2.0, 3.0])
  actions = np.roll(angles, -1)[None, :, None]  # action t starts segment t + 1
  np.testing.assert_allclose(
    baselines.polygon_positions(angles, scan),
    partial_scan.scan_positions(actions, scan)[0],
    atol=1e-5,
  )


def test_a_grid_of_400_positions_is_20_by_20_and_centred():
  positions = baselines.grid(PAPER)
  assert positions.shape == (400, 2) and positions.dtype == np.float32
  np.testing.assert_allclose(np.unique(positions[:, 0]), 2.4 + 4.8 * np.arange(20), rtol=1e-6)
  np.testing.assert_allclose(positions[:20, 1], 2.4 + 4.8 * np.arange(20), rtol=1e-6)
  assert len(np.unique(positions.astype(int), axis=0)) == 400


def test_raster_lines_are_evenly_apart_and_about_a_spacing_along():
  positions = baselines.raster(PAPER)  # 400 sqrt(2) px make 5.9 lines of 96 px
  np.testing.assert_allclose(np.unique(positions[:, 0]), [8, 24, 40, 56, 72, 88])
  counts = [np.count_nonzero(positions[:, 0] == row) for row in (8, 24, 40, 56, 72, 88)]
  assert counts == [66, 67, 67, 66, 67, 67]
  along = np.diff(positions[:66, 1])
  np.testing.assert_allclose(along, 96 / 66, rtol=1e-4)


def test_a_lattice_by_hand():
  scan = config.ScanGeometry(image_size=12, segments=7, probes=1)  # 7 positions in 3 rows: 2, 2, 3
  np.testing.assert_allclose(
    baselines.lattice(scan, 3), [[2, 3], [2, 9], [6, 3], [6, 9], [10, 2], [10, 6], [10, 10]]
  )


@hypothesis.given(
  segments=st.integers(3, 40), probes=st.integers(1, 40), quarter=st.integers(3, 60)
)
def test_lattices_have_exactly_the_positions_of_the_scan(segments, probes, quarter):
  scan = config.ScanGeometry(image_size=4 * quarter, segments=segments, probes=probes)
  for positions in (baselines.grid(scan), baselines.raster(scan)):
    assert positions.shape == (segments * probes, 2)
    assert positions.min() > 0 and positions.max() < scan.image_size
    assert np.ptp(np.unique(positions[:, 0], return_counts=True)[1]) <= 1


@hypothesis.given(segments=st.integers(3, 40), probes=st.integers(1, 40))
def test_cells_cover_the_specimen_once(segments, probes):
  scan = config.ScanGeometry(segments=segments, probes=probes)
  corners, sizes = baselines.cells(scan, baselines.grid_rows(scan))
  assert sizes.prod(1).sum() == pytest.approx(96**2)
  assert (corners + sizes).max() == pytest.approx(96)


def test_the_zigzag_is_nearly_a_grid_of_all_the_image():
  corners = baselines.zigzag_corners(PAPER)
  assert corners.shape == (21, 2)
  np.testing.assert_allclose(
    corners[[0, 1, -1]], [[2.4, 2.4], [6.96, 93.6], [93.6, 2.4]], atol=1e-4
  )
  positions = baselines.polyline(corners, PAPER)
  assert positions.shape == (400, 2)
  np.testing.assert_allclose(positions[::20], corners[:-1], atol=1e-4)
  steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
  np.testing.assert_allclose(steps, np.hypot(91.2, 4.56) / 20, rtol=1e-4)
  rows, columns = np.divmod(np.arange(96 * 96), 96)
  gaps = np.linalg.norm(
    positions[:, None] - np.stack([rows, columns], -1)[None] - 0.5, axis=-1
  ).min(0)
  # px from any pixel to the nearest probe; a spiral leaves the corners 20 px away
  assert gaps.max() < 7.0
