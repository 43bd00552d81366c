"""Schedules by hand."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import schedules

N = 10**6


def rate(it, n=N, **changes):
  settings = config.Optimisation(iterations=n, **changes)
  return schedules.generator_rate(tf.constant(it, tf.int64), settings).numpy()


def experiment(n=N, **changes):
  return config.Experiment().replace(iterations=n, **changes)


def test_cyclic_rate_starts_at_the_base_rate_and_follows_a_triangle():
  half = 111_111  # floor(N / 9)
  envelope = lambda it: 3e-3 * 0.75 ** (it / 200_000)
  triangle = {
    0: 1.0,
    half // 3: 1 - (half // 3) / half,
    half: 0.0,
    half + 37_037: 37_037 / half,
    2 * half: 1.0,
    3 * half: 0.0,
    8 * half: 1.0,
  }
  for it, tri in triangle.items():
    assert rate(it) == pytest.approx(envelope(it) * (0.2 + 0.8 * tri), rel=1e-4)
  assert rate(0) == pytest.approx(3e-3)
  assert rate(half) == pytest.approx(0.2 * envelope(half), rel=1e-4)


def test_the_envelope_ends_at_7_1e_4():
  assert rate(0, schedule="exponential") == pytest.approx(3e-3)
  assert rate(N // 5, schedule="exponential") == pytest.approx(2.25e-3)
  assert rate(N, schedule="exponential") == pytest.approx(7.1e-4, rel=3e-3)
  assert rate(N - 1) <= rate(N - 1, schedule="exponential")


def test_short_runs_keep_the_shape():
  for it in (0, 100, 1000, 1500, 8999):  # 9000 and 9 * 10^5 divide by 9 alike
    assert rate(it, 9000) == pytest.approx(rate(100 * it, 900_000), rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 17])
def test_very_short_runs_have_positive_rates(n):
  rates = np.array([rate(it, n) for it in range(n)])
  assert (rates > 0).all() and (rates <= 3e-3 * 1.00001).all() and rates[0] == pytest.approx(3e-3)


def test_constant_rate():
  assert rate(123, schedule="constant", generator_rate=0.5) == pytest.approx(0.5)


def test_a_sweep_rises_exponentially():
  at = lambda it: rate(it, 10_000, schedule="sweep")
  assert [at(0), at(5_000), at(10_000)] == pytest.approx([10**-6.5, 1e-3, 10**0.5], rel=1e-4)


def test_target_decay():
  at = lambda it, n=N: float(
    schedules.target_decay(tf.constant(it), config.Optimisation(iterations=n))
  )
  assert at(0) == pytest.approx(0.997**11, rel=1e-5)
  assert at(50_000) == pytest.approx(0.997**6, rel=1e-5)
  assert at(90_000) == pytest.approx(0.997**2, rel=1e-5)
  assert at(100_000) == at(900_000) == pytest.approx(0.997, rel=1e-6)
  assert at(0, 1) == pytest.approx(0.997**11, rel=1e-5)
  assert at(500, 10_000) == pytest.approx(0.997**6, rel=1e-5)


def test_adding_probability():
  at = lambda it, **changes: float(
    schedules.adding_probability(tf.constant(it), experiment(**changes))
  )
  for it, probability in (
    (0, 1),
    (99_999, 1),
    (100_000, 1),
    (199_999, 1),
    (200_000, 1 / 2),
    (300_000, 1 / 3),
    (999_999, 1 / 9),
  ):
    assert at(it) == pytest.approx(probability), it
  assert at(999_999, adding_decay=0.0) == 1
  assert at(4_000, n=10_000) == pytest.approx(1 / 4)
  assert [at(it, n=5) for it in range(5)] == pytest.approx([1, 1 / 2, 1 / 4, 1 / 6, 1 / 8])


def test_supervised_share():
  at = lambda it, kind: float(
    schedules.supervised_share(tf.constant(it), experiment(supervision=kind))
  )
  assert [at(it, "start") for it in (0, 25_000, 100_000, 500_000)] == pytest.approx([1, 0.75, 0, 0])
  assert [at(it, "full") for it in (0, 999_999)] == [1, 1]
  assert [at(it, "none") for it in (0, 999_999)] == [0, 0]


def test_exploration_scale():
  at = lambda it, decay: float(
    schedules.exploration_scale(tf.constant(it), experiment(noise_decay=decay))
  )
  assert [at(it, True) for it in (0, 250_000, 500_000, 900_000)] == pytest.approx([1, 0.25, 0, 0])
  assert at(900_000, False) == 1


def test_priority_beta():
  at = lambda it: float(schedules.priority_beta(tf.constant(it), experiment(priority_beta=0.5)))
  assert [at(it) for it in (0, 500_000, 1_000_000, 2_000_000)] == pytest.approx([0.5, 0.75, 1, 1])
