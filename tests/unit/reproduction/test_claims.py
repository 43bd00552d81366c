"""Whether claims and printed numbers agree, by the intervals of effects over seeds."""

import itertools

import numpy as np
import pytest
from scipy import stats

from adaptive_stem_tf.reproduction.claims import compare, judge, judge_printed
from adaptive_stem_tf.reproduction.entries import Claim, Printed


def of_seeds(**runs):
  """Returns values of runs by metric and seed; lists are of seeds 0, 1, 2..."""
  return {
    run: {metric: dict(enumerate(values)) for metric, values in metrics.items()}
    for run, metrics in runs.items()
  }


@pytest.mark.parametrize(
  "kind, first, second, said",
  [
    ("lower", [1.0, 1.1, 1.0], [2.0, 2.1, 2.0], "agrees"),
    ("lower", [2.0, 2.1, 2.0], [1.0, 1.1, 1.0], "disagrees"),
    ("lower", [1.0, 1.2, 1.5], [1.3, 1.4, 1.3], "unresolved"),
    ("lower", [1.0], [2.0], "unresolved (one seed)"),
    ("lower", [1.0, 1.1], [2.0, 2.1], "unresolved (2 seeds)"),
    ("lower", [1.0, 1.1, 1.0], [2.0, 2.1], "unresolved (2 seeds)"),
    ("similar", [1.0, 1.02], [2.0, 2.1], "unresolved (2 seeds)"),
    ("lower", [], [1.0, 1.1], "not run"),
    # All of one run's seeds are lost, or some.
    ("lower", [1.0, 1.1, 1.0], [np.inf, np.inf, np.nan], "agrees"),
    ("lower", [np.inf] * 3, [1.0, 1.1, 1.0], "disagrees"),
    ("similar", [np.inf] * 3, [1.0, 1.1, 1.0], "disagrees"),
    ("lower", [1.0, 1.1, 1.0], [np.inf, 2.0, 2.0], "unresolved"),
    ("lower", [np.inf] * 3, [np.inf] * 3, "unresolved"),
    ("lower", [np.inf, 1.0, 1.0], [np.inf] * 3, "unresolved"),
    ("not_lower", [2.0, 2.1, 2.0], [1.0, 1.1, 1.0], "agrees"),
    ("not_lower", [1.0, 1.1, 1.0], [2.0, 2.1, 2.0], "disagrees"),
    ("not_lower", [1.0, 1.02, 1.04], [1.01, 1.03, 1.0], "agrees"),  # at most a little lower
    ("not_lower", [1.0, 1.5, 0.7], [1.0, 1.6, 0.8], "unresolved"),
    ("not_lower", [0.95, 0.951, 0.952], [1.0, 1.001, 1.002], "disagrees"),  # little, but resolved
    ("similar", [1.0, 1.02, 1.0], [1.03, 1.05, 1.04], "agrees"),
    ("similar", [1.1, 1.101, 1.102], [1.0, 1.001, 1.002], "agrees"),  # resolved, but small
    ("similar", [1.0, 1.02, 1.0], [2.0, 2.1, 2.0], "disagrees"),
    ("similar", [2.0, 2.1, 2.0], [1.0, 1.02, 1.0], "disagrees"),
    # Alike, but so spread that nothing is shown.
    ("similar", [1.0, 1.25, 1.5], [1.2, 1.25, 1.3], "unresolved"),
    # Apart, but by less than the spread.
    ("similar", [1.0, 1.3, 1.6], [1.0, 1.5, 2.0], "unresolved"),
    # Seeds that all agree have no spread.
    ("lower", [1.0] * 3, [1.1] * 3, "agrees"),
    ("lower", [1.0] * 3, [1.0] * 3, "disagrees (similar)"),
    # A difference that is claimed, and would be less than a fifth.
    ("lower", [1.0, 1.02, 1.04], [1.01, 1.03, 1.0], "disagrees (similar)"),
    ("lower", [1.0, 1.02, 1.04], [1.0, 1.2, 1.15], "unresolved"),  # or a little more
  ],
)
def test_claims_are_judged_by_the_interval_of_the_effect(kind, first, second, said):
  claim = Claim("", "", kind, "a", "b", "test")
  assert judge(claim, of_seeds(a={"test": first}, b={"test": second})).agreement == said


def test_a_signed_difference_has_no_factor_within_which_it_is_none():
  claim = Claim("", "", "lower", "a", "b", "overfitting")
  values = of_seeds(a={"overfitting": [1.0, 1.02, 1.04]}, b={"overfitting": [1.01, 1.03, 1.0]})
  assert judge(claim, values).agreement == "unresolved"


def test_an_effect_is_a_ratio_with_welchs_interval(rng):
  ours, theirs = np.exp(rng.normal(0.0, 0.1, 5)), np.exp(rng.normal(0.3, 0.4, 4))
  expected = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False)
  effect = compare(ours, theirs)
  interval = expected.confidence_interval(0.95)
  assert effect.low == pytest.approx(np.exp(interval.low))
  assert effect.high == pytest.approx(np.exp(interval.high))
  assert effect.estimate == pytest.approx(stats.gmean(ours) / stats.gmean(theirs))
  assert effect.is_ratio


