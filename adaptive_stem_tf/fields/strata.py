"""How unevenly structure is spread over a field: the Gini coefficient, and strata declared by it.

Strata are declared before anything is measured: they depend on the field alone, not on any scan.
"""

import numpy as np
from scipy import ndimage

HETEROGENEOUS, MIXED, FRAME_FILLING = STRATA = ("heterogeneous", "mixed", "frame-filling")

_TILE = 64  # px
_SIGMA, _REACH = 2.5, 2  # px: the filter of targets, 5 x 5 (METHOD decision 5)
_HETEROGENEOUS_FROM, _MIXED_FROM = 0.5, 0.3


def low_pass(field: np.ndarray) -> np.ndarray:
  """Returns a field [H, W] after the filter of targets, borders reflected without repeating the
  edge; float64.
  """
  return ndimage.gaussian_filter(
    np.asarray(field, np.float64), _SIGMA, mode="mirror", radius=_REACH
  )


def gini(field: np.ndarray) -> float:
  """Returns the Gini coefficient of a field's structure over tiles of 64 px.

  A tile's structure is its mean squared gradient after the filter of targets. A coefficient of 0
  means that all tiles have the same, and one near 1 that one tile has everything. It does not
  depend on the scale of intensities. Rows and columns beyond the last whole tile do not count.

  Args:
    field: [H, W].

  Raises:
    ValueError: if the field is not two-dimensional or smaller than a tile.
  """
  if np.ndim(field) != 2 or min(np.shape(field)) < _TILE:
    raise ValueError(
      f"A field of shape {np.shape(field)} has no tile of {_TILE} x {_TILE} px: give one of at "
      "least that size, [H, W]."
    )
  rows, columns = (length // _TILE for length in np.shape(field))
  squared = sum(slope**2 for slope in np.gradient(low_pass(field)))
  tiles = squared[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE)
  structure = np.sort(tiles.mean(axis=(1, 3)).ravel())
  count, total = structure.size, structure.sum()
  if total == 0:  # A constant field: equal everywhere.
    return 0.0
  # With x_1 <= ... <= x_n:  G = sum_i (2 i - n - 1) x_i / (n sum_i x_i).
  ranks = 2 * np.arange(1, count + 1) - count - 1
  return float(ranks @ structure / (count * total))


def stratum(coefficient: float) -> str:
  """Returns the stratum, one of `STRATA`, of a field with a Gini coefficient."""
  if coefficient >= _HETEROGENEOUS_FROM:
    return HETEROGENEOUS
  return MIXED if coefficient >= _MIXED_FROM else FRAME_FILLING
