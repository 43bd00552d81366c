"""Linear interpolation on Delaunay triangles, drawn triangle by triangle.

SciPy searches the triangle of every pixel, which takes seconds for a field; a triangle has few
pixels.
"""

import numpy as np
from scipy import ndimage, spatial

_EDGE = 1e-9  # pixels on an edge belong to both triangles, whose values agree there
_BATCH = 2**20  # pixels that are computed at once


def linear(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Interpolates a partial field; outside the hull of its positions the nearest value holds.

  Args:
    values: [H, W] intensities where measured.
    mask: [H, W] bool.

  Returns:
    [H, W] float64, without the target's filter.
  """
  points = np.argwhere(mask)
  rows, columns = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
  image = values[rows, columns].astype(np.float64)
  if len(points) < 3 or np.linalg.matrix_rank(points - points[0]) < 2:
    return image  # on one line: there are no triangles
  corners = points[spatial.Delaunay(points).simplices].astype(np.float64)  # [M, 3, 2]
  heights = values[mask][_numbers(mask)[tuple(corners.astype(int).transpose(2, 0, 1))]]
  low = corners.min(1)
  size = 2 ** np.ceil(np.log2((corners.max(1) - low).max(1) + 1)).astype(int)
  for side in np.unique(size):
    which = np.flatnonzero(size == side)
    step = max(1, _BATCH // side**2)
    for start in range(0, len(which), step):
      part = which[start : start + step]
      _draw(image, corners[part], heights[part].astype(np.float64), low[part], side)
  image[mask] = values[mask]
  return image


def _numbers(mask):
  """Returns the number of each measured pixel among them, [H, W]."""
  return np.cumsum(mask.ravel()).reshape(mask.shape) - 1


def _draw(image, corners, heights, low, side):
  """Sets the pixels inside triangles [M, 3, 2] from the heights [M, 3] of their corners."""
  offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
  at = low[:, None] + offsets.reshape(1, -1, 2)  # [M, side^2, 2]
  a, b, c = (corners[:, i, None] for i in range(3))
  cross = lambda u, v: u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
  area = cross(b - a, c - a)
  flat = np.abs(area) < _EDGE
  area = np.where(flat, 1.0, area)
  second, third = cross(at - a, c - a) / area, cross(b - a, at - a) / area
  first = 1.0 - second - third
  inside = (first >= -_EDGE) & (second >= -_EDGE) & (third >= -_EDGE) & ~flat
  value = first * heights[:, :1] + second * heights[:, 1:2] + third * heights[:, 2:]
  rows, columns = at[inside].astype(int).T
  image[rows, columns] = value[inside]
