"""What a scan costs in time."""

import numpy as np
import pytest

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.scan import baselines, travel

SCAN = config.ScanGeometry()
BEAM = microscope_config.Beam(dwell_us=10.0, beam_speed=2.0, settling_us=30.0, flyback_us=300.0)


def time(positions, beam=BEAM):
  return travel.travel_time(np.array(positions), SCAN, beam)


def test_a_contiguous_scan_takes_its_dwell_time():
  assert time(baselines.spiral(SCAN)) == pytest.approx(4000)
  assert travel.is_contiguous(baselines.spiral(SCAN), SCAN)


def test_a_beam_that_is_too_slow_sets_the_time():
  slow = microscope_config.Beam(dwell_us=10.0, beam_speed=0.1)
  assert time([[0, 0], [0, 1], [1, 1], [1, 3]], slow) == pytest.approx(4 * 10 + 0 + 0 + 10)


def test_jumps_by_hand():
  # Moves of 4, 4 and 5 px, all longer than 1.5 spacings: travel at 2 px per us, and settling each
  # time.
  assert time([[0, 0], [0, 4], [0, 8], [3, 4]]) == pytest.approx(40 + 13 / 2 + 3 * 30)


def test_raster_lines_fly_back():
  raster = baselines.raster(SCAN)
  assert travel.is_contiguous(raster, SCAN)
  assert time(raster) == pytest.approx(4000 + 5 * 300)


def test_a_grid_takes_longer_than_lines():
  grid = baselines.grid(SCAN)
  assert not travel.is_contiguous(grid, SCAN)
  assert time(grid) > 4000 + 399 * 30


@pytest.mark.parametrize("spacing", [0.8, 1.0, 3.0])
def test_moves_of_up_to_one_and_a_half_spacings_are_scanned_along(spacing):
  scan = config.ScanGeometry(spacing=spacing)
  along, jumping = (np.outer(np.arange(9), [0, factor * spacing]) for factor in (1.45, 1.55))
  assert travel.is_contiguous(along, scan) and not travel.is_contiguous(jumping, scan)
  assert not travel.is_contiguous(along[:1], scan)
  assert travel.travel_time(along, scan, BEAM) == pytest.approx(90)  # the beam is fast enough
  moved = 8 * 1.55 * spacing / 2 + 8 * 30
  assert travel.travel_time(jumping, scan, BEAM) == pytest.approx(90 + moved)
