"""Means with intervals that respect where crops come from (METHOD section 9)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_RESAMPLES = 2000
_LEVEL = 0.95


def bootstrap_means(values: np.ndarray, groups: Sequence[Any] | None = None, seed: int = 0,
                    resamples: int = _RESAMPLES) -> np.ndarray:
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
  rng = np.random.default_rng(seed)
  values = np.asarray(values, np.float64)
  if groups is None:
    return np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)])
  _, file, counts = np.unique([str(group) for group in groups], return_inverse=True, return_counts=True)
  crops = values[np.argsort(file, kind="stable")]  # file by file
  starts = np.cumsum(counts) - counts
  means = np.empty(resamples)
  for i in range(resamples):
    drawn = rng.integers(len(counts), size=len(counts))
    sizes = np.repeat(counts[drawn], counts[drawn])
    within = (rng.random(len(sizes)) * sizes).astype(int)
    means[i] = crops[np.repeat(starts[drawn], counts[drawn]) + within].mean()
  return means


def summarise(values: np.ndarray, groups: Sequence[Any] | None = None) -> dict[str, Any]:
  """Returns count, mean, standard deviation and the 95 % interval of the mean."""
  values = np.asarray(values, np.float64)
  low, high = np.quantile(bootstrap_means(values, groups), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
  return {"count": len(values), "mean": float(values.mean()), "standard_deviation": float(values.std(ddof=1))
          if len(values) > 1 else 0.0, "interval_95": [float(low), float(high)]}
