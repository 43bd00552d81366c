"""Defects of a tiled crystal: point defects, strain and edge dislocations. All act on columns
`[N, 3]`.
"""

import numpy as np

_POISSON_RATIO = 0.3


def vacancies(rng: np.random.Generator, columns: np.ndarray, fraction: float) -> np.ndarray:
  """Empty a fraction of the columns, wholly or in part."""
  columns = columns.copy()
  missing = rng.random(len(columns)) < fraction
  columns[missing, 2] *= rng.choice([0.0, 0.3, 0.6], missing.sum())
  return columns


def substitutions(
  rng: np.random.Generator, columns: np.ndarray, fraction: float, factor: float
) -> np.ndarray:
  """Multiply the weights of a fraction of the columns by a factor: dopants of another atomic
  number.
  """
  columns = columns.copy()
  columns[rng.random(len(columns)) < fraction, 2] *= factor
  return columns


def thermal_disorder(rng: np.random.Generator, columns: np.ndarray, sigma: float) -> np.ndarray:
  """Move every column by an independent Gaussian of standard deviation `sigma` [px] per axis."""
  moved = columns.copy()
  moved[:, :2] += sigma * rng.standard_normal((len(columns), 2))
  return moved


def edge_dislocation(columns: np.ndarray, core: np.ndarray, burgers: np.ndarray) -> np.ndarray:
  """Displace columns by the field of an edge dislocation in an isotropic medium.

  With x along the Burgers vector b, measured from the core, and Poisson's ratio v:
    u_x = b / 2 pi (atan2(y, x) + x y / (2 (1 - v) r^2))
    u_y = -b / 2 pi ((1 - 2 v) / (4 (1 - v)) ln r^2 + (x^2 - y^2) / (4 (1 - v) r^2)).

  Args:
    columns: (row, column, weight), shape `[N, 3]`.
    core: position of the core (row, column) [px], shape `[2]`.
    burgers: a translation of the lattice (row, column) [px], shape `[2]`.

  Returns:
    The displaced columns, shape `[N, 3]`.
  """
  length = np.linalg.norm(burgers)
  along = burgers / length
  across = np.array([-along[1], along[0]])
  offsets = columns[:, :2] - core
  x, y = offsets @ along, offsets @ across
  r2 = x**2 + y**2 + (0.25 * length) ** 2  # The core's radius keeps the field finite.
  stiffness = 4 * (1 - _POISSON_RATIO)
  u_x = length / (2 * np.pi) * (np.arctan2(y, x) + 2 * x * y / (stiffness * r2))
  u_y = (
    -length / (2 * np.pi) * ((1 - 2 * _POISSON_RATIO) * np.log(r2 / length**2) + (x**2 - y**2) / r2)
  )
  u_y /= stiffness
  displaced = columns.copy()
  displaced[:, :2] += u_x[:, None] * along + u_y[:, None] * across
  return displaced
