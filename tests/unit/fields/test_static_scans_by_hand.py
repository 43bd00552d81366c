"""Static scans and routes, recomputed position by position in fields that are not square."""

import numpy as np
import pytest

from adaptive_stem_tf.fields import placement, routes, static_scans

ROWS, COLUMNS = SHAPE = (30, 70)
SEED = 2


def stream():
  """Returns the random numbers of a scan; its seed is 1229 and that of the scan."""
  return np.random.default_rng([1229, SEED])


def scan(name, count, shape=SHAPE):
  return [tuple(map(int, at)) for at in static_scans.positions(name, shape, count, SEED)]


def thinned(way, count):
  """Returns `count` positions of a way, evenly."""
  return [way[i * len(way) // count] for i in range(count)]


def test_rows_of_a_grid_are_as_far_apart_as_columns():
  count, phase = 52, stream().random(2)
  expected = set()
  for row, many in enumerate((10, 10, 11, 10, 11)):  # of sqrt(52 30 / 70) = 4.7 rows
    y = int((row + phase[0]) * 6)
    expected |= {(y, int((i + phase[1]) / many * COLUMNS)) for i in range(many)}
  assert set(scan("uniform_grid", count)) == expected


def test_each_cell_of_a_jittered_grid_has_one_position_anywhere_in_it():
  reached = set()
  for seed in range(150):
    at = static_scans.positions("jittered_grid", SHAPE, 52, seed)
    for row, many in enumerate((10, 10, 11, 10, 11)):
      mine = at[at[:, 0] // 6 == row]
      edges = [i * COLUMNS // many for i in range(many + 1)]
      np.testing.assert_array_equal(np.histogram(mine[:, 1], edges)[0], 1)
    reached |= {tuple(one) for one in at if one[0] < 6 and one[1] < 7}
  assert reached == {(row, column) for row in range(6) for column in range(7)}


def test_a_grid_has_no_more_rows_than_fit():
  tall = scan("uniform_grid", 150, (100, 3))  # sqrt(150 100 / 3) = 71 rows
  assert len({row for row, _ in tall}) == 71
  flat = scan("uniform_grid", 150, (3, 100))
  assert {row for row, _ in flat} <= {0, 1, 2} and len({column for _, column in flat}) >= 75


@pytest.mark.parametrize("count", [100, 1050])  # the greater visits pixels twice
def test_low_discrepancy_is_the_r2_sequence(count):
  start, plastic, number = stream().random(2), 1.324717957244746, 0
  expected = {}
  while len(expected) < count:
    number += 1
    at = [(s + number / plastic ** (axis + 1)) % 1.0 for axis, s in enumerate(start)]
    expected[int(at[0] * ROWS), int(at[1] * COLUMNS)] = None
  assert set(scan("low_discrepancy", count)) == set(expected)


def test_a_spiral_is_archimedean_and_as_sparse_as_it_can_be():
  count, turn = 300, 2 * np.pi * stream().random()

  def way(pitch):
    """Returns the pixels of a spiral in steps of 0.7 px along its line."""
    pixels = {}
    for step in range(100_000):
      along = 0.7 * step
      radius = np.sqrt(along * pitch / np.pi)  # the area inside is pi r^2 = length times pitch
      if radius >= np.hypot(ROWS, COLUMNS) / 2:
        return list(pixels)
      angle = 2 * np.pi * radius / pitch + turn
      y, x = ROWS / 2 + radius * np.sin(angle), COLUMNS / 2 + radius * np.cos(angle)
      if 0 <= y < ROWS and 0 <= x < COLUMNS:
        pixels[int(y), int(x)] = None
    raise AssertionError("endless")

  low, high = 0.5, np.hypot(ROWS, COLUMNS)
  for _ in range(40):
    middle = (low + high) / 2
    low, high = (middle, high) if len(way(middle)) >= count else (low, middle)
  assert scan("spiral", count) == thinned(way(low), count)


@pytest.mark.parametrize("count", [210, 200])
def test_a_raster_is_of_full_lines_at_even_distances(count):
  phase = stream().random()
  rows = [int((line + phase) * 10) for line in range(3)]
  assert scan("raster", count) == thinned([(y, x) for y in rows for x in range(COLUMNS)], count)


def test_a_zigzag_goes_to_and_fro_in_bands_of_diagonals():
  count, phase = 150, stream().random()

  def way(bands):
    pixels, height = {}, ROWS / bands
    for band in range(bands):
      for half in range(2 * COLUMNS):
        x = half / 2 if band % 2 == 0 else COLUMNS - 0.5 - half / 2
        triangle = abs((x / height + 2 * phase) % 2.0 - 1.0)
        pixels[int(triangle * (height - 1e-3) + band * height), int(x)] = None
    return list(pixels)

  # A band has a pixel in each of its 70 columns at least.
  assert scan("zigzag", count) == thinned(way(3), count)


def test_offsets_are_those_of_farthest_points():
  offset = static_scans.offset(SEED)
  assert offset.shape == (2,) and offset.dtype == np.int32 and offset[0] != offset[1]
  np.testing.assert_array_equal(offset, stream().integers(placement.TILE, size=2))
  even = placement.even(SHAPE, 60, offset)
  assert len(even) == 60
  assert set(scan("farthest_points", 60)) == {tuple(map(int, at)) for at in even}


def test_a_field_may_be_measured_by_half_but_not_by_nothing():
  assert len(static_scans.positions("uniform_grid", (4, 5), 10, 0)) == 10
  assert len(static_scans.positions("uniform_grid", (4, 5), 1, 0)) == 1
  with pytest.raises(ValueError, match="0 positions in a field of 4 x 5 px"):
    static_scans.positions("uniform_grid", (4, 5), 0, 0)


@pytest.mark.parametrize("shape", [(20, 90), (90, 20)])
def test_bands_of_a_serpentine_follow_each_other(rng, shape):
  points = np.argwhere(rng.random(shape) < 0.03)
  count = len(points)
  bands = max(1, round(shape[0] / np.sqrt(3 * shape[0] * shape[1] / count)))
  assert bands > 1
  expected = []
  for band in range(bands):
    mine = [tuple(at) for at in points if at[0] * bands // shape[0] == band]
    expected += sorted(mine, key=lambda at: at[1] * (-1) ** band)
  route = [tuple(at) for at in routes.serpentine(points, shape)]
  # Positions of one column come in the order in which they were given.
  assert route == expected


def test_no_position_has_a_route_without_stops():
  nothing = np.zeros([0, 2], int)
  assert routes.serpentine(nothing, SHAPE).shape == (0, 2)
  assert routes.serpentine(np.array([[29, 3]]), SHAPE).tolist() == [[29, 3]]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_thinning_takes_the_middles_of_equal_parts_of_a_route(rng, count):
  points = np.argwhere(rng.random(SHAPE) < 0.02)
  route = routes.serpentine(points, SHAPE, count)
  expected = [route[int((part + 0.5) * len(route) / count)] for part in range(count)]
  np.testing.assert_array_equal(routes.thinned(points, SHAPE, count), expected)


def test_a_contiguous_way_has_as_few_stops_as_it_takes(rng):
  wanted = np.argwhere(rng.random(SHAPE) < 0.05)
  measured, asked = np.zeros(SHAPE, bool), []

  def stops(count):
    asked.append(count)
    return routes.thinned(wanted, SHAPE, count)

  way = routes.contiguous(stops, len(wanted), measured)
  few = asked[-1]  # what was taken
  crossing = lambda n: routes.contiguous(lambda _: stops(n), 10_000, measured)
  np.testing.assert_array_equal(way, crossing(few)[: len(wanted)])
  assert 1 < few < len(wanted) / 2 and len(crossing(few)) >= len(wanted) > len(crossing(few - 1))
