"""Measures how often 95 % intervals hold the mean that they are of, by simulation.

  python -m tests.check_intervals --repetitions=2000

Images of a file correlate by 0.9, files hold 3 to 9 of them, and with several seeds a seed, and a
seed on a file, shift errors by 0.3 standard deviations. File means are normal, exponential or
log-normal. Compared: the quantiles of resampled means, BCa, Student's t of file means, the
studentised bootstrap, and what `evaluation.intervals` gives: Student's t below five files, else the
studentised bootstrap. Prints a table of coverage with median widths in brackets, and how many pairs
of equal runs the claims of `reproduction.claims` would call different. It takes twenty minutes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import app, flags
from scipy import stats

from adaptive_stem_tf.evaluation import intervals as intervals_lib
from adaptive_stem_tf.reproduction import claims

_REPETITIONS = flags.DEFINE_integer(
  "repetitions", 1000, "simulated experiments of each kind", lower_bound=10
)
_KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
  "normal": lambda rng, files: rng.standard_normal(files),
  "exponential": lambda rng, files: rng.exponential(1.0, files) - 1.0,
  "log-normal": lambda rng, files: (
    (rng.lognormal(size=files) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
  ),
}
_CASES = ((1, (2, 3, 5, 8, 10, 15, 20, 40)), (2, (5, 20)), (3, (3, 5, 10, 20, 40)))
_TAILS, _CORRELATION, _SEED_SPREAD = (0.025, 0.975), 0.9, 0.3


class _Experiment(NamedTuple):
  values: np.ndarray  # [S, N], of mean 0
  sources: np.ndarray  # [N]


def simulate(rng: np.random.Generator, kind: str, seeds: int, files: int) -> _Experiment:
  """Returns a simulated experiment."""
  sources = np.repeat(np.arange(files), rng.integers(3, 10, files))
  images = np.sqrt(_CORRELATION) * _KINDS[kind](rng, files)[sources]
  images += np.sqrt(1 - _CORRELATION) * rng.standard_normal(len(sources))
  shifts = rng.standard_normal([seeds, 1]) + rng.standard_normal([seeds, files])[:, sources]
  return _Experiment(images + (_SEED_SPREAD * shifts if seeds > 1 else np.zeros([1, 1])), sources)


def intervals(one: _Experiment) -> dict[str, tuple[float, float]]:
  """Returns each form's interval of the mean."""
  ours = intervals_lib.interval_of_mean(one.values, one.sources)
  student = _of(one, range(0))
  studentised = _of(one, range(2, 10**6))
  means = _resampled_means(one)
  return {
    "quantiles": tuple(np.quantile(means, _TAILS)),
    "BCa": _bca(one, means),
    "Student's t": student,
    "studentised": studentised,
    "ours": (ours.low, ours.high),
  }


def _of(one, studentised):
  """Returns our interval with another range of numbers of files that are studentised."""
  kept, intervals_lib._STUDENTISED = intervals_lib._STUDENTISED, studentised
  interval = intervals_lib.interval_of_mean(one.values, one.sources)
  intervals_lib._STUDENTISED = kept
  return interval.low, interval.high


def _resampled_means(one):
  layout = intervals_lib._layout(one.sources, len(one.sources))
  crops, starts, counts, (drawn,) = intervals_lib._resamples(
    tuple(layout.counts.tolist()), (len(one.values),), 0
  )
  sums = [np.add.reduceat(row[crops], starts).reshape(counts.shape) for row in one.values]
  return intervals_lib._moments([np.stack(sums, 2)], counts, [drawn]).mean


def _bca(one, means):
  """Returns the bias-corrected and accelerated interval (Efron and Tibshirani 1993, 14.3)."""
  mean = one.values.mean()
  bias = stats.norm.ppf(np.clip(np.mean(means < mean), 1e-3, 1 - 1e-3))
  left_out = [
    np.delete(one.values, np.flatnonzero(one.sources == file), 1).mean()
    for file in np.unique(one.sources)
  ]
  influence = [np.mean(left_out) - np.array(left_out)]
  if len(one.values) > 1:
    by_seed = [np.delete(one.values, seed, 0).mean() for seed in range(len(one.values))]
    influence.append(np.mean(by_seed) - np.array(by_seed))
  cubes, squares = (sum(np.sum(part**power) for part in influence) for power in (3, 2))
  acceleration = cubes / (6 * squares**1.5)
  shifted = bias + stats.norm.ppf(_TAILS)
  return tuple(np.quantile(means, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))))


def called_different(rng: np.random.Generator, seeds: int, pairs: int = 20_000) -> float:
  """Returns the share of equal runs whose effect (`reproduction.claims`) excludes none."""
  effects = [claims.compare(*np.exp(0.2 * rng.standard_normal([2, seeds]))) for _ in range(pairs)]
  return float(np.mean([effect.high < 1 or effect.low > 1 for effect in effects]))


def main(_: list[str]) -> None:
  """Prints the table."""
  rng, heading = np.random.default_rng(0), False
  for kind in _KINDS:
    for seeds, counts in _CASES:
      for files in counts:
        drawn = [intervals(simulate(rng, kind, seeds, files)) for _ in range(_REPETITIONS.value)]
        if not heading:
          print(f"| file means | seeds | files | {' | '.join(drawn[0])} |\n{'|---' * 8}|")
          heading = True
        cells = []
        for name in drawn[0]:
          low, high = np.array([one[name] for one in drawn]).T
          cells.append(f"{np.mean((low <= 0) & (high >= 0)):.1%} ({np.median(high - low):.2f})")
        print(f"| {kind} | {seeds} | {files} | {' | '.join(cells)} |", flush=True)
  shares = [f"{seeds} seeds {called_different(rng, seeds):.1%}" for seeds in (3, 4, 5)]
  print(f"Equal runs that would be called different: {', '.join(shares)}.")


if __name__ == "__main__":
  app.run(main)
