"""Means, differences and ratios with intervals."""

import numpy as np
import pytest
from scipy import stats

from adaptive_stem_tf.evaluation import intervals, statistics


def width(interval):
  return interval.high - interval.low


def simulated(rng, files, crops=6, seeds=1, between_seeds=0.0):
  """Returns values [S, N] of mean 0, correlated 0.9 within files, and the file of each image."""
  sources = np.repeat(np.arange(files), crops)
  images = np.sqrt(0.9) * rng.standard_normal(files)[sources]
  images = images + np.sqrt(0.1) * rng.standard_normal(len(sources))
  return images + between_seeds * rng.standard_normal([seeds, 1]), sources


def coverage(interval_of, draw, truth=0.0, times=150):
  """Returns the share of intervals that hold the truth."""
  intervals = [interval_of(*draw()) for _ in range(times)]
  return np.mean([one.low <= truth <= one.high for one in intervals])


# Means.


def test_three_files_by_hand():
  """Student's t of three files: 3 +- 4.3027 * sqrt(7 / 3)."""
  interval = intervals.interval_of_mean([1.0, 2.0, 6.0])
  half = 4.302653 * np.sqrt(7 / 3)
  assert interval[:3] == pytest.approx((3.0, 3 - half, 3 + half), rel=1e-6)
  assert interval.files == 3 and interval.seeds == 1


def test_a_file_counts_by_its_images_by_hand():
  """Files of 1, 2 and 1 images: the ratio estimator's variance, from residuals of file sums."""
  interval = intervals.interval_of_mean([1.0, 2.0, 6.0, 5.0], ["a", "b", "b", "c"])
  residuals = np.array([1 - 3.5, 8 - 2 * 3.5, 5 - 3.5])
  error = np.sqrt(3 / 2 * np.sum(residuals**2) / 4**2)
  assert interval.estimate == 3.5 and interval.files == 3
  assert width(interval) == pytest.approx(2 * 4.302653 * error, rel=1e-6)


def test_two_seeds_by_hand():
  """Variances between files and between seeds add, with Satterthwaite's degrees of freedom."""
  interval = intervals.interval_of_mean([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])
  of_files, of_seeds = 7 / 3, 2.0 / 2
  degrees = (of_files + of_seeds) ** 2 / (of_files**2 / 2 + of_seeds**2 / 1)
  half = stats.t.ppf(0.975, degrees) * np.sqrt(of_files + of_seeds)
  assert interval[:3] == pytest.approx((4.0, 4 - half, 4 + half), rel=1e-6)
  assert interval.seeds == 2


@pytest.mark.parametrize("files", [4, 12, 500])
def test_seeds_that_disagree_widen_the_interval(rng, files):
  values, sources = simulated(rng, files, seeds=3, between_seeds=1.0)
  apart = np.array([-1.0, 0.0, 1.0])[:, None]
  agreeing = np.repeat(values.mean(0, keepdims=True), 3, 0)
  plain = intervals.interval_of_mean(agreeing, sources)
  spread = intervals.interval_of_mean(agreeing + apart, sources)
  assert plain.estimate == pytest.approx(spread.estimate)
  assert width(spread) > max(1.5, 1.2 * width(plain))


def test_what_is_subtracted_has_seeds_of_its_own(rng):
  values, sources = simulated(rng, 6, seeds=3, between_seeds=0.1)
  other = values[:2] + 0.3
  interval = intervals.interval_of_mean(values, sources, minus=other)
  assert interval.estimate == pytest.approx(values.mean() - other.mean()) and interval.seeds == 2
  noisier = intervals.interval_of_mean(values, sources, other + np.array([[-1.0], [1.0]]))
  assert width(noisier) > 2 * width(interval)


@pytest.mark.parametrize("files, least", [(3, 0.9), (5, 0.88), (10, 0.9), (30, 0.9)])
def test_intervals_cover_the_mean_of_few_files(rng, files, least):
  """The quantiles of resampled means cover 73 % with three files, 82 % with five."""
  assert coverage(intervals.interval_of_mean, lambda: simulated(rng, files)) >= least


def test_intervals_cover_the_mean_of_all_seeds(rng):
  draw = lambda: simulated(rng, 20, seeds=3, between_seeds=0.5)
  assert coverage(intervals.interval_of_mean, draw) >= 0.9


def test_intervals_lean_towards_where_skewed_errors_lie(rng):
  """A long tail upwards: the mean may lie far above what was measured, not far below."""
  interval = intervals.interval_of_mean(rng.exponential(1.0, 12))
  assert interval.high - interval.estimate > 1.2 * (interval.estimate - interval.low)


