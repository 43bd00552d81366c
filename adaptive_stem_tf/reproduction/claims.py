"""Whether our numbers agree with what the supplement says: claims, numbers and the spread of
seeds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

AGREES, DISAGREES, UNRESOLVED, NOT_COMPARABLE, MISSING = (
  "agrees",
  "disagrees",
  "unresolved",
  "not comparable",
  "not run",
)
# Of equal pairs of runs, the rule below calls 22 % different with two seeds, 5 % with three
# (python -m tests.check_intervals).
_FEWEST_SEEDS = 3
_SIMILAR = 0.1  # share of the smaller value within which two errors are similar
_RATE_FACTOR = 10**0.5  # half a decade, the supplement's own step between rates
_RATES = ("unstable_rate", "not_finite_rate", "rate")

Values = Mapping[str, Mapping[str, Sequence[float]]]  # run -> metric -> one value a seed


class Claim(NamedTuple):
  """A sentence of the supplement about two runs.

  `kind` is lower (the first run's metric is), not_lower or similar; `metric` may be
  `first's:second's` where they differ.
  """

  text: str
  source: str
  kind: str
  first: str
  second: str
  metric: str


class Printed(NamedTuple):
  """A number that the supplement prints."""

  run: str
  metric: str
  value: float


class Verdict(NamedTuple):
  """What our numbers say."""

  first: list[float]
  second: list[float]
  spread: float  # greatest range of either over seeds
  agreement: str


def judge(claim: Claim, values: Values) -> Verdict:
  """Judges a claim by each seed's values; differences within the spread of seeds are unresolved.

  Fewer than three seeds resolve nothing: the spread of two is too often small by chance.
  """
  metric, _, other = claim.metric.partition(":")
  first = list(values.get(claim.first, {}).get(metric, ()))
  second = list(values.get(claim.second, {}).get(other or metric, ()))
  if not first or not second:
    return Verdict(first, second, float("nan"), MISSING)
  spread = (
    max(np.ptp(first), np.ptp(second)) if np.isfinite([*first, *second]).all() else float("nan")
  )
  fewest = min(len(first), len(second))
  if fewest < _FEWEST_SEEDS:
    return Verdict(first, second, float(spread) if fewest > 1 else float("nan"), _too_few(fewest))
  return Verdict(first, second, float(spread), _agreement(claim.kind, first, second, float(spread)))


def _agreement(kind: str, first: Sequence[float], second: Sequence[float], spread: float) -> str:
  difference = float(np.mean(first) - np.mean(second))
  if not np.isfinite(difference) or not np.isfinite(spread):
    return UNRESOLVED
  if kind == "similar":
    tolerated = _SIMILAR * min(abs(np.mean(first)), abs(np.mean(second)))
    if abs(difference) <= tolerated:
      return AGREES if spread <= tolerated else UNRESOLVED
    return DISAGREES if abs(difference) > spread else UNRESOLVED
  if abs(difference) <= spread:
    return UNRESOLVED
  lower = difference < 0
  return AGREES if lower == (kind == "lower") else DISAGREES


def judge_printed(printed: Printed, values: Values, comparable: bool) -> tuple[list[float], str]:
  """Compares our values with a printed number.

  Args:
    printed: the number.
    values: ours.
    comparable: whether ours come from the supplement's data and sizes.

  Returns:
    Ours, and whether they agree: the number lies within the range of seeds; for learning
    rates, within half a decade of their geometric mean.
  """
  ours = list(values.get(printed.run, {}).get(printed.metric, ()))
  if not ours:
    return ours, MISSING
  if not comparable:
    return ours, NOT_COMPARABLE
  if not np.isfinite(ours).all():
    return ours, UNRESOLVED
  if printed.metric in _RATES:
    ratio = np.exp(abs(np.mean(np.log(ours)) - np.log(printed.value)))
    return ours, AGREES if ratio <= _RATE_FACTOR else DISAGREES
  if len(ours) < _FEWEST_SEEDS:
    return ours, _too_few(len(ours))
  return ours, AGREES if min(ours) <= printed.value <= max(ours) else DISAGREES


def _too_few(seeds: int) -> str:
  return f"{UNRESOLVED} ({'one seed' if seeds == 1 else f'{seeds} seeds'})"
