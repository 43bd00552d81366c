"""Crystal structures and their projections along zone axes.

Cubic structures are described by one lattice constant and the fractional positions of their atoms.
`project` turns a structure and a zone axis into a rectangular two-dimensional cell of atomic
columns, whose weights follow the approximate Z-contrast of high-angle annular dark field: a column
scatters in proportion to the sum of Z^1.7.
"""

import functools
from typing import NamedTuple

import numpy as np

_Z_CONTRAST_EXPONENT = 1.7
_STEPS = 1200  # Of a cell's edge, on which positions lie.

# Orthogonal in-plane lattice vectors for each zone axis of a cubic crystal.
_IN_PLANE = {
  "100": ((0, 1, 0), (0, 0, 1)),
  "110": ((1, -1, 0), (0, 0, 1)),
  "111": ((1, -1, 0), (1, 1, -2)),
}
ZONES = tuple(_IN_PLANE)

_FCC = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_FACES = _FCC[1:]


class Structure(NamedTuple):
  """A cubic crystal: lattice constant [nm], and atoms as (atomic number, fractional position)."""

  lattice_constant: float
  atoms: tuple[tuple[int, tuple[float, float, float]], ...]


class Cell(NamedTuple):
  """A rectangular projected cell.

  Attributes:
    size: lengths of the two edges [nm], shape `[2]`.
    positions: fractional positions of the atomic columns, shape `[n, 2]`.
    weights: scattering of each column per nm of thickness [Z^1.7 / nm], shape `[n]`.
  """

  size: np.ndarray
  positions: np.ndarray
  weights: np.ndarray

  @property
  def spacing(self) -> float:
    """Side of the square that holds one *visible* column on average [nm]: one at least a third as
    bright as any.
    """
    visible = np.count_nonzero(self.weights > 0.33 * np.max(self.weights))
    return float(np.sqrt(np.prod(self.size) / visible))

  @property
  def density(self) -> float:
    """Scattering per area and thickness [Z^1.7 / nm^3]: the mean brightness of the crystal."""
    return float(np.sum(self.weights) / np.prod(self.size))


def _shifted(sites, offset):
  return tuple(tuple(float(c) for c in np.add(site, offset) % 1) for site in sites)


def _compound(*sublattices):
  return tuple((z, site) for z, sites in sublattices for site in sites)


def _perovskite(a, b, anion=8):
  return _compound((a, ((0, 0, 0),)), (b, ((0.5, 0.5, 0.5),)), (anion, _shifted(_FACES, (0, 0, 0))))


def _zincblende(a, b):
  return _compound((a, _FCC), (b, _shifted(_FCC, (0.25, 0.25, 0.25))))


def _rocksalt(a, b):
  return _compound((a, _FCC), (b, _shifted(_FCC, (0.5, 0.5, 0.5))))


def _fluorite(cation, anion):
  return _compound(
    (cation, _FCC),
    (anion, _shifted(_FCC, (0.25, 0.25, 0.25))),
    (anion, _shifted(_FCC, (0.75, 0.75, 0.75))),
  )


def _bcc(z):
  return _compound((z, ((0, 0, 0), (0.5, 0.5, 0.5))))


STRUCTURES = {
  "Al": Structure(0.4050, _compound((13, _FCC))),
  "Cu": Structure(0.3615, _compound((29, _FCC))),
  "Pt": Structure(0.3924, _compound((78, _FCC))),
  "Au": Structure(0.4078, _compound((79, _FCC))),
  "Fe": Structure(0.2866, _bcc(26)),
  "W": Structure(0.3165, _bcc(74)),
  "Si": Structure(0.5431, _zincblende(14, 14)),
  "Ge": Structure(0.5658, _zincblende(32, 32)),
  "GaAs": Structure(0.5653, _zincblende(31, 33)),
  "InP": Structure(0.5869, _zincblende(49, 15)),
  "CdTe": Structure(0.6482, _zincblende(48, 52)),
  "MgO": Structure(0.4212, _rocksalt(12, 8)),
  "PbTe": Structure(0.6462, _rocksalt(82, 52)),
  "CeO2": Structure(0.5411, _fluorite(58, 8)),
  "SrTiO3": Structure(0.3905, _perovskite(38, 22)),
  "BaTiO3": Structure(0.4006, _perovskite(56, 22)),
  "LaAlO3": Structure(0.3790, _perovskite(57, 13)),
  "PbTiO3": Structure(0.3970, _perovskite(82, 22)),
}

