"""Scans that are drawn anew for every specimen."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import replay
from adaptive_stem_tf.scan import baselines, drawn_paths, geometry, path_names
from tests import tiny

SCAN = tiny.experiment().scan
PAPER = config.ScanGeometry()
SEED = tf.constant([3, 4], tf.int64)
KINDS = {
  "random_points": drawn_paths.RandomPoints,
  "jittered_grid": drawn_paths.JitteredGrid,
  "farthest_points": drawn_paths.FarthestPoints,
  "mixed": drawn_paths.Mixed,
}


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_recorded_scan_is_drawn_where_it_was_measured(kind):
  images, path = tf.constant(tiny.images(6)), kind(SCAN)
  trajectory = path.scan(images, None, SEED)
  assert trajectory.actions.shape == [6, SCAN.segments, path.action_size] and not path.learns
  partial = path.draw(trajectory.observations, trajectory.actions)
  np.testing.assert_array_equal(partial[..., :1], images * partial[..., 1:])
  starts = tf.reshape(path.positions(trajectory.actions), [6, SCAN.segments, SCAN.probes, 2])[
    :, :, 0
  ]
  np.testing.assert_array_equal(trajectory.positions, starts)
  assert (tf.reduce_sum(partial[..., 1], [1, 2]).numpy() > 4).all()


@pytest.mark.parametrize("kind", KINDS.values())
def test_scans_differ_between_specimens_and_seeds_and_repeat(kind):
  path = kind(PAPER)
  pixels = path.pixels(16, SEED).numpy()
  assert pixels.shape == (16, 400) and pixels.min() >= 0 and pixels.max() < 96**2
  assert len(np.unique(pixels, axis=0)) > 8
  np.testing.assert_array_equal(pixels, path.pixels(16, SEED))
  assert (pixels != path.pixels(16, SEED + 1).numpy()).any()


def test_random_points_are_different_pixels_everywhere():
  pixels = drawn_paths.RandomPoints(PAPER).pixels(50, SEED).numpy()
  assert (np.diff(pixels, axis=1) > 0).all()  # row by row, none twice
  quarters = np.histogram2d(*np.divmod(pixels.ravel(), 96), bins=4, range=[[0, 96], [0, 96]])[0]
  np.testing.assert_allclose(quarters, 50 * 400 / 16, rtol=0.15)


def test_more_random_points_than_pixels_are_refused():
  with pytest.raises(
    ValueError, match="path=random_points has 400 different pixels and the specimen 256"
  ):
    drawn_paths.RandomPoints(config.ScanGeometry(image_size=16))


def spacing(pixels):
  """Returns the distance from each pixel to the nearest other one, px."""
  row, column = np.divmod(pixels, 96)
  squared = np.subtract.outer(row, row) ** 2 + np.subtract.outer(column, column) ** 2
  np.fill_diagonal(squared, 96**2)
  return np.sqrt(squared.min(1))


def test_farthest_points_are_far_from_one_another():
  pixels = drawn_paths.FarthestPoints(PAPER).pixels(3, SEED).numpy()
  for nearest in map(spacing, pixels):
    assert nearest.min() >= 3.0  # 4.8 px is the side of a cell of a grid of as many
    assert nearest.mean() > 4.0


def test_a_jittered_grid_has_one_position_in_every_cell():
  rows, columns = np.divmod(drawn_paths.JitteredGrid(PAPER).pixels(20, SEED).numpy(), 96)
  corners, sizes = baselines.cells(PAPER, 20)
  for pixel, corner, size in (
    (rows, corners[:, 0], sizes[:, 0]),
    (columns, corners[:, 1], sizes[:, 1]),
  ):
    assert (pixel >= np.floor(corner)).all() and (pixel <= corner + size).all()
    assert set(np.unique(pixel - np.floor(corner))) >= set(range(5))  # all over the cell of 4.8 px


def family(pixels):
  """Returns which kinds of scans the rows of pixels [B, P] can be told to be."""
  fixed = {
    kind: {
      tuple(
        np.asarray(
          geometry.pixel_index(tf.constant(baselines.positions_of(kind, PAPER, pitch)), 96)
        )
      )
      for pitch in baselines.PITCHES
    }
    for kind in baselines.KINDS
  }
  return [
    next((kind for kind, members in fixed.items() if tuple(row) in members), None) for row in pixels
  ]


def test_a_mix_holds_every_kind_equally_often():
  path, count = drawn_paths.Mixed(PAPER), 900
  assert path.kinds == 10 == len(baselines.KINDS) + 4
  found = family(path.pixels(count, SEED).numpy())
  for kind in baselines.KINDS:
    assert abs(found.count(kind) - count / 10) < 4 * (count * 9 / 100) ** 0.5
  rest = [row for row, kind in zip(path.pixels(count, SEED).numpy(), found) if kind is None]
  sorted_ = [row for row in rest if (np.diff(row) > 0).all()]  # random and farthest points
  even = sum(bool(spacing(row).min() >= 3.0) for row in sorted_)
  walks = sum(bool((np.abs(np.diff(row // 96)) <= 2).all() and row[0] == 48 * 97) for row in rest)
  for several in (even, len(sorted_) - even, walks):
    assert abs(several - count / 10) < 45
  assert len(rest) - len(sorted_) - walks > 50  # jittered grids


def test_an_actors_scans_are_mixed_in(rng):
  made = np.float32(rng.uniform(0, 96, [3, 400, 2]))
  path = drawn_paths.Mixed(PAPER, made)
  assert path.kinds == 11
  theirs = {tuple(row) for row in geometry.pixel_index(tf.constant(made), 96).numpy()}
  found = [tuple(row) for row in path.pixels(400, SEED).numpy()]
  assert theirs <= set(found) and 20 < sum(row in theirs for row in found) < 90


@pytest.mark.parametrize("name", KINDS)
def test_drawn_paths_have_names_and_the_size_of_their_actions(name):
  scan = tiny.experiment(path=name).scan
  path = path_names.make_path(scan, None, None)
  assert isinstance(path, KINDS[name]) and path.action_size == SCAN.probes


@pytest.mark.parametrize("name", ["mixed", "jittered_grid"])
def test_a_generator_trains_on_them(eagerly, name):
  learner = tiny.learner(path=name)
  losses = [float(learner.step(tiny.draw(iteration)).generator_loss) for iteration in range(2)]
  assert np.isfinite(losses).all()
  seeds = replay.Seeds(*(tf.constant([purpose, 5], tf.int64) for purpose in range(3)))
  sample = learner.replay.sample(4, seeds, tf.constant(1.0))
  partial = learner.path.draw(sample.observations, sample.actions)
  seen = learner.specimens(sample.draw)
  np.testing.assert_array_equal(partial[..., :1], seen * partial[..., 1:])
