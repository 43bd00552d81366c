"""Means with intervals."""

import numpy as np
import pytest

from adaptive_stem_tf.evaluation import statistics


def width(summary):
  low, high = summary["interval_95"]
  return high - low


def test_summary_by_hand():
  summary = statistics.summarise(np.array([1.0, 2.0, 6.0]))
  assert summary["count"] == 3 and summary["mean"] == 3.0
  assert summary["standard_deviation"] == pytest.approx(np.sqrt(7))
  assert 1 <= summary["interval_95"][0] < 3 < summary["interval_95"][1] <= 6


def test_one_value():
  assert statistics.summarise([2.0]) == {
    "count": 1,
    "mean": 2.0,
    "standard_deviation": 0.0,
    "interval_95": [2.0, 2.0],
  }


def test_intervals_have_the_width_of_the_normal_approximation(rng):
  values = rng.standard_normal(400)
  assert width(statistics.summarise(values)) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_intervals_cover_the_mean(rng):
  covered = 0
  for _ in range(100):
    means = statistics.bootstrap_means(rng.exponential(1.0, 60), resamples=300)
    low, high = np.quantile(means, [0.025, 0.975])
    covered += low < 1.0 < high
  assert covered >= 86  # 93 expected of skewed samples of 60


def test_intervals_over_sources_are_wider_for_correlated_crops(rng):
  sources = np.repeat(np.arange(10), 20)
  values = rng.standard_normal(10)[sources] + 0.1 * rng.standard_normal(200)
  grouped, plain = statistics.summarise(values, list(sources)), statistics.summarise(values)
  assert width(grouped) > 2.5 * width(plain)
  # About that of the ten sources alone.
  assert width(grouped) == pytest.approx(
    2 * 1.96 * values.reshape(10, 20).mean(1).std() / np.sqrt(10), rel=0.2
  )
  assert grouped["mean"] == plain["mean"]


def test_independent_crops_need_no_grouping(rng):
  values = rng.standard_normal(400)
  grouped = statistics.summarise(values, [str(k) for k in range(400)])
  assert width(grouped) == pytest.approx(width(statistics.summarise(values)), rel=0.15)


def test_files_are_drawn_first_then_crops_within_them():
  values, sources = np.array([1.0, 10.0, 1.0, 10.0, 1.0]), ["a", "b", "a", "b", "a"]
  means = statistics.bootstrap_means(values, sources)
  drawn, share = np.unique(means.round(6), return_counts=True)
  # both files a, one of each, both b
  np.testing.assert_allclose(drawn, [1, (3 * 1 + 2 * 10) / 5, 10])
  np.testing.assert_allclose(share / 2000, [0.25, 0.5, 0.25], atol=0.04)


def test_resampling_repeats():
  values = np.arange(9.0)
  np.testing.assert_array_equal(
    statistics.bootstrap_means(values), statistics.bootstrap_means(values)
  )
  assert (statistics.bootstrap_means(values) != statistics.bootstrap_means(values, seed=1)).any()