# Structures that share a prototype and nearly share a lattice constant: what epitaxial layers are
# made of.
EPITAXIAL_PAIRS = (
  ("SrTiO3", "BaTiO3"),
  ("SrTiO3", "LaAlO3"),
  ("SrTiO3", "PbTiO3"),
  ("Si", "Ge"),
  ("GaAs", "InP"),
)


@functools.cache
def project(name: str, zone: str) -> Cell:
  """Project a structure along a zone axis.

  Args:
    name: key of `STRUCTURES`.
    zone: one of `ZONES`, Miller indices of the beam direction.

  Returns:
    The rectangular `Cell` of atomic columns seen along the beam.

  Raises:
    ValueError: if the structure or the zone is not known.
  """
  if name not in STRUCTURES:
    raise ValueError(f"Unknown structure {name!r}; choose one of {sorted(STRUCTURES)}.")
  if zone not in _IN_PLANE:
    raise ValueError(f"Unknown zone axis {zone!r}; choose one of {list(ZONES)}.")
  structure = STRUCTURES[name]
  axes = np.array([*_IN_PLANE[zone], [int(c) for c in zone]], float)
  lengths = structure.lattice_constant * np.linalg.norm(axes, axis=1)
  offsets = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
  sites = np.array([site for _, site in structure.atoms])
  # Positions along the axes, in steps that hold quarters and sixths exactly, so that equal ones
  # compare equal.
  folded = np.rint(_STEPS * (offsets + sites) @ np.linalg.inv(axes)) % _STEPS  # [offsets, atoms, 3]
  atomic_numbers = np.broadcast_to([z for z, _ in structure.atoms], folded.shape[:2])
  atoms = np.unique(np.concatenate([folded, atomic_numbers[..., None]], -1).reshape(-1, 4), axis=0)
  positions, column = np.unique(atoms[:, :2], axis=0, return_inverse=True)
  weights = np.bincount(column.ravel(), atoms[:, 3] ** _Z_CONTRAST_EXPONENT) / lengths[2]
  return Cell(lengths[:2], positions / _STEPS, weights)


def monolayer() -> Cell:
  """Return the rectangular cell of a MoS2 monolayer, seen along its normal."""
  positions = np.array([(0, 0), (0.5, 0.5), (0, 2 / 3), (0.5, 1 / 6)])
  molybdenum, sulphur_pair = 42**_Z_CONTRAST_EXPONENT, 2 * 16**_Z_CONTRAST_EXPONENT
  weights = np.array([molybdenum, molybdenum, sulphur_pair, sulphur_pair])
  return Cell(np.array([0.316, 0.316 * np.sqrt(3)]), positions, weights)


def tile(
  cell: Cell, pixel_size: float, angle: float, centre: np.ndarray, extent: int
) -> np.ndarray:
  """Fill a square field with a rotated crystal.

  Args:
    cell: projected cell.
    pixel_size: [nm per px].
    angle: rotation of the cell's axes [rad].
    centre: position of a cell's corner (row, column) [px], shape `[2]`.
    extent: side of the field [px].

  Returns:
    Columns (row, column, weight), shape `[N, 3]`. Positions are in px and reach slightly beyond the
    field. Weights are integrated intensities [px^2], scaled so that the crystal's mean intensity
    per px is 1.
  """
  edges = cell.size / pixel_size
  reach = 0.75 * extent + np.linalg.norm(centre - extent / 2) + edges.max()
  counts = np.ceil(reach / edges).astype(int)
  cells = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij"), -1).reshape(
    -1, 1, 2
  )
  points = ((cells + cell.positions) * edges).reshape(-1, 2)
  cosine, sine = np.cos(angle), np.sin(angle)
  points = points @ np.array([[cosine, sine], [-sine, cosine]]) + centre
  weights = np.tile(cell.weights / cell.density / pixel_size**2, cells.shape[0])
  inside = np.all((points > -8) & (points < extent + 8), axis=1)
  return np.column_stack([points[inside], weights[inside]])
