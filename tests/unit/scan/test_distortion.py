"""Coil lag and specimen drift, against their closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from adaptive_stem_tf.scan import distortion


def test_coils_without_lag_are_where_they_are_sent():
  targets = np.array([[1.0, 2.0], [5.0, 5.0]])
  means, end = distortion.settle(targets, 10.0, 0.0, np.zeros(2))
  np.testing.assert_array_equal(means, targets)
  np.testing.assert_array_equal(end, [5, 5])


def test_a_step_settles_exponentially():
  # From 0 to 1 with tau = 20 us, dwells of 10 us: after k of them 1 - e^(-k/2) is reached.
  means, end = distortion.settle(np.ones([3, 2]), 10.0, 20.0, np.zeros(2))
  reached = 1 - np.exp(-0.5 * np.arange(4))
  np.testing.assert_allclose(end, reached[3], rtol=1e-12)
  # The mean of 1 - e^(-t/tau) over a dwell is 1 - (tau/dwell) (e^(-t0/tau) - e^(-t1/tau)).
  np.testing.assert_allclose(means[:, 0], 1 - 2 * (reached[1:] - reached[:-1]), rtol=1e-12)


def test_a_ramp_is_followed_tau_late():
  # Long after the start, a beam whose command moves 1 px per dwell follows at the same speed. With k = e^(-dwell/tau)
  # it ends dwell i at i - k / (1 - k), so that its mean over a dwell is i - tau / dwell: 3 px behind.
  means, _ = distortion.settle(np.arange(200.0)[:, None] * [1.0, 0.0], 5.0, 15.0, np.zeros(2))
  np.testing.assert_allclose(np.diff(means[-10:, 0]), 1.0, atol=1e-9)
  np.testing.assert_allclose(199 - means[-1, 0], 3.0, rtol=1e-9)
  np.testing.assert_array_equal(means[:, 1], 0.0)


@settings(max_examples=30)
@given(st.lists(st.floats(-50, 150), min_size=1, max_size=6), st.floats(0.5, 50), st.floats(0.5, 50))
def test_settling_solves_its_equation(targets, dwell, tau):
  targets = np.array(targets)[:, None] * [1.0, -1.0]
  means, end = distortion.settle(targets, dwell, tau, np.array([10.0, -10.0]))
  position = 10.0
  for target, mean in zip(targets[:, 0], means[:, 0]):
    # Together with the position, its integral over the dwell.
    solved = integrate.solve_ivp(lambda _, x, to=target: [(to - x[0]) / tau, x[0]], [0, dwell], [position, 0.0],
                                 rtol=1e-9, atol=1e-9)
    position, integral = solved.y[:, -1]
    assert mean == pytest.approx(integral / dwell, abs=1e-4)
  np.testing.assert_allclose(end, [position, -position], atol=1e-5)


def test_one_call_equals_two():
  targets = np.random.default_rng(0).uniform(0, 96, [8, 2])
  whole, end = distortion.settle(targets, 3.0, 7.0, np.array([4.0, 5.0]))
  first, middle = distortion.settle(targets[:3], 3.0, 7.0, np.array([4.0, 5.0]))
  second, other_end = distortion.settle(targets[3:], 3.0, 7.0, middle)
  np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-12)
  np.testing.assert_allclose(other_end, end, rtol=1e-12)


def test_a_specimen_that_drifts_away_shows_what_lay_behind():
  # 2 px/ms down for 500 us is 1 px: under the beam at row 10 lies what was at row 9.
  places = distortion.drifted(np.array([[10.0, 10.0], [10.0, 10.0]]), np.array([0.0, 500.0]), np.array([2.0, -4.0]))
  np.testing.assert_allclose(places, [[10, 10], [9, 12]])


def test_velocities_in_nm_become_px():
  np.testing.assert_allclose(distortion.pixels_per_ms(np.array([50.0, 0.0]), 0.05), [1.0, 0.0])
