"""Intervals of means and ratios that respect source files and training seeds (METHOD section 9).

Crops of one micrograph resemble each other, and so do all numbers of one trained network. So
seeds are resampled, then source files, then images within files. The quantiles of resampled means
alone undercover if files are few: with five files, nominal 95 % intervals cover 72 to 83 %. Here
the bootstrap is studentised instead (Efron and Tibshirani 1993, section 12.5), which
`python -m tests.check_intervals` measures against the alternatives.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
_RESAMPLES = 2000
# Numbers of files for which the bootstrap is used, and Student's t otherwise. With fewer files,
# resamples repeat one file too often; with more, both agree, and t costs far less.
_STUDENTISED = range(5, 401)
# Standard errors of resamples below this share of the sample's are rounding errors of 0.
_NO_SPREAD = 1e-9


class Interval(NamedTuple):
  """An estimate and its 95 % interval, whose ends are NaN if it is unbounded."""

  estimate: float
  low: float
  high: float
  files: int  # source files, or images if sources are unknown
  seeds: int  # training seeds


class _Layout(NamedTuple):
  """The order of images by source file."""

  order: np.ndarray  # [N], images file by file
  counts: np.ndarray  # [F], images of each file


class _Moments(NamedTuple):
  """Means of R resamples, and their variances."""

  mean: np.ndarray  # [R]
  variances: np.ndarray  # [R, 1 + arms], of the mean: between files, then between each arm's seeds


def interval_of_mean(
  values: np.ndarray,
  sources: Sequence[Any] | None = None,
  minus: np.ndarray | None = None,
  seed: int = 0,
) -> Interval:
  """Returns the mean over seeds and images, with its interval.

  Args:
    values: [S, N], of each seed and image, or [N]. Seeds are crossed with images: every seed has
      the same images.
    sources: [N], the source file of each image; None if unknown: then images are taken as
      independent. If all come from one file, its images are resampled, and the interval says
      nothing about other files.
    minus: [S', N] or [N], subtracted; its seeds are independent of those of `values`. If seeds are
      paired, subtract before, and leave this out.
    seed: of the resampling.

  Raises:
    ValueError: if the numbers of images disagree or there are none.
  """
  arms = [np.atleast_2d(np.asarray(arm, np.float64)) for arm in (values, minus) if arm is not None]
  counts = [arm.shape[1] for arm in arms] + ([] if sources is None else [len(sources)])
  if len(set(counts)) > 1 or not counts[0]:
    raise ValueError(
      f"values, minus and sources have {counts} images: each needs the same number, at least one."
    )
  layout = _layout(sources, counts[0])
  sums = [_file_sums(arm[:, layout.order], layout.counts) for arm in arms]
  moments = _moments(
    [one[None] for one in sums],
    layout.counts[None].astype(float),
    [np.ones([1, len(arm)]) for arm in arms],
  )
  mean, variances = float(moments.mean[0]), moments.variances[0]
  low, high = _pivots(arms, layout, mean, variances, seed)
  error = float(np.sqrt(variances.sum()))
  seeds = min(len(arm) for arm in arms)
  return Interval(mean, mean - high * error, mean - low * error, _files(sources, counts[0]), seeds)


def ratio_of_means(
  numerator: np.ndarray, denominator: np.ndarray, sources: Sequence[Any] | None = None
) -> Interval:
  """Returns a ratio of paired means with Fieller's interval (Fieller 1954).

  The interval has the ratios r for which the mean of numerator - r * denominator does not differ
  significantly from 0. If the mean of the denominator does not, the interval is unbounded: its ends
  are NaN.

  Args:
    numerator: [N] or [S, N].
    denominator: of the same shape.
    sources: [N], the source file of each image; None if unknown.
  """
  over, under = (np.atleast_2d(np.asarray(part, np.float64)) for part in (numerator, denominator))
  layout = _layout(sources, over.shape[1])

  def variances(values):
    """Returns the variance of the mean of values [S, N]: between files, then between seeds."""
    sums = _file_sums(values[:, layout.order], layout.counts)
    ones = np.ones([1, len(values)])
    return _moments([sums[None]], layout.counts[None].astype(float), [ones]).variances[0]

  of_over, of_under = variances(over), variances(under)
  both = (variances(over + under).sum() - variances(over - under).sum()) / 4
  square = _student(of_under, layout, [over]) ** 2
  a = under.mean() ** 2 - square * of_under.sum()
  b = over.mean() * under.mean() - square * both
  c = over.mean() ** 2 - square * of_over.sum()
  bounded = a > 0 and len(layout.counts) > 1
  half = np.sqrt(max(b * b - a * c, 0.0)) if bounded else np.nan
  low, high = ((b - half) / a, (b + half) / a) if bounded else (np.nan, np.nan)
  files = _files(sources, over.shape[1])
  return Interval(float(over.mean() / under.mean()), float(low), float(high), files, len(over))


def numbered(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
  """Returns the different names in order of appearance, and the number of each [N]."""
  different = list(dict.fromkeys(names))
  numbers = {name: number for number, name in enumerate(different)}
  return different, np.array([numbers[name] for name in names], int)


def _files(sources, images: int) -> int:
  return images if sources is None else len(set(map(str, sources)))


def _layout(sources, images: int) -> _Layout:
  """Returns the layout of images in files: one image each if there is only one source, or None."""
  files, file = numbered([] if sources is None else list(map(str, sources)))
  if len(files) < 2:
    return _Layout(np.arange(images), np.ones(images, int))
  return _Layout(np.argsort(file, kind="stable"), np.bincount(file))


def _file_sums(ordered: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns sums [F, S] over the images of each file, from values [S, N] file by file."""
  return np.add.reduceat(ordered, np.cumsum(counts) - counts, 1).T


def _moments(
  sums: Sequence[np.ndarray], counts: np.ndarray, seed_counts: Sequence[np.ndarray]
) -> _Moments:
  """Returns the means of R resamples and their variances, by linearisation (Cochran 1977, 6.3).

  Args:
    sums: [R, F, S] of each arm, over each file's images; the second arm is subtracted.
    counts: [R, F], images of each file.
    seed_counts: [R, S] of each arm, how often each seed was drawn.
  """
  total, files = counts.sum(1), counts.shape[1]
  by_file, of_seeds = np.zeros(counts.shape), []
  for sign, arm, chosen in zip((1, -1), sums, seed_counts):
    seeds = arm.shape[2]
    by_file += sign * np.einsum("rfs,rs->rf", arm, chosen) / seeds
    means = arm.sum(1) / total[:, None]
    centred = means - (means * chosen).sum(1, keepdims=True) / seeds
    of_seeds.append((chosen * centred**2).sum(1) / (seeds * max(seeds - 1, 1)))
  mean = by_file.sum(1) / total
  residuals = by_file - mean[:, None] * counts
  of_files = (residuals**2).sum(1) / total**2 * files / max(files - 1, 1)
  return _Moments(mean, np.stack([of_files, *of_seeds], 1))


def _pivots(
  arms, layout: _Layout, mean: float, variances: np.ndarray, seed: int
) -> tuple[float, float]:
  """Returns the quantiles of (mean of a resample - mean) / its standard error."""
  student = _student(variances, layout, arms)
  files = len(layout.counts)
  if files not in _STUDENTISED or not variances.sum() > 0:
    return -student, student
  crops, starts, counts, seed_counts = _resamples(
    tuple(layout.counts.tolist()), tuple(len(arm) for arm in arms), seed
  )
  ordered = [arm[:, layout.order] for arm in arms]
  sums = [
    np.stack([np.add.reduceat(row[crops], starts).reshape(-1, files) for row in arm], 2)
    for arm in ordered
  ]
  moments = _moments(sums, counts, seed_counts)
  errors = np.sqrt(moments.variances.sum(1))
  differs = errors > _NO_SPREAD * np.sqrt(variances.sum())  # if not, one file was drawn throughout
  pivots = np.where(
    differs,
    (moments.mean - mean) / np.where(differs, errors, 1.0),
    np.copysign(np.inf, moments.mean - mean),
  )
  limits = np.quantile(pivots, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
  low, high = limits if np.isfinite(limits).all() else (-student, student)
  return float(low), float(high)


def _student(variances: np.ndarray, layout: _Layout, arms) -> float:
  """Returns Student's quantile with Satterthwaite's degrees of freedom; NaN for none."""
  freedom = np.array([len(layout.counts) - 1, *(len(arm) - 1 for arm in arms)])
  if not freedom.any():
    return np.nan
  if not variances.sum() > 0:
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom.max()))
  known = freedom > 0
  degrees = variances.sum() ** 2 / np.sum(variances[known] ** 2 / freedom[known])
  return float(stats.t.ppf((1 + LEVEL) / 2, degrees))


@functools.lru_cache(maxsize=4)  # a comparison summarises thousands of metrics of the same images
def _resamples(counts: tuple[int, ...], seeds: tuple[int, ...], seed: int):
  """Draws files, images within each, and seeds.

  Returns:
    Numbers of the images drawn, one file after another [sum], where each file starts
    [R * F], images of each file [R, F], and of each arm how often seeds were drawn [R, S].
  """
  rng, files = np.random.default_rng(seed), len(counts)
  chosen = rng.integers(files, size=[_RESAMPLES, files])
  images = np.array(counts)[chosen].ravel()
  starts = np.cumsum(images) - images
  first = (np.cumsum(counts) - counts)[chosen].ravel()
  within = rng.random(images.sum()) * np.repeat(images, images)
  crops = (np.repeat(first, images) + within.astype(int)).astype(np.int32)
  of_seeds = [rng.multinomial(count, np.full(count, 1 / count), _RESAMPLES) for count in seeds]
  return (
    crops,
    starts,
    images.reshape(chosen.shape).astype(float),
    [one.astype(float) for one in of_seeds],
  )
