"""Segments, probing positions, pixels and edges."""

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import geometry, partial_scan, steering
from tests import tiny

PAPER = config.ScanGeometry()
TINY = tiny.experiment().scan


def actions(scan, *angles):
  """Returns actions [1, T, 1] rad, the last angle repeated."""
  filled = list(angles) + [angles[-1]] * (scan.segments - len(angles))
  return tf.constant(filled, tf.float32)[None, :, None]


def positions(taken, scan):
  return partial_scan.scan_positions(taken, scan).numpy()


def test_first_segment_is_the_diagonal_from_the_centre():
  assert (geometry.first_direction(PAPER) == 1.0).all()
  first = positions(actions(PAPER, 2.0), PAPER)[0, :20]
  np.testing.assert_array_equal(first, 48 + np.stack([np.arange(20)] * 2, -1))


def test_a_paper_scan_has_400_probes_over_9216_pixels():
  taken = positions(actions(PAPER, 0.3), PAPER)
  assert taken.shape == (1, 400, 2)
  assert taken.shape[1] / PAPER.image_size**2 == pytest.approx(1 / 23.04) == PAPER.coverage


def test_neighbouring_probes_are_a_spacing_apart_along_the_angle(rng):
  taken = tf.constant(rng.uniform(-np.pi, np.pi, [3, TINY.segments, 1]), tf.float32)
  steps = np.diff(positions(taken, TINY).reshape(3, TINY.segments, TINY.probes, 2), axis=2)
  np.testing.assert_allclose(np.hypot(steps[..., 0], steps[..., 1]), TINY.spacing, rtol=1e-5)
  angles = np.arctan2(steps[..., 1], steps[..., 0])  # from the row axis towards the column axis
  np.testing.assert_allclose(angles[:, 0], math.pi / 4, rtol=1e-5)
  np.testing.assert_allclose(
    angles[:, 1:], np.broadcast_to(taken[:, :-1], angles[:, 1:].shape), atol=1e-5
  )


def test_each_segment_starts_where_the_last_one_would_go_on(rng):
  taken = tf.constant(rng.uniform(-np.pi, np.pi, [3, TINY.segments, 1]), tf.float32)
  starts, moves = steering.segments(taken, TINY)
  starts = starts.numpy()
  np.testing.assert_array_equal(starts[:, 0], TINY.image_size / 2)
  np.testing.assert_allclose(starts[:, 1:], starts[:, :-1] + TINY.probes * moves[:, :-1], rtol=1e-6)
  probes = geometry.probe_positions(tf.constant(starts), moves, TINY)
  np.testing.assert_array_equal(probes[:, :, 0], starts)
  np.testing.assert_allclose(probes[:, :, 3], starts + 3 * moves, rtol=1e-6)


def test_the_last_action_is_unused(rng):
  taken = tf.constant(rng.uniform(-np.pi, np.pi, [2, TINY.segments, 1]), tf.float32)
  changed = tf.concat([taken[:, :-1], taken[:, -1:] + 1], 1)
  np.testing.assert_array_equal(positions(taken, TINY), positions(changed, TINY))
  np.testing.assert_array_equal(steering.over_edge(taken, TINY), steering.over_edge(changed, TINY))


def test_pixels_are_floors_of_clamped_positions():
  taken = tf.constant(
    [[0.0, 0.0], [1.99, 2.0], [-5.0, 3.5], [7.999, 8.0], [100.0, -0.001], [7.0, 6.9]]
  )
  np.testing.assert_array_equal(geometry.pixel_index(taken, 8), [0, 10, 3, 63, 56, 62])


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.5, math.pi, -2.0])
def test_over_edge_against_a_loop(angle):
  scan, expected = config.ScanGeometry(segments=4), []
  # the first segment's end: 20 px per axis, not the 28.28 of the published code
  row = column = 48 + 20.0
  for _ in range(3):
    row, column = (
      row + 20 * scan.spacing * math.cos(angle),
      column + 20 * scan.spacing * math.sin(angle),
    )
    expected.append(not (0 <= row <= 96 and 0 <= column <= 96))
  np.testing.assert_array_equal(steering.over_edge(actions(scan, angle), scan)[0], expected)


def test_over_edge_starts_from_the_corrected_end_of_the_first_segment():
  scan = config.ScanGeometry(segments=3)
  # ends at row 95.9; at 104.2 with the published mistake
  allowed = math.acos(27.9 / (20 * scan.spacing))
  beyond = math.acos(28.1 / (20 * scan.spacing))  # ends at row 96.1
  np.testing.assert_array_equal(
    steering.over_edge(actions(scan, -allowed, math.pi), scan), [[False, False]]
  )
  np.testing.assert_array_equal(
    steering.over_edge(actions(scan, -beyond, math.pi), scan), [[True, False]]
  )


def test_over_edge_sees_all_four_sides():
  scan = config.ScanGeometry(
    image_size=12, segments=3, probes=1, spacing=6.0
  )  # ends first at 6 + 4.24
  for angle, outside in ((0.0, True), (math.pi / 2, True), (math.pi, False), (-math.pi / 2, False)):
    assert bool(steering.over_edge(actions(scan, angle, angle), scan)[0, 0]) == outside
  for angle in (math.pi, -math.pi / 2):  # a second such step leaves at row or column 10.24 - 12
    assert bool(steering.over_edge(actions(scan, angle, angle), scan)[0, 1])


def test_a_scan_may_end_on_the_edge():
  sides = config.ScanGeometry(image_size=12, segments=3, probes=3, spacing=1.5)
  end = 6 + 4.5 * math.sqrt(0.5)
  exact = math.acos((12 - end) / 4.5)
  assert not bool(steering.over_edge(actions(sides, -exact - 1e-4, math.pi), sides)[0, 0])
  assert bool(steering.over_edge(actions(sides, -exact + 1e-3, math.pi), sides)[0, 0])


@hypothesis.given(strategies.floats(-9.375, 9.375, width=32))
def test_wrapped_angles_point_the_same_way_within_half_a_turn(angle):
  wrapped = float(geometry.wrap_angle(tf.constant(angle)))
  assert -np.float32(math.pi) < wrapped <= np.float32(math.pi)
  assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-5)
  assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-5)


@hypothesis.given(strategies.floats(-3.125, 3.125, width=32))
def test_wrapping_leaves_angles_in_range_alone(angle):
  assert float(geometry.wrap_angle(tf.constant(angle))) == angle


def test_minus_pi_becomes_pi():
  assert float(geometry.wrap_angle(tf.constant(-math.pi))) == pytest.approx(math.pi)
  assert float(geometry.wrap_angle(tf.constant(math.pi))) == pytest.approx(math.pi)