@pytest.mark.parametrize("count", [400, 401])  # resampled, and by Student's t
def test_intervals_of_many_have_the_width_of_the_normal_approximation(rng, count):
  values = rng.standard_normal(count)
  expected = 2 * 1.96 * values.std() / np.sqrt(count)
  assert width(intervals.interval_of_mean(values)) == pytest.approx(expected, rel=0.07)


def test_intervals_over_files_are_wider_for_correlated_crops(rng):
  values, sources = simulated(rng, 10, crops=20)
  grouped = intervals.interval_of_mean(values, sources)
  assert width(grouped) > 3 * width(intervals.interval_of_mean(values))
  assert grouped.files == 10


def test_crops_are_drawn_anew_within_files(rng):
  """Files that agree in their means, not in their crops: only drawing crops moves the mean."""
  values = np.tile(rng.standard_normal(4), 8)
  crops, starts, counts, _ = intervals._resamples((4,) * 8, (1,), 0)
  means = np.add.reduceat(values[crops], starts).reshape(counts.shape).sum(1) / counts.sum(1)
  assert means.std() == pytest.approx(values.std() / np.sqrt(32), rel=0.1)


def test_one_file_speaks_for_its_own_crops(rng):
  values = rng.standard_normal(30)
  interval = intervals.interval_of_mean(values, ["a"] * 30)
  assert width(interval) == pytest.approx(width(intervals.interval_of_mean(values)))
  assert interval.files == 1


def test_nothing_bounds_the_mean_of_one_image_and_seed():
  summary = statistics.summarise([2.0], ["a"])
  assert summary == {
    "count": 1,
    "mean": 2.0,
    "standard_deviation": 0.0,
    "interval_95": None,
    "files": 1,
    "num_seeds": 1,
  }
  assert statistics.with_interval(summary) == "2.000 [unbounded] (1 file: few)"
  assert np.isnan(statistics.ends(summary)).all()


def test_equal_values_have_an_interval_of_no_width():
  assert intervals.interval_of_mean([0.5] * 8)[:3] == (0.5, 0.5, 0.5)


def test_one_value_unlike_all_others_still_bounds_the_mean():
  """A third of all resamples lack it and vary by nothing."""
  interval = intervals.interval_of_mean([0.0] * 5 + [1.0])
  assert np.isfinite(interval[:3]).all() and interval.low < 1 / 6 < interval.high


def test_the_same_values_give_the_same_interval(rng):
  values, sources = simulated(rng, 12)
  ours = intervals.interval_of_mean(values, sources)
  assert ours == intervals.interval_of_mean(values, sources)
  assert ours != intervals.interval_of_mean(values, sources, seed=1)


def test_the_order_of_images_does_not_matter(rng):
  values, sources = simulated(rng, 4)
  order = rng.permutation(values.shape[1])
  shuffled = intervals.interval_of_mean(values[:, order], sources[order])
  assert shuffled == pytest.approx(intervals.interval_of_mean(values, sources))


@pytest.mark.parametrize(
  "values, sources, minus", [([1.0, 2.0], ["a"], None), ([1.0, 2.0], None, [1.0]), ([], None, None)]
)
def test_images_that_do_not_match_are_refused(values, sources, minus):
  with pytest.raises(ValueError, match="images: each needs the same number"):
    intervals.interval_of_mean(values, sources, minus)


def test_a_summary_says_what_it_rests_on(rng):
  summary = statistics.summarise(rng.random([2, 12]), [f"f{k % 3}" for k in range(12)])
  assert summary["files"] == 3 and summary["num_seeds"] == 2 and summary["count"] == 12
  assert statistics.with_interval(summary).endswith("] (3 files: few, 2 seeds)")
  many = statistics.summarise(rng.random(12), list(range(12)))
  assert statistics.with_interval(many, ".1f").endswith("] (12 files)")
  assert statistics.with_interval(statistics.summarise(rng.random(12))).endswith(
    "(sources unknown)"
  )
  assert statistics.with_interval(None) == ""


# Ratios.


def rows(rng, seeds=3, files=6, fields=2, spread=0.3):
  """Returns log ratios of mean 0 with the source, field and seed of each row."""
  of_seed, of_file = 0.1 * rng.standard_normal(seeds), spread * rng.standard_normal(files)
  table = [
    (of_seed[s] + of_file[f] + 0.1 * rng.standard_normal(), f"file{f}", f"field{k}", s)
    for s in range(seeds)
    for f in range(files)
    for k in range(fields)
  ]
  return [np.array(column) for column in zip(*table)]


