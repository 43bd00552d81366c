"""Inputs of the scan of a whole field beside a model: a budget, a range, and intensities."""

from __future__ import annotations

import numpy as np

from adaptive_stem_tf import intensities
from adaptive_stem_tf.micrographs import whole_fields
from adaptive_stem_tf.serving import beam as beam_lib

COVERAGE = 1 / 23  # share of the pixels that is measured if no budget is given
MOST_ROUNDS = 16  # after the survey


def budget(
  shape: tuple[int, int],
  coverage: float | None = None,
  electrons: float | None = None,
  electrons_per_pixel: float | None = None,
) -> int:
  """Returns the number of positions that a field is scanned at.

  Args:
    shape: (H, W) of the field, px.
    coverage: share of the pixels; None for 1/23, or as many as `electrons` suffice for.
    electrons: in all, in place of `coverage`.
    electrons_per_pixel: number of electrons at each position.

  Raises:
    ValueError: if budgets contradict each other, or allow no position.
  """
  pixels = shape[0] * shape[1]
  if electrons is not None:
    if coverage is not None:
      raise ValueError(
        f"electrons={electrons:g} and coverage={coverage:g} disagree: both are the budget; leave "
        "one out."
      )
    if not electrons_per_pixel:
      raise ValueError(
        f"electrons={electrons:g} needs electrons_per_pixel, what a position takes of it."
      )
    count = int(electrons / electrons_per_pixel)
  else:
    count = round((COVERAGE if coverage is None else coverage) * pixels)
  if not 1 <= count <= pixels:
    raise ValueError(
      f"the budget is {count} positions: choose it among 1 and the {pixels} pixels of the field."
    )
  return count


def intensity_range(
  kind: intensities.Normalisation, image: np.ndarray | None
) -> intensities.IntensityRange:
  """Returns the intensities that become -1 and 1: for `image` its percentiles, as in training.

  Raises:
    ValueError: if the image is constant.
  """
  if kind.kind == "known":
    return intensities.IntensityRange(np.array([kind.low]), np.array([kind.high]))
  if kind.kind == "measured" or image is None:
    return intensities.unknown_range(1)
  low, high = np.percentile(image, whole_fields.PERCENTILES)
  if high <= low:
    raise ValueError("the field is constant: there is nothing to scan.")
  return intensities.IntensityRange(np.array([low]), np.array([high]))


def reader(image: np.ndarray, electrons_per_pixel: float | None, seed: int) -> beam_lib.Beam:
  """Returns a beam over an image [H, W].

  Args:
    image: finite intensities.
    electrons_per_pixel: at a position where the field is white, which give shot noise; None or 0
      for none.
    seed: of the noise.
  """
  random = np.random.default_rng(seed)
  low, high = np.percentile(image, whole_fields.PERCENTILES)

  def measure(positions):
    """Returns the intensities at positions [N, 2] px."""
    values = np.float64(image[tuple(positions.T)])
    if not electrons_per_pixel or high <= low:
      return values
    share = np.maximum((values - low) / (high - low), 0.0)
    return low + (high - low) * random.poisson(electrons_per_pixel * share) / electrons_per_pixel

  return beam_lib.Beam(measure)
