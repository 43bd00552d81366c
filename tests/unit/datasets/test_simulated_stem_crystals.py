"""Tests of projected crystals and their defects against known crystallography."""

import numpy as np
import pytest

from datasets.simulated_stem import crystals, defects, imaging


def _neighbours(cell):
  """Distances between distinct columns [nm], ascending, for a patch of cells."""
  columns = crystals.tile(cell, 0.01, 0.0, np.array([100.0, 100.0]), 200)[:, :2] * 0.01
  middle = columns[np.argmin(np.linalg.norm(columns - 1.0, axis=1))]
  return np.sort(np.linalg.norm(columns - middle, axis=1))[1:]


@pytest.mark.parametrize(
  "name, zone, distance, columns",
  [
    # Atoms of both layers project onto a square net of half the lattice constant.
    ("Au", "100", 0.4078 / 2, 4),
    ("Au", "110", 0.4078 * np.sqrt(3 / 8), 4),  # A centred rectangle of a / sqrt(2) by a.
    ("Au", "111", 0.4078 / np.sqrt(6), 24),  # Three stacked hexagonal layers.
    ("Fe", "100", 0.2866 / np.sqrt(2), 2),
    ("Si", "110", 0.5431 / 4, 8),  # The silicon dumbbell, 0.136 nm.
    ("SrTiO3", "100", 0.3905 / 2, 4),
  ],
)
def test_projection_gives_the_known_columns(name, zone, distance, columns):
  cell = crystals.project(name, zone)
  assert len(cell.weights) == columns
  assert _neighbours(cell)[0] == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize("zone", crystals.ZONES)
@pytest.mark.parametrize("name", list(crystals.STRUCTURES))
def test_projection_keeps_every_atom(name, zone):
  structure = crystals.STRUCTURES[name]
  atoms = sum(z**1.7 for z, _ in structure.atoms) / structure.lattice_constant**3
  assert crystals.project(name, zone).density == pytest.approx(atoms, rel=1e-6)


def test_heavier_sublattice_is_brighter():
  cell = crystals.project("SrTiO3", "100")
  weights = dict(zip(map(tuple, cell.positions), cell.weights * 0.3905))
  assert weights[0.0, 0.0] == pytest.approx(38**1.7)
  assert weights[0.5, 0.5] == pytest.approx(22**1.7 + 8**1.7)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_image_of_a_lattice_has_its_spacing_and_rotation(angle):
  # bcc iron down a cube edge, 0.02 nm per px: rows of columns are a/2 apart along both axes of the
  # cell.
  extent = 256
  columns = crystals.tile(
    crystals.project("Fe", "100"), 0.02, angle, np.array([80.0, 91.0]), extent
  )
  image = imaging.splat(columns, extent) * np.outer(np.hanning(extent), np.hanning(extent))
  spectrum = np.abs(np.fft.rfft2(image, (1024, 1024)))
  frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(1024), np.fft.rfftfreq(1024), indexing="ij"))
  spectrum[(frequencies < 0.03) | (frequencies > 0.12)] = 0
  row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
  spatial = np.array([np.fft.fftfreq(1024)[row], np.fft.rfftfreq(1024)[column]])
  # First reflections of the centred square net: (1, 1) with period a / sqrt(2).
  assert np.linalg.norm(spatial) == pytest.approx(0.02 / (0.2866 / np.sqrt(2)), rel=0.01)
  turned = np.arctan2(spatial[1], spatial[0]) - angle
  assert np.mod(turned, np.pi / 2) == pytest.approx(np.pi / 4, abs=0.02)


def test_tile_has_unit_mean_and_covers_the_field():
  cell = crystals.project("GaAs", "110")
  columns = crystals.tile(cell, 0.02, 0.7, np.array([10.0, 400.0]), 300)
  image = imaging.splat(columns, 300)
  assert image[:-1, :-1].mean() == pytest.approx(1, rel=0.02)
  assert image.reshape(6, 50, 6, 50)[:5, :, :5].mean(axis=(1, 3)).min() > 0.9


@pytest.mark.parametrize(
  "name, zone, message",
  [
    ("Unobtainium", "100", "Unknown structure 'Unobtainium'; choose one of"),
    ("Au", "123", "Unknown zone axis '123'; choose one of"),
  ],
)
def test_unknown_crystals_are_refused(name, zone, message):
  with pytest.raises(ValueError, match=message):
    crystals.project(name, zone)


def test_vacancies_and_dopants_change_their_share_of_columns():
  columns = np.column_stack([np.zeros((20_000, 2)), np.ones(20_000)])
  emptied = defects.vacancies(np.random.default_rng(0), columns, 0.1)
  doped = defects.substitutions(np.random.default_rng(0), columns, 0.2, 2.5)
  assert np.mean(emptied[:, 2] < 1) == pytest.approx(0.1, abs=0.01)
  assert np.mean(doped[:, 2] == 2.5) == pytest.approx(0.2, abs=0.01)
  assert np.all(columns[:, 2] == 1), "defects must not change their argument"


def test_thermal_disorder_has_its_standard_deviation():
  moved = defects.thermal_disorder(np.random.default_rng(0), np.ones((20_000, 3)), 0.3)
  assert moved[:, :2].std() == pytest.approx(0.3, rel=0.02)
  assert np.all(moved[:, 2] == 1)


def test_circuit_around_a_dislocation_closes_with_the_burgers_vector():
  burgers = np.array([3.0, 4.0])
  # The displacement jumps by b across the half-line that leaves the core against the Burgers
  # vector.
  against, across = -burgers / 5, np.array([-4.0, 3.0]) / 5
  sides = np.array([50.0 + 30 * against + s * 1e-6 * across for s in (1, -1)])
  columns = np.column_stack([sides, np.ones(2)])
  displaced = defects.edge_dislocation(columns, np.array([50.0, 50.0]), burgers)
  np.testing.assert_allclose(displaced[0, :2] - displaced[1, :2], burgers, atol=1e-4)
  elsewhere = np.column_stack([50.0 - 30 * against + np.outer((1e-6, -1e-6), across), np.ones(2)])
  smooth = defects.edge_dislocation(elsewhere, np.array([50.0, 50.0]), burgers)
  np.testing.assert_allclose(smooth[0, :2], smooth[1, :2], atol=1e-4)