def test_a_geometric_mean_by_hand():
  """One field of each of three files: exp(mean of logs +- Student's t)."""
  interval = statistics.geometric_mean_ratio(
    np.log([0.5, 1.0, 0.25]), list("abc"), list("xyz"), [0, 0, 0]
  )
  logs = np.log([0.5, 1.0, 0.25])
  half = 4.302653 * logs.std(ddof=1) / np.sqrt(3)
  expected = [0.5, 0.5 * np.exp(-half), 0.5 * np.exp(half)]
  assert interval[:3] == pytest.approx(tuple(expected), rel=1e-6)
  assert (interval.files, interval.seeds) == (3, 1)


def test_rows_may_come_in_any_order(rng):
  table = rows(rng)
  order = rng.permutation(len(table[0]))
  shuffled = statistics.geometric_mean_ratio(*(column[order] for column in table))
  plain = statistics.geometric_mean_ratio(*table)
  assert shuffled.estimate == pytest.approx(plain.estimate) and shuffled.seeds == 3
  assert width(shuffled) == pytest.approx(width(plain), rel=0.1)
  assert (shuffled.files, plain.files) == (6, 6)


def test_the_inverse_ratio_has_the_inverse_interval(rng):
  logs, *names = rows(rng)
  ours, inverse = (statistics.geometric_mean_ratio(sign * logs, *names) for sign in (1, -1))
  assert ours[:3] == pytest.approx(
    (1 / inverse.estimate, 1 / inverse.high, 1 / inverse.low), rel=0.01
  )


def test_seeds_of_the_same_fields_are_not_more_fields(rng):
  """Ten seeds that agree leave the interval as wide as one."""
  logs, sources, fields, _ = rows(rng, seeds=1)
  one = statistics.geometric_mean_ratio(logs, sources, fields, [0] * len(logs))
  ten = statistics.geometric_mean_ratio(
    np.tile(logs, 10), np.tile(sources, 10), np.tile(fields, 10), np.repeat(range(10), len(logs))
  )
  assert width(ten) == pytest.approx(width(one), rel=0.02) and ten.seeds == 10


def test_fields_of_one_name_in_two_files_are_two_fields():
  interval = statistics.geometric_mean_ratio([0.0, 1.0], ["a", "b"], ["x", "x"], [0, 0])
  assert interval.estimate == pytest.approx(np.exp(0.5)) and interval.files == 2


@pytest.mark.parametrize("files", [3, 5, 12])
def test_geometric_means_are_covered(rng, files):
  draw = lambda: rows(rng, files=files)
  assert coverage(statistics.geometric_mean_ratio, draw, truth=1.0, times=100) >= 0.88


@pytest.mark.parametrize(
  "log_ratios, fields, seeds, said",
  [
    (
      [0.0, 0.1, 0.2],
      "xyx",
      [0, 0, 1],
      "2 seeds and 2 fields make 4 pairs, of which 1 are missing",
    ),
    ([0.0, 0.1], "xx", [0, 0], "1 repeat: every seed needs each field once"),
    ([0.0, -np.inf], "xy", [0, 0], "1 of 2 log ratios are not finite"),
    ([], "", [], "make 0 pairs"),
  ],
)
def test_rows_that_are_not_paired_are_refused(log_ratios, fields, seeds, said):
  with pytest.raises(ValueError, match=said):
    statistics.geometric_mean_ratio(log_ratios, ["a"] * len(fields), list(fields), seeds)


def test_fiellers_interval_by_hand():
  """At its ends, numerator - r * denominator lies Student's t standard errors from 0."""
  over, under = np.array([1.0, 2.0, 4.0, 3.0]), np.array([4.0, 5.0, 9.0, 7.0])
  interval = intervals.ratio_of_means(over, under)
  assert interval.estimate == 0.4
  for end in interval[1:3]:
    difference = over - end * under
    score = difference.mean() / (difference.std(ddof=1) / 2)
    assert abs(score) == pytest.approx(stats.t.ppf(0.975, 3), rel=1e-6)
  assert interval.low < 0.4 < interval.high


def test_a_denominator_that_is_not_resolved_from_zero_bounds_no_ratio(rng):
  over, under = rng.standard_normal(20) + 2, rng.standard_normal(20)
  under += 0.05 - under.mean()
  interval = intervals.ratio_of_means(over, under)
  assert np.isnan([interval.low, interval.high]).all()
  assert statistics.for_json(interval)["interval_95"] is None


def test_ratios_are_covered_where_the_denominator_is_small(rng):
  def draw():
    sources = np.repeat(np.arange(12), 4)
    under = 0.5 + rng.standard_normal(12)[sources] * 0.5 + 0.1 * rng.standard_normal(48)
    return 0.6 * under + 0.2 * rng.standard_normal(12)[sources], under, sources

  def bounded(*drawn):
    interval = intervals.ratio_of_means(*drawn)
    return interval if np.isfinite(interval.low) else interval._replace(low=-np.inf, high=np.inf)

  assert coverage(bounded, draw, truth=0.6) >= 0.9
