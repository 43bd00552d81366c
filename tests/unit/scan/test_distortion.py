"""The physics of scan systems, against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from adaptive_stem_tf.microscope_config import ScanSystem
from adaptive_stem_tf.scan import distortion

SIZE = 96
EVERYTHING = ScanSystem(
  lag_us=5.0,
  resonance_us=3.0,
  damping=0.3,
  hysteresis_px=0.4,
  scale_row_percent=2.0,
  scale_column_percent=-1.0,
  rotation_mrad=20.0,
  shear_mrad=-15.0,
  drift_row=1.0,
  drift_column=-2.0,
  drift_change_row=0.3,
  drift_change_column=0.1,
  pickup_px=0.7,
)


def moved(system, targets, dwell=10.0, start=None):
  """Returns where the beam of one scan is that goes along targets [n, 2] px, from `start` or from
  the first one.
  """
  targets = np.asarray(targets, np.float64)
  first = targets[0] if start is None else np.asarray(start, np.float64)
  state = distortion.start(system, first[None], SIZE)
  return distortion.move(system, state, targets[None], dwell)[0][0]


def random_targets(*shape, seed=0):
  return np.random.default_rng(seed).uniform(0, SIZE, [*shape, 2])


def test_a_perfect_system_goes_where_it_is_sent():
  targets = random_targets(3, 50)
  for system in (ScanSystem(), EVERYTHING.scaled(0.0)):
    state = distortion.rest(system, distortion.start(system, targets[:, 0] + 1, SIZE), 5.0)
    actual, after = distortion.move(system, state, targets, 10.0)
    np.testing.assert_array_equal(actual, targets)
    assert after.time_us == 505.0


def test_a_step_settles_exponentially():
  # From 0 to 1 with tau = 20 us, dwells of 10 us: after k of them 1 - e^(-k/2) is reached.
  means = moved(ScanSystem(lag_us=20.0), np.ones([3, 2]), 10.0, [0, 0])
  reached = 1 - np.exp(-0.5 * np.arange(4))
  # The mean of 1 - e^(-t/tau) over a dwell is 1 - (tau/dwell) (e^(-t0/tau) - e^(-t1/tau)).
  np.testing.assert_allclose(
    means, np.tile((1 - 2 * (reached[1:] - reached[:-1]))[:, None], 2), rtol=1e-12
  )


def test_a_ramp_is_followed_tau_late():
  # Long after the start, a beam whose command moves 1 px per dwell follows at the same speed. With
  # k = e^(-dwell/tau) it ends dwell i at i - k / (1 - k), so that its mean over a dwell is i - tau
  # / dwell: 3 px behind.
  means = moved(ScanSystem(lag_us=15.0), np.arange(200.0)[:, None] * [1.0, 0.0], 5.0)
  np.testing.assert_allclose(np.diff(means[-10:, 0]), 1.0, atol=1e-9)
  np.testing.assert_allclose(199 - means[-1, 0], 3.0, rtol=1e-9)
  np.testing.assert_array_equal(means[:, 1], 0.0)


@pytest.mark.parametrize("damping", [0.1, 0.3, 0.6])
def test_an_underdamped_step_overshoots_and_rings(damping):
  # x(t) = 1 - e^(-zeta t/T) (cos w t + zeta / sqrt(1 - zeta^2) sin w t), w = sqrt(1 - zeta^2) / T,
  # T = 8 us.
  root = math.sqrt(1 - damping**2)
  times = np.arange(4000) * 0.02 + 0.01
  turned = root * times / 8.0
  expected = 1 - np.exp(-damping * times / 8.0) * (np.cos(turned) + damping / root * np.sin(turned))
  actual = moved(ScanSystem(resonance_us=8.0, damping=damping), np.ones([4000, 2]), 0.02, [0, 0])
  # the mean over 0.02 us is nearly the middle
  np.testing.assert_allclose(actual[:, 0], expected, atol=1e-6)
  assert actual[:, 1].max() == pytest.approx(1 + math.exp(-math.pi * damping / root), abs=1e-5)
  assert times[actual[:, 0].argmax()] == pytest.approx(math.pi * 8.0 / root, abs=0.02)


@settings(max_examples=25)
@given(
  st.lists(st.floats(-50, 150), min_size=1, max_size=4),
  st.floats(0.5, 50),
  st.floats(0.5, 50),
  st.floats(1, 50),
  st.floats(0.1, 3),
)
def test_coils_solve_their_equations(targets, dwell, lag, resonance, damping):
  system = ScanSystem(lag_us=lag, resonance_us=resonance, damping=damping)
  means = moved(system, np.array(targets)[:, None] * [1.0, -1.0], dwell, [10.0, -10.0])

  def rates(_, values, command):
    lagging, position, velocity, _ = values
    return [
      (command - lagging) / lag,
      velocity,
      (lagging - position - 2 * damping * resonance * velocity) / resonance**2,
      position,
    ]

  values = np.array([10.0, 10.0, 0.0, 0.0])
  for command, mean in zip(targets, means):
    values[3] = 0.0  # the integral of the position over the dwell
    values = integrate.solve_ivp(
      rates, [0, dwell], values, "LSODA", rtol=1e-9, atol=1e-9, args=(command,)
    ).y[:, -1]
    np.testing.assert_allclose(mean, values[3] / dwell * np.array([1, -1]), atol=1e-4)


@pytest.mark.parametrize("first, second", [(1e-7, 6.0), (6.0, 1e-7), (1e-7, 1e-7)])
def test_responses_far_apart_are_exact(first, second):
  # A stage that follows at once does nothing, whatever exponentials of its rate times 10 us there
  # are.
  actual = moved(ScanSystem(lag_us=first, resonance_us=second, damping=1.0), random_targets(9))
  alone = ScanSystem(
    lag_us=first if first > 1 else 0.0, resonance_us=second if second > 1 else 0.0, damping=1.0
  )
  np.testing.assert_allclose(actual, moved(alone, random_targets(9)), atol=1e-4)


def test_backlash_follows_a_triangle_half_a_width_behind():
  # Up to 5, down to -5, up to 5 in steps of 1/2: output = command - 1 upwards, + 1 downwards, still
  # for 2 px between.
  command = np.concatenate([np.arange(0, 5, 0.5), np.arange(5, -5, -0.5), np.arange(-5, 5.5, 0.5)])
  actual = moved(ScanSystem(hysteresis_px=1.0), np.stack([command, -command], 1))
  up, down = slice(2, 11), slice(14, 31)
  np.testing.assert_array_equal(actual[up, 0], command[up] - 1)
  # from 4.5 to 3 the command turns without an effect
  np.testing.assert_array_equal(actual[11:15, 0], 4)
  np.testing.assert_array_equal(actual[down, 0], command[down] + 1)
  np.testing.assert_array_equal(actual[34:, 0], command[34:] - 1)
  np.testing.assert_array_equal(actual[:, 1], -actual[:, 0])  # axes apart, and odd


@pytest.mark.parametrize(
  "miscalibrated, expected",
  [
    ({"scale_row_percent": 10.0}, [59, 38]),
    ({"scale_column_percent": -20.0}, [58, 40]),
    (
      {"rotation_mrad": 300.0},
      [48 + 10 * math.cos(0.3) + 10 * math.sin(0.3), 48 + 10 * math.sin(0.3) - 10 * math.cos(0.3)],
    ),
    ({"shear_mrad": 200.0}, [58, 38 + 10 * math.tan(0.2)]),
  ],
)
def test_miscalibration_is_about_the_centre(miscalibrated, expected):
  actual = moved(ScanSystem(**miscalibrated), [[58.0, 38.0], [48.0, 48.0]])
  np.testing.assert_allclose(actual, [expected, [48, 48]], rtol=1e-12)


def test_scans_are_scaled_then_sheared_then_turned():
  whole = distortion.affine(EVERYTHING)
  parts = [
    distortion.affine(ScanSystem(**part))
    for part in (
      {"rotation_mrad": 20.0},
      {"shear_mrad": -15.0},
      {"scale_row_percent": 2.0, "scale_column_percent": -1.0},
    )
  ]
  np.testing.assert_allclose(whole, np.linalg.multi_dot(parts), rtol=1e-12)
  assert abs(whole - np.linalg.multi_dot(parts[::-1])).max() > 1e-4  # the order shows


def test_specimens_drift_away_from_under_the_beam():
  # v t + a t^2 / 2 at the dwells' middles, in ms; over a dwell of 2 ms the mean of t^2 is the
  # middle's + 4/12.
  system = ScanSystem(drift_row=2.0, drift_column=-4.0, drift_change_row=0.5)
  middles = np.array([1.0, 3.0, 5.0])
  actual = moved(system, np.full([3, 2], 10.0), 2000.0)
  np.testing.assert_allclose(
    actual[:, 0], 10 - 2 * middles - 0.25 * (middles**2 + 1 / 3), rtol=1e-12
  )
  np.testing.assert_allclose(actual[:, 1], 10 + 4 * middles, rtol=1e-12)


def test_mains_are_picked_up_with_their_amplitude_and_period():
  # 0.1 s: 6 periods
  actual = moved(ScanSystem(pickup_px=1.5, line_hz=60.0), np.full([1000, 2], 48.0), 100.0) - 48
  along = np.linalg.svd(actual)[2][0]  # in one direction
  np.testing.assert_allclose(actual - np.outer(actual @ along, along), 0, atol=1e-12)
  wave = actual @ along
  assert np.abs(np.fft.rfft(wave)).argmax() == 6
  # A sine at dwells' middles, a bit lower as means over dwells: sin(pi f h) / (pi f h).
  assert math.sqrt(2 * np.mean(wave**2)) == pytest.approx(
    1.5 * math.sin(0.006 * math.pi) / (0.006 * math.pi), rel=1e-9
  )


def test_pickup_is_a_wave_in_the_microscopes_direction_and_phase():
  system = ScanSystem(pickup_px=2.0, line_hz=50.0, microscope_seed=7)
  angle, phase = np.random.default_rng(7).uniform(0, 2 * np.pi, 2)
  middles = (np.arange(40) + 0.5) * 10e-6  # s
  damped = math.sin(math.pi * 50 * 10e-6) / (math.pi * 50 * 10e-6)
  wave = 2 * damped * np.sin(2 * np.pi * 50 * middles + phase)
  actual = moved(system, np.full([40, 2], 48.0)) - 48
  np.testing.assert_allclose(actual, np.outer(wave, [np.cos(angle), np.sin(angle)]), atol=1e-9)


def test_every_microscope_picks_up_its_own_way_and_keeps_it():
  one, same, other = (
    moved(ScanSystem(pickup_px=1.0, microscope_seed=seed), np.zeros([50, 2])) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, same)
  assert abs(one - other).max() > 0.1


def test_backlash_comes_before_lag_and_pickup_after_miscalibration():
  # Steps of +1 with backlash 1 do not get through: were it after the lag, or the pickup before it,
  # they would.
  stuck = moved(
    ScanSystem(hysteresis_px=1.0, resonance_us=20.0, damping=0.1),
    [[9.0, 9.0], *[[10.0, 10.0]] * 20],
  )
  np.testing.assert_array_equal(stuck, np.full([21, 2], 9.0))
  picked = moved(ScanSystem(pickup_px=1.0), np.full([9, 2], 48.0))
  np.testing.assert_allclose(
    moved(
      ScanSystem(pickup_px=1.0, scale_row_percent=50.0, scale_column_percent=50.0),
      np.full([9, 2], 48.0),
    ),
    picked,
    rtol=1e-12,
  )


@settings(max_examples=30)
@given(st.integers(1, 19), st.floats(0, 3), st.integers(0, 99))
def test_segment_by_segment_is_the_same_as_in_one_go(cut, strength, seed):
  system, targets = EVERYTHING.scaled(strength), random_targets(4, 20, seed=seed)
  begun = distortion.start(system, targets[:, 0], SIZE)
  whole, end = distortion.move(system, begun, targets, 10.0)
  first, middle = distortion.move(system, begun, targets[:, :cut], 10.0)
  second, other_end = distortion.move(system, middle, targets[:, cut:], 10.0)
  np.testing.assert_allclose(np.concatenate([first, second], 1), whole, rtol=1e-13)
  for one, other in zip(end, other_end):
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_scans_of_a_batch_do_not_meet():
  targets = random_targets(3, 12)
  together = distortion.move(
    EVERYTHING, distortion.start(EVERYTHING, targets[:, 0], SIZE), targets, 10.0
  )[0]
  np.testing.assert_allclose(together, [moved(EVERYTHING, scan) for scan in targets], rtol=1e-13)


def test_resting_is_dwelling_unmeasured():
  targets = random_targets(2, 5)
  begun = distortion.start(EVERYTHING, targets[:, 0], SIZE)
  _, there = distortion.move(EVERYTHING, begun, targets, 10.0)
  rested = distortion.rest(EVERYTHING, there, 14.0)
  _, dwelt = distortion.move(EVERYTHING, there, targets[:, -1:], 14.0)
  sent = distortion.rest(EVERYTHING, begun, 14.0, targets[:, 3])
  _, dwelt_there = distortion.move(EVERYTHING, begun, targets[:, 3:4], 14.0)
  for one, other in zip((*rested, *sent), (*dwelt, *dwelt_there)):
    np.testing.assert_allclose(one, other, rtol=1e-12)
  settled = distortion.rest(EVERYTHING, there, 1e9)
  np.testing.assert_allclose(settled.coils, settled.played[..., None] * [1, 1, 0], atol=1e-12)
  assert distortion.rest(EVERYTHING, there, 0.0).time_us == there.time_us


def test_velocities_in_nm_become_px():
  np.testing.assert_allclose(distortion.pixels_per_ms(np.array([50.0, 0.0]), 0.05), [1.0, 0.0])
