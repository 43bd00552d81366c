"""Routes: the order in which the beam visits a round's positions (docs/FIELDS.md)."""

import numpy as np


def serpentine(positions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Orders positions by bands of rows that are visited to and fro.

  A band is sqrt(3 H W / N) high, which makes the route through N even positions shortest, some
  0.92 sqrt(N H W) px (Daganzo 1984).

  Args:
    positions: [N, 2] px.
    shape: (H, W) of the field, px.

  Returns:
    The same positions [N, 2] in order of time.
  """
  if not len(positions):
    return positions
  height = np.sqrt(3 * shape[0] * shape[1] / len(positions))
  bands = max(1, round(shape[0] / height))
  band = np.minimum(positions[:, 0] * bands // shape[0], bands - 1)
  along = np.where(band % 2, -positions[:, 1], positions[:, 1])
  return positions[np.lexsort((along, band))]


def of_rounds(masks: np.ndarray) -> np.ndarray:
  """Returns the positions of a scan, round by round, each along a serpentine.

  Args:
    masks: [R + 1, H, W] bool, what is measured after the survey and after each round.

  Returns:
    [N, 2] px in order of time.
  """
  before = np.zeros_like(masks[0])
  parts = []
  for mask in masks:
    parts.append(serpentine(np.argwhere(mask & ~before), mask.shape))
    before = mask
  return np.concatenate(parts)


def length(positions: np.ndarray) -> float:
  """Returns the length of a route through positions [N, 2] px, in px."""
  return float(np.linalg.norm(np.diff(positions.astype(np.float64), axis=0), axis=1).sum())