@pytest.mark.parametrize("metric, paired", [("early", True), ("initial", True), ("test", False)])
def test_seeds_are_paired_where_runs_of_one_seed_have_much_in_common(rng, metric, paired):
  seeds = rng.normal(0.0, 0.3, 4)
  ours, theirs = np.exp(seeds + 0.01 * rng.normal(size=[2, 4]) + [[0.0], [0.1]])
  verdict = judge(
    Claim("", "", "lower", "a", "b", metric), of_seeds(a={metric: ours}, b={metric: theirs})
  )
  ratios = np.log(ours / theirs)
  half = stats.t.ppf(0.975, 3) * ratios.std(ddof=1) / 2
  assert verdict.agreement == ("agrees" if paired else "unresolved")
  if paired:
    assert verdict.effect[:3] == pytest.approx(np.exp(ratios.mean() + [0, -half, half]))
  else:
    assert verdict.effect == compare(ours, theirs)


def test_the_seeds_that_both_have_are_paired_and_all_count_where_none_are():
  values = of_seeds(a={"early": [1.0, 1.1, 1.2, 1.0, 3.0]}, b={"early": [9.0, 1.3, 1.5, 1.3]})
  del values["b"]["early"][0]
  claim = Claim("", "", "lower", "a", "b", "early")
  paired = compare([1.1, 1.2, 1.0], [1.3, 1.5, 1.3], paired=True)
  assert judge(claim, values).effect == paired
  del values["a"]["early"][3]  # two in common are too few
  assert judge(claim, values).effect == compare([1.0, 1.1, 1.2, 3.0], [1.3, 1.5, 1.3])
  assert judge(claim._replace(metric="test"), values).agreement == "not run"


def test_more_seeds_of_the_run_that_others_are_compared_with_resolve_more(rng):
  ours, theirs = np.exp(0.1 * rng.standard_normal(9)), np.exp(0.25 + 0.1 * rng.standard_normal(3))
  claim = Claim("", "", "lower", "a", "b", "test")
  few, many = (
    judge(claim, of_seeds(a={"test": ours[:count]}, b={"test": theirs})) for count in (3, 9)
  )
  width = lambda effect: np.log(effect.high / effect.low)
  assert width(many.effect) < width(few.effect)
  assert len(many.first) == 9 and len(many.second) == 3


def test_metrics_that_may_be_negative_are_compared_by_their_difference():
  claim = Claim("", "", "lower", "a", "b", "overfitting")
  ours, theirs = [-0.1, -0.12, -0.11], [0.2, 0.22, 0.25]
  verdict = judge(claim, of_seeds(a={"overfitting": ours}, b={"overfitting": theirs}))
  interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
  assert verdict.effect == pytest.approx(
    (np.mean(ours) - np.mean(theirs), interval.low, interval.high, False)
  )
  assert verdict.agreement == "agrees"


def test_equal_runs_are_seldom_called_different(rng):
  """Two seeds settle nothing, three are wrong in 5 % of equal pairs at most, paired or not."""
  wrong = dict.fromkeys(itertools.product(("test", "early"), (2, 3)), 0)
  for metric, seeds in wrong:
    claim = Claim("", "", "lower", "a", "b", metric)
    for _ in range(400):
      ours, theirs = np.exp(0.2 * rng.standard_normal([2, seeds]))
      verdict = judge(claim, of_seeds(a={metric: ours}, b={metric: theirs}))
      wrong[metric, seeds] += not verdict.agreement.startswith("unresolved")
  assert all(
    count == 0 if seeds == 2 else count < 0.08 * 400 for (_, seeds), count in wrong.items()
  )


def test_a_claim_may_compare_two_metrics_of_one_run():
  claim = Claim("", "", "lower", "a", "a", "test_half:test")
  verdict = judge(claim, of_seeds(a={"test": [2.0, 2.1, 2.0], "test_half": [1.0, 1.2, 1.1]}))
  assert verdict.agreement == "agrees"
  assert verdict.effect == compare([1.0, 1.2, 1.1], [2.0, 2.1, 2.0], paired=True)
  assert verdict.effect.estimate == pytest.approx(
    stats.gmean([1.0, 1.2, 1.1]) / stats.gmean([2.0, 2.1, 2.0])
  )


@pytest.mark.parametrize(
  "metric, ours, comparable, said",
  [
    ("test", [0.1, 0.2, 0.1], True, "agrees"),
    ("test", [0.2, 0.3, 0.2], True, "disagrees"),
    ("test", [0.15], True, "unresolved (one seed)"),
    ("test", [0.1, 0.2], True, "unresolved (2 seeds)"),
    ("test", [0.1, 0.2], False, "not comparable"),
    ("test", [], True, "not run"),
    ("unstable_rate", [0.15 * 3], True, "agrees"),  # within half a decade
    ("unstable_rate", [0.15 * 4], True, "disagrees"),
  ],
)
def test_printed_numbers(metric, ours, comparable, said):
  assert judge_printed(Printed("a", metric, 0.15), of_seeds(a={metric: ours}), comparable) == (
    ours,
    said,
  )
