"""Judges whether our numbers agree with the supplement's claims and printed numbers."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from adaptive_stem_tf.reproduction.entries import Claim, Printed

AGREES, DISAGREES, UNRESOLVED, NOT_COMPARABLE, MISSING = (
  "agrees",
  "disagrees",
  "unresolved",
  "not comparable",
  "not run",
)
FEWEST_SEEDS = 3
LEVEL = 0.95
# Metrics within this ratio are similar. The supplement calls final errors similar by its curves.
SIMILAR = 1.2
_RATE_FACTOR = 10**0.5  # half a decade, the supplement's own step between rates
_RATES = ("unstable_rate", "not_finite_rate", "rate")
_SIGNED = ("overfitting",)  # metrics that may be negative: they are compared by their difference
# Runs of one seed start with the same weights, specimens and noise. Most of the spread over seeds
# is common to them over their first half, little of it at their end (docs/EXPERIMENTS.md).
_PAIRED = ("initial", "early")
INTERVALS = (
  "with a 95 % interval: of the seeds' differences for metrics of the first half of training and "
  "for two metrics of one run, Welch's otherwise"
)

# By run, metric and seed. Runs need not have the same seeds: a run that many claims share may have
# more.
Values = Mapping[str, Mapping[str, Mapping[int, float]]]


class Effect(NamedTuple):
  """How the first run's metric compares with the second's, and its 95 % interval over seeds.

  A ratio of geometric means over seeds, or, where `is_ratio` is false, a difference of means.
  """

  estimate: float
  low: float
  high: float
  is_ratio: bool


class Verdict(NamedTuple):
  """The verdict on a claim; `effect` is None for too few numbers, or some that are not finite."""

  first: list[float]
  second: list[float]
  effect: Effect | None
  agreement: str


def judge(claim: Claim, values: Values) -> Verdict:
  """Judges a claim by each seed's values.

  A claim is unresolved if the 95 % interval of the effect does not settle it, or if a run has fewer
  than three seeds. A claim of a difference is denied if all of the interval is within `SIMILAR`. If
  all seeds of one run are finite and none of the other's is, the other's metric is greater. Seeds
  that both runs have are paired, if there are enough, for metrics of the first half of training,
  and if both metrics are of one run.
  """
  metric, _, other = claim.metric.partition(":")
  ours = values.get(claim.first, {}).get(metric, {})
  theirs = values.get(claim.second, {}).get(other or metric, {})
  first, second = list(ours.values()), list(theirs.values())
  if not first or not second:
    return Verdict(first, second, None, MISSING)
  fewest = min(len(first), len(second))
  if fewest < FEWEST_SEEDS:
    return Verdict(first, second, None, _too_few(fewest))
  finite = [np.isfinite(values) for values in (first, second)]
  if not all(each.all() for each in finite):
    settled = finite[0].all() != finite[1].all() and not all(each.any() for each in finite)
    lower = bool(finite[0].all())
    return Verdict(first, second, None, _ordered(claim.kind, lower) if settled else UNRESOLVED)
  both = sorted(ours.keys() & theirs.keys())
  is_ratio = metric not in _SIGNED
  if (metric in _PAIRED or claim.first == claim.second) and len(both) >= FEWEST_SEEDS:
    of_both = lambda values: [values[seed] for seed in both]
    effect = compare(of_both(ours), of_both(theirs), is_ratio, paired=True)
  else:
    effect = compare(first, second, is_ratio)
  return Verdict(first, second, effect, _agreement(claim.kind, effect))


def compare(
  first: Sequence[float], second: Sequence[float], is_ratio: bool = True, paired: bool = False
) -> Effect:
  """Compares two runs' metrics by Student's t interval, of logarithms for a ratio.

  Args:
    first: one finite value a seed, two or more; above zero for a ratio.
    second: of the other run.
    is_ratio: whether they are compared by their ratio.
    paired: whether the interval is that of the seeds' differences, in the given order; otherwise
      it is Welch's (1947), and the numbers of seeds may differ.
  """
  ours, theirs = (np.asarray(values, np.float64) for values in (first, second))
  if is_ratio:
    ours, theirs = np.log(ours), np.log(theirs)
  low = high = difference = float(ours.mean() - theirs.mean())
  if any(np.ptp(values) > 0 for values in ([ours - theirs] if paired else [ours, theirs])):
    test = stats.ttest_rel if paired else functools.partial(stats.ttest_ind, equal_var=False)
    low, high = map(float, test(ours, theirs).confidence_interval(LEVEL))
  end = (lambda value: float(np.exp(value))) if is_ratio else float
  return Effect(end(difference), end(low), end(high), is_ratio)


def _agreement(kind: str, effect: Effect) -> str:
  none = 1.0 if effect.is_ratio else 0.0
  lower, higher = effect.high < none, effect.low > none
  similar = effect.is_ratio and effect.low >= 1 / SIMILAR and effect.high <= SIMILAR
  if kind == "similar":
    if similar:
      return AGREES
    apart = effect.estimate < 1 / SIMILAR or effect.estimate > SIMILAR
    return DISAGREES if apart and (lower or higher) else UNRESOLVED
  if kind == "not_lower" and not lower and effect.low >= 1 / SIMILAR:
    return AGREES  # at most a little lower, within SIMILAR
  if lower or higher:
    return _ordered(kind, lower)
  # The supplement's differences are seen in curves: one that is less than a fifth is none.
  return f"{DISAGREES} (similar)" if kind == "lower" and similar else UNRESOLVED


def _ordered(kind: str, lower: bool) -> str:
  """Returns the verdict on a claim if the difference is resolved."""
  if kind == "similar":
    return DISAGREES
  return AGREES if lower == (kind == "lower") else DISAGREES


def judge_printed(printed: Printed, values: Values, comparable: bool) -> tuple[list[float], str]:
  """Compares our values with a printed number.

  Args:
    printed: the number.
    values: ours.
    comparable: whether ours come from the supplement's data and sizes.

  Returns:
    Our values, and the verdict. They agree if the number lies within the range of seeds; learning
    rates, if it is within half a decade of their geometric mean.
  """
  ours = list(values.get(printed.run, {}).get(printed.metric, {}).values())
  if not ours:
    return ours, MISSING
  if not comparable:
    return ours, NOT_COMPARABLE
  if not np.isfinite(ours).all():
    return ours, UNRESOLVED
  if printed.metric in _RATES:
    ratio = np.exp(abs(np.mean(np.log(ours)) - np.log(printed.value)))
    return ours, AGREES if ratio <= _RATE_FACTOR else DISAGREES
  if len(ours) < FEWEST_SEEDS:
    return ours, _too_few(len(ours))
  return ours, AGREES if min(ours) <= printed.value <= max(ours) else DISAGREES


def _too_few(seeds: int) -> str:
  return f"{UNRESOLVED} ({'one seed' if seeds == 1 else f'{seeds} seeds'})"
