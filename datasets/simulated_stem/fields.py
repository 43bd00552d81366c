"""Smooth random fields and shapes on a square grid: thickness, grains, edges and particles.

A grid has `extent` px on a side; axes are (row, column). Fields are float32, which halves the time
they take: angles and positions are Python numbers, because NumPy's own float64 numbers would
promote them.
"""

import functools
import math

import numpy as np

_DIRECTIONS = 4096  # Directions in which the outline of a particle is known.


@functools.cache
def grid(extent: int) -> tuple[np.ndarray, np.ndarray]:
  """Return the row and the column coordinate of each px, shapes `[extent, 1]` and `[1, extent]`,
  float32.
  """
  axis = np.arange(extent, dtype=np.float32)
  return axis[:, None], axis[None, :]


def turned(
  axes: tuple[np.ndarray, np.ndarray], centre: np.ndarray, angle: float
) -> tuple[np.ndarray, np.ndarray]:
  """Return the coordinates of each px along and across a direction, from a centre, all in px.

  Args:
    axes: row and column coordinates, as from `grid`, shapes `[rows, 1]` and `[1, columns]`.
    centre: (row, column) [px], shape `[2]`.
    angle: direction, from the row axis towards the column axis [rad].

  Returns:
    Coordinates along and across, each `[rows, columns]`.
  """
  rows, columns = axes[0] - float(centre[0]), axes[1] - float(centre[1])
  cosine, sine = math.cos(angle), math.sin(angle)
  return cosine * rows + sine * columns, cosine * columns - sine * rows


@functools.cache
def _spline_basis(extent: int, knots: int) -> np.ndarray:
  """Cubic B-spline weights of `knots + 3` coefficients at each px, shape `[extent, knots + 3]`."""
  position = np.linspace(0, knots - 1e-6, extent)
  distance = np.abs(position[:, None] + 1 - np.arange(knots + 3))
  inner = 2 / 3 - distance**2 + distance**3 / 2
  outer = np.clip(2 - distance, 0, None) ** 3 / 6
  return np.where(distance < 1, inner, outer).astype(np.float32)


def smooth(rng: np.random.Generator, extent: int, knots: int) -> np.ndarray:
  """Draw a smooth field of zero mean and about unit variance with `knots` features across,
  `[extent, extent]`.
  """
  basis = _spline_basis(extent, knots)
  coefficients = rng.standard_normal((knots + 3, knots + 3), dtype=np.float32)
  # einsum rather than matmul: these products are small, and threads would cost more than they save.
  return np.einsum("ik,jk->ij", np.einsum("ik,kl->il", basis, 2 * coefficients), basis)


def smooth_profile(rng: np.random.Generator, extent: int, knots: int) -> np.ndarray:
  """Draw a smooth curve of zero mean and about unit variance with `knots` features along,
  `[extent]`.
  """
  return 1.4 * (_spline_basis(extent, knots) @ rng.standard_normal(knots + 3, dtype=np.float32))


