"""Static scans have exactly as many distinct positions as asked for."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf.fields import routes, static_scans


@pytest.mark.parametrize("name", static_scans.SCANS)
@hypothesis.settings(max_examples=15)
@hypothesis.given(
  rows=st.integers(20, 90),
  columns=st.integers(20, 90),
  share=st.floats(0.01, 0.5),
  seed=st.integers(0, 3),
)
def test_positions_are_distinct_inside_and_exactly_as_many(name, rows, columns, share, seed):
  count = max(1, int(share * rows * columns))
  positions = static_scans.positions(name, (rows, columns), count, seed)
  assert positions.shape == (count, 2)
  assert len(np.unique(positions, axis=0)) == count
  assert (positions >= 0).all() and (positions < (rows, columns)).all()


@pytest.mark.parametrize("name", static_scans.SCANS)
def test_a_seed_shifts_the_pattern_and_repeats(name):
  of_seed = lambda seed: static_scans.positions(name, (60, 50), 200, seed)
  np.testing.assert_array_equal(of_seed(0), of_seed(0))
  assert {map(tuple, of_seed(0))} != {map(tuple, of_seed(1))}
  assert not np.array_equal(of_seed(0), of_seed(1))


@pytest.mark.parametrize("name", [name for name in static_scans.SCANS if name != "raster"])
def test_every_part_of_a_field_is_reached(name):
  positions = static_scans.positions(name, (96, 96), 400, 0)
  counts, _, _ = np.histogram2d(*positions.T, bins=3, range=[[0, 96], [0, 96]])
  assert counts.min() > 0.5 * 400 / 9


def test_lines_move_to_neighbours():
  for name in ("spiral", "zigzag"):
    moves = np.abs(np.diff(static_scans.positions(name, (96, 96), 500, 0), axis=0)).max(1)
    assert np.median(moves) == 1


def test_a_grid_of_nine_positions_is_regular():
  at = static_scans.positions("uniform_grid", (30, 30), 9, 0)
  assert len(np.unique(at[:, 0])) == len(np.unique(at[:, 1])) == 3
  assert set(np.diff(np.unique(at[:, 1]))) == {10}


def test_mistakes_are_explained():
  with pytest.raises(ValueError, match="scan=rings is unknown"):
    static_scans.positions("rings", (30, 30), 9, 0)
  with pytest.raises(ValueError, match="1 to 450, half"):
    static_scans.positions("raster", (30, 30), 451, 0)


def test_farthest_points_are_the_survey_of_the_same_seed():
  few = static_scans.positions("farthest_points", (64, 64), 50, 3)
  many = static_scans.positions("farthest_points", (64, 64), 200, 3)
  assert {tuple(at) for at in few} < {tuple(at) for at in many}


def test_a_serpentine_keeps_positions_and_turns_at_the_ends_of_bands(rng):
  grid = np.argwhere(np.ones([12, 12], bool))
  route = routes.serpentine(rng.permutation(grid), (12, 12))
  assert {tuple(at) for at in route} == {tuple(at) for at in grid}
  # sqrt(3 144 / 144) = 1.7 px a band: 7 bands; columns rise in the first and fall in the second.
  first, second = route[:12, 1], route[route[:, 0] // 1 == 2][:, 1]
  assert (np.diff(first) >= 0).all() and (np.diff(second) <= 0).all()


def test_a_serpentine_is_a_good_deal_shorter_than_rows():
  points = static_scans.positions("low_discrepancy", (100, 100), 400, 0)
  assert routes.length(points) < 1.1 * np.sqrt(400 * 100 * 100)
  assert routes.length(points) < 0.3 * routes.length(points[np.lexsort(points.T[::-1])])


def test_rounds_follow_each_other_along_a_route():
  masks = np.zeros([2, 8, 8], bool)
  masks[:, 1, 1] = masks[:, 6, 6] = masks[1, 3, 3] = True
  route = routes.of_rounds(masks)
  assert route.tolist() == [[1, 1], [6, 6], [3, 3]]


def test_length_by_hand():
  assert routes.length(np.array([[0, 0], [3, 4], [3, 5]])) == 6.0


def crossed(start, end):
  """Returns the pixels between two positions, by arithmetic of its own."""
  steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
  at = lambda i, axis: int(np.floor(start[axis] + (end[axis] - start[axis]) * i / steps + 0.5))
  return [(at(i, 0), at(i, 1)) for i in range(steps + 1)]


def test_a_contiguous_way_measures_every_pixel_that_it_crosses_once():
  stops = np.array([[2, 1], [5, 9], [5, 3], [2, 1]])
  measured = np.zeros([8, 12], bool)
  measured[5, 5] = True
  expected = [at for pair in zip(stops, stops[1:]) for at in crossed(*pair) if at != (5, 5)]
  expected = list(dict.fromkeys(expected))
  way = routes.contiguous(lambda _: stops, len(expected), measured)
  assert [tuple(at) for at in way] == expected
  assert len(routes.contiguous(lambda _: stops, 7, measured)) == 7


def test_a_way_through_what_is_wanted_has_as_many_pixels_and_its_density(rng):
  wanted = np.argwhere(rng.random([80, 90]) < np.where(np.arange(90) < 45, 0.02, 0.1))
  measured = np.zeros([80, 90], bool)
  measured[::7, ::5] = True
  wanted = wanted[~measured[tuple(wanted.T)]]
  way = routes.through(wanted, measured)
  assert len({tuple(at) for at in way}) == len(way) == len(wanted)
  assert not measured[tuple(way.T)].any()
  # Pixels that were measured before are crossed, seldom many in a row.
  assert (np.abs(np.diff(way, axis=0)).max(1) <= 2).mean() > 0.95
  assert (way[:, 1] >= 45).mean() > 0.6
  assert len(routes.through(wanted[:1], measured)) == 1


@pytest.mark.parametrize("name", static_scans.SCANS)
def test_contiguous_scans_have_as_many_positions(name):
  way = static_scans.contiguous(name, (70, 96), 400, 1)
  assert len({tuple(at) for at in way}) == len(way) == 400
  counts, _, _ = np.histogram2d(*way.T, bins=2, range=[[0, 70], [0, 96]])
  assert counts.min() > 50
