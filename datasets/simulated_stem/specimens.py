"""What a specimen is: a canvas to draw it on, what a drawing holds, and the parts that several
kinds share.
"""

from typing import NamedTuple

import numpy as np

from . import crystals, defects, fields


class Canvas(NamedTuple):
  """Where a specimen is drawn.

  Attributes:
    size: side of the micrograph [px].
    margin: width of the border that is drawn around it and cut off after imaging [px].
    spacing: smallest and largest distance between neighbouring atomic columns [px].
  """

  size: int
  margin: int
  spacing: tuple[float, float]

  @property
  def extent(self) -> int:
    """Side of the drawn field, margins included [px]."""
    return self.size + 2 * self.margin

  def anywhere(self, rng: np.random.Generator, inset: float = 0.0) -> np.ndarray:
    """Draw a position (row, column) [px] in the micrograph, a share `inset` of its side away from
    the borders.
    """
    return self.margin + self.size * rng.uniform(inset, 1 - inset, 2)


class Specimen(NamedTuple):
  """A drawn specimen. The unit of intensity is the mean of the reference material at unit
  thickness.

  Attributes:
    columns: atomic columns (row, column, integrated intensity), [px, px, px^2], shape `[N, 3]`.
    continuum: intensity of everything that is not resolved into atoms, shape `[extent, extent]`.
    texture: standard deviation of the amorphous speckle in the image, relative to the continuum.
    sigma: standard deviation of the probe and of the atoms' own width together [px].
    pixel_size: [nm per px].
  """

  columns: np.ndarray
  continuum: np.ndarray
  texture: float
  sigma: float
  pixel_size: float


class Crystal(NamedTuple):
  """A projected crystal at some magnification.

  Attributes:
    cell: projected cell.
    spacing: distance between neighbouring columns [px].
    pixel_size: [nm per px].
    sigma: standard deviation of the probe that resolves it [px].
  """

  cell: crystals.Cell
  spacing: float
  pixel_size: float
  sigma: float


NO_COLUMNS = np.zeros((0, 3))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
  """Draw from [low, high], uniformly on a logarithmic scale."""
  return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def magnify(rng: np.random.Generator, cell: crystals.Cell, canvas: Canvas) -> Crystal:
  """Choose the magnification and the probe for a projected cell."""
  spacing = log_uniform(rng, *canvas.spacing)
  sigma = max(0.8, spacing * rng.uniform(0.17, 0.32))
  return Crystal(cell, spacing, cell.spacing / spacing, sigma)


def random_crystal(rng: np.random.Generator, canvas: Canvas) -> Crystal:
  """Draw a structure, a zone axis and a magnification; one in ten is a monolayer."""
  if rng.random() < 0.1:
    return magnify(rng, crystals.monolayer(), canvas)
  name = str(rng.choice(list(crystals.STRUCTURES)))
  return magnify(rng, crystals.project(name, str(rng.choice(crystals.ZONES))), canvas)


def random_grain(rng: np.random.Generator, crystal: Crystal, canvas: Canvas) -> np.ndarray:
  """Fill the canvas with a randomly placed and rotated crystal, with slight disorder: columns
  `[N, 3]`.
  """
  angle, centre = rng.uniform(0, np.pi), canvas.anywhere(rng)
  columns = crystals.tile(crystal.cell, crystal.pixel_size, angle, centre, canvas.extent)
  return defects.thermal_disorder(rng, columns, 0.015 * crystal.spacing)


def with_point_defects(rng: np.random.Generator, columns: np.ndarray) -> np.ndarray:
  """Give some crystals vacancies and some crystals dopants."""
  if rng.random() < 0.5:
    columns = defects.vacancies(rng, columns, log_uniform(rng, 0.003, 0.05))
  if rng.random() < 0.5:
    columns = defects.substitutions(
      rng, columns, log_uniform(rng, 0.003, 0.06), rng.choice([0.5, 1.8, 2.5])
    )
  return columns


def weigh(columns: np.ndarray, field: np.ndarray) -> np.ndarray:
  """Multiply the columns' weights by a field `[extent, extent]`, and drop columns left with
  none.
  """
  weighed = columns.copy()
  weighed[:, 2] *= fields.sample(field, columns)
  return weighed[weighed[:, 2] > 0]