def sample(field: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Read a field `[extent, extent]` at the px nearest to points (row, column, ...), shape
  `[N, 2+]`.
  """
  index = np.clip(np.rint(points[:, :2]).astype(int), 0, field.shape[0] - 1)
  return field[index[:, 0], index[:, 1]]


def thickness(rng: np.random.Generator, extent: int, variation: float) -> np.ndarray:
  """Draw a specimen thickness around 1: a wedge plus gentle hills, never below 0.1,
  `[extent, extent]`.
  """
  slope, _ = turned(grid(extent), np.full(2, extent / 2), rng.uniform(0, 2 * np.pi))
  return np.clip(1 + variation * (1.2 / extent * slope + 0.35 * smooth(rng, extent, 3)), 0.1, None)


def edge_distance(
  rng: np.random.Generator, extent: int, offset: float, roughness: float, angle: float | None = None
) -> np.ndarray:
  """Draw the signed distance to a wandering edge, positive inside the specimen.

  Args:
    rng: generator.
    extent: side of the field [px].
    offset: distance of the edge from the centre along its normal [px].
    roughness: standard deviation of its wandering [px].
    angle: direction of the inward normal [rad]; random if None.

  Returns:
    Distance [px], shape `[extent, extent]`.
  """
  angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
  normal, tangent = turned(grid(extent), np.full(2, extent / 2), angle)
  knots = int(rng.integers(2, 7))
  profile = smooth_profile(rng, extent, knots) + 0.3 * smooth_profile(rng, extent, 4 * knots)
  wander = np.interp(
    tangent, np.linspace(-0.71 * extent, 0.71 * extent, extent), roughness * profile
  )
  return normal - offset - wander.astype(np.float32)


def grain_labels(
  rng: np.random.Generator, extent: int, grains: int
) -> tuple[np.ndarray, np.ndarray]:
  """Divide the field into Voronoi grains.

  Args:
    rng: generator.
    extent: side of the field [px].
    grains: number of grains, at least 2.

  Returns:
    Label of the grain of each px, and the distance to the nearest boundary [px], both
    `[extent, extent]`.
  """
  rows, columns = grid(extent)
  while True:
    seeds = rng.uniform(0.1 * extent, 0.9 * extent, (grains, 2))
    gaps = np.linalg.norm(seeds[:, None] - seeds[None], axis=-1) + extent * np.eye(grains)
    if gaps.min() > 0.3 * extent:
      break
  squared = np.stack([(rows - r) ** 2 + (columns - c) ** 2 for r, c in seeds.astype(np.float32)])
  labels, nearest = squared.argmin(axis=0), squared.min(axis=0)
  np.put_along_axis(squared, labels[None], np.inf, axis=0)
  distance = (squared.min(axis=0) - nearest) / (2 * gaps[labels, squared.argmin(axis=0)]).astype(
    np.float32
  )
  return labels, distance


def particle(
  rng: np.random.Generator, extent: int, centre: np.ndarray, radius: float, facets: int
) -> tuple[tuple[slice, slice], np.ndarray]:
  """Draw the projected thickness of one particle.

  Args:
    rng: generator.
    extent: side of the field [px].
    centre: (row, column) [px], shape `[2]`.
    radius: mean radius [px].
    facets: number of sides of a faceted outline, or 0 for a rounded one.

  Returns:
    The window of the field that the particle covers, empty if it lies outside, and its thickness
    there in units of its radius (2 at the middle of a sphere).
  """
  low = np.clip(np.floor(centre - 1.7 * radius), 0, extent).astype(int)
  high = np.clip(np.ceil(centre + 1.7 * radius) + 1, 0, extent).astype(int)
  window = slice(low[0], high[0]), slice(low[1], high[1])
  rows, columns = grid(extent)
  along, across = turned(
    (rows[window[0]], columns[:, window[1]]), centre, rng.uniform(0, 2 * np.pi)
  )
  stretch = rng.uniform(1, 1.35)
  along, across = along / stretch, across * stretch
  turn = ((np.arctan2(across, along) / (2 * np.pi) + 0.5) * (_DIRECTIONS - 1)).astype(np.int32)
  rho = np.sqrt(along**2 + across**2) / (radius * _outline(rng, facets)[turn])
  if facets:  # A plate with bevelled sides.
    return window, 1.4 * np.clip((1 - rho) / rng.uniform(0.1, 0.6), 0, 1)
  return window, 2 * np.sqrt(np.clip(1 - rho**2, 0, None))


def _outline(rng: np.random.Generator, facets: int) -> np.ndarray:
  """Radius of an outline, about 1, in directions once around: a polygon, or a wobbling circle,
  `[_DIRECTIONS]`.
  """
  theta = np.linspace(-np.pi, np.pi, _DIRECTIONS)
  if facets:
    sector = 2 * np.pi / facets
    outline = 1.08 * np.cos(sector / 2) / np.cos(np.mod(theta, sector) - sector / 2)
  else:
    outline = 1 + sum(
      rng.normal(0, 0.09 / order) * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
      for order in (2, 3, 4, 5)
    )
  return outline.astype(np.float32)
