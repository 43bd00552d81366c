"""Means with intervals that respect where crops come from (METHOD section 9)."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_RESAMPLES = 2000
_LEVEL = 0.95


def bootstrap_means(
  values: np.ndarray,
  groups: Sequence[Any] | None = None,
  seed: int = 0,
  resamples: int = _RESAMPLES,
) -> np.ndarray:
  """Returns means of bootstrap resamples.

  Crops of one micrograph are not independent: where sources are known, files are
  drawn first, then crops within each.

  Args:
    values: [N], one an image.
    groups: [N], the source file of each; None if unknown.
    seed: of the resampling.
    resamples: how many.

  Returns:
    [resamples].
  """
  values = np.asarray(values, np.float64)
  key = None if groups is None else tuple(str(group) for group in groups)
  return _resample_weights(key, len(values), seed, resamples) @ values


@functools.lru_cache(maxsize=64)  # a comparison summarises thousands of metrics of the same images
def _resample_weights(
  groups: tuple[str, ...] | None, count: int, seed: int, resamples: int
) -> np.ndarray:
  """Returns the share that each image has in each resample [resamples, count]."""
  rng = np.random.default_rng(seed)
  weights = np.empty([resamples, count])
  if groups is None:
    for row in weights:
      row[:] = np.bincount(rng.integers(count, size=count), minlength=count) / count
    return weights
  _, file, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
  crops = np.argsort(file, kind="stable")  # file by file
  starts = np.cumsum(counts) - counts
  for row in weights:
    drawn = rng.integers(len(counts), size=len(counts))
    sizes = np.repeat(counts[drawn], counts[drawn])
    within = (rng.random(len(sizes)) * sizes).astype(int)
    row[crops] = np.bincount(
      np.repeat(starts[drawn], counts[drawn]) + within, minlength=count
    ) / len(sizes)
  return weights


def summarise(values: np.ndarray, groups: Sequence[Any] | None = None) -> dict[str, Any]:
  """Returns count, mean, standard deviation and the 95 % interval of the mean."""
  values = np.asarray(values, np.float64)
  low, high = np.quantile(bootstrap_means(values, groups), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
  return {
    "count": len(values),
    "mean": float(values.mean()),
    "standard_deviation": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
    "interval_95": [float(low), float(high)],
  }


def told(summary: Mapping[str, Any] | None, form: str = ".3f") -> str:
  """Returns a mean and its interval as text, in a format of numbers; nothing for None."""
  if summary is None:
    return ""
  low, high = summary["interval_95"]
  return f"{summary['mean']:{form}} [{low:{form}}, {high:{form}}]"
