"""Routes: the order in which the beam visits a round's positions (docs/FIELDS.md)."""

from collections.abc import Callable

import numpy as np


def serpentine(
  positions: np.ndarray, shape: tuple[int, int], count: int | None = None
) -> np.ndarray:
  """Orders positions by bands of rows that are visited to and fro.

  A band is sqrt(3 H W / N) high, which makes the route through N even positions shortest, some
  0.92 sqrt(N H W) px (Daganzo 1984).

  Args:
    positions: [N, 2] px.
    shape: (H, W) of the field, px.
    count: number of positions that bands are laid out for, if some will be left out; N by default.

  Returns:
    The same positions [N, 2] in order of time.
  """
  if not len(positions):
    return positions
  height = np.sqrt(3 * shape[0] * shape[1] / (count or len(positions)))
  bands = max(1, round(shape[0] / height))
  band = np.minimum(positions[:, 0] * bands // shape[0], bands - 1)
  along = np.where(band % 2, -positions[:, 1], positions[:, 1])
  return positions[np.lexsort((along, band))]


def thinned(positions: np.ndarray, shape: tuple[int, int], count: int) -> np.ndarray:
  """Returns `count` of the positions [N, 2] px along a serpentine, every (N / count)-th of it.

  Their density is in proportion to the density of all.
  """
  route = serpentine(positions, shape, count)
  return route[(2 * np.arange(count) + 1) * len(route) // (2 * count)]


def contiguous(stops: Callable[[int], np.ndarray], count: int, measured: np.ndarray) -> np.ndarray:
  """Returns the pixels that a beam measures if it is on while it moves: every pixel on its way.

  It goes straight from stop to stop, with about as few stops as it takes to measure `count` pixels.
  The beam is blanked over pixels that were measured before, in earlier rounds or on this way.

  Args:
    stops: maps a number n, up to `count`, to n stops [n, 2] px in order of time.
    count: N, number of pixels to measure; `stops(N)` lie on N pixels that are not measured yet.
    measured: [H, W] bool, pixels that were measured before.

  Returns:
    [N, 2] px in order of time.
  """
  low, high = 0, count
  while high - low > 1:
    middle = (low + high) // 2
    enough = len(_along(stops(middle), measured)) >= count
    low, high = (low, middle) if enough else (middle, high)
  return _along(stops(high), measured)[:count]


def through(wanted: np.ndarray, measured: np.ndarray) -> np.ndarray:
  """Returns a contiguous way of N pixels through some of N wanted positions.

  Args:
    wanted: [N, 2] px, in any order, none of them measured before.
    measured: [H, W] bool, pixels that were measured before.

  Returns:
    [N, 2] px in order of time.
  """
  stops = lambda count: thinned(wanted, measured.shape, count)
  return contiguous(stops, len(wanted), measured)


def _along(stops, measured):
  """Returns the pixels [N, 2] that straight moves cross, less measured ones, in order of time."""
  moves = np.diff(stops, axis=0)
  steps = np.maximum(np.abs(moves).max(1), 1)
  move = np.repeat(np.arange(len(moves)), steps)
  # Numbers the steps of each move from 1.
  step = np.arange(len(move)) - np.repeat(np.cumsum(steps) - steps, steps) + 1
  share = (step / steps[move])[:, None]
  # Half a pixel is always rounded up; np.rint would round it to the even neighbour.
  crossed = np.floor(stops[:-1][move] + share * moves[move] + 0.5).astype(int)
  pixels = np.concatenate([stops[:1], crossed])
  flat = pixels[:, 0] * measured.shape[1] + pixels[:, 1]
  _, first = np.unique(flat, return_index=True)
  pixels = pixels[np.sort(first)]
  return pixels[~measured[tuple(pixels.T)]]


def of_rounds(masks: np.ndarray) -> np.ndarray:
  """Returns the positions of a scan, round by round, each along a serpentine.

  Args:
    masks: [R + 1, H, W] bool, measured after the survey and after each round.

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


def among(positions: np.ndarray, others: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Returns whether each of positions [N, 2] px of a field [H, W] is among others, [N] bool."""
  return np.isin(*(np.ravel_multi_index(tuple(at.T), shape) for at in (positions, others)))
