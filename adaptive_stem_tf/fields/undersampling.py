"""Whether probing positions are too far apart for what they measured (docs/FIELDS.md).

Half the mean squared difference of measurements grows with their distance, from the variance of
the noise at neighbours (fields.noise) to that of noise and structure together: the variogram
(Matheron 1963). If the nearest positions already differ by as much as any others, the structure
between them was not seen: what a completion shows there is invented.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import spatial

from adaptive_stem_tf.fields import noise as noise_lib

TILE = 64  # px: structure and noise differ over a field
WARNING = 0.75  # unresolved share from which users are warned; docs/FIELDS.md says what it catches
_VISIBLE = 0.5  # variance of structure over that of noise below which there is nothing to resolve
_NEAREST = 6  # positions that each is compared with
_PAIR = 1.5  # px: nearer ones are pairs, which measure noise
_FEWEST_PAIRS = 8  # with fewer, noise would be taken for structure
_FEWEST = 12  # positions of a tile that is judged


class Sampling(NamedTuple):
  """How densely a field was measured for the structure that it has."""

  distance_px: float  # median, from a position to the nearest that is not a neighbouring pixel
  unresolved: float  # share of the structure's variance that nearest positions do not share, from 0
  structure_over_noise: float  # ratio of variances
  pairs: int  # neighbours that the noise was estimated from
  tiles: np.ndarray  # [ceil(H / TILE), ceil(W / TILE)] bool, where structure is unresolved

  @property
  def warning(self) -> str:
    """Returns a sentence if structure is finer than the distance of positions, else "".

    It is also empty if there are fewer than 8 pairs of neighbours to tell noise from structure.
    """
    if (
      self.pairs < _FEWEST_PAIRS
      or self.unresolved <= WARNING
      or self.structure_over_noise <= _VISIBLE
    ):
      return ""
    return (
      f"Positions some {self.distance_px:.1f} px apart are too few for this specimen: next ones "
      f"share {max(0.0, 1 - self.unresolved):.0%} of its structure. Details of that size in the "
      "completion are invented. Measure more (--coverage), or a smaller field at the same budget."
    )


def check(partial: np.ndarray, mask: np.ndarray) -> Sampling:
  """Compares measurements with the nearest others.

  Args:
    partial: [H, W] measured intensities on any linear scale.
    mask: [H, W] bool, where they were measured.

  Raises:
    ValueError: if fewer than 12 positions were measured.
  """
  places = np.argwhere(mask)
  if len(places) < _FEWEST:
    raise ValueError(f"{len(places)} positions say nothing of structure: measure at least 12.")
  values = partial[mask].astype(np.float64)
  noise, pairs = _noise(partial.astype(np.float64), mask)
  count = min(_NEAREST, len(places) - 1) + 1
  distance, nearest = spatial.KDTree(places).query(places, k=count)
  # Neighbouring pixels measure the noise; the others, the structure.
  apart = distance[:, 1:] >= _PAIR
  half_squared = np.square(values[:, None] - values[nearest[:, 1:]]) / 2
  shape = [-(-side // TILE) for side in mask.shape]
  tile = np.ravel_multi_index(tuple((places // TILE).T), shape)
  unseen, structure, members = np.zeros((3, shape[0] * shape[1]))
  for number in np.unique(tile):
    own = tile == number
    if own.sum() >= _FEWEST and apart[own].any():
      members[number] = own.sum()
      structure[number] = max(values[own].var(ddof=1) - noise, 0.0)
      unseen[number] = max(half_squared[own][apart[own]].mean() - noise, 0.0)
  total = max(float(members @ structure), 1e-30)
  poor = (unseen > WARNING * structure) & (structure > _VISIBLE * noise) & (members > 0)
  poor &= pairs >= _FEWEST_PAIRS
  apart_px = np.where(apart, distance[:, 1:], np.inf).min(1)
  return Sampling(
    float(np.median(apart_px[np.isfinite(apart_px)])) if apart.any() else 0.0,
    float(members @ unseen) / total,
    total / max(members.sum(), 1.0) / max(noise, 1e-30),
    pairs,
    poor.reshape(shape),
  )


def _noise(partial, mask):
  """Returns the variance of the noise, from neighbours, and how many there are."""
  image, measured = (tf.constant(x[None, ..., None], tf.float64) for x in (partial, mask))
  law = noise_lib.estimate(image * measured, measured, tf.zeros_like(image))
  return float(law.mean[0, 0, 0, 0]), int(law.pairs[0, 0, 0, 0])
