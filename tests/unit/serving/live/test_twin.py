"""The digital twin."""

import math

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import microscope_config
from adaptive_stem_tf.scan import distortion, environment
from adaptive_stem_tf.serving.live import microscope, twin
from tests import tiny

RAMP = np.arange(16.0)[:, None] * np.ones([1, 16]) * 10 + 100  # 100 to 250, brighter downwards
DOWN = np.stack([np.arange(4.0) + 2, np.full(4, 3.0)], 1)  # rows 2 to 5


def scope(image=RAMP, **faults):
  return twin.DigitalTwin(image, twin.Faults(**faults))


def test_a_perfect_twin_reads_what_training_reads(rng):
  image = tiny.images(1)[0, ..., 0]
  positions = rng.uniform(-5, 21, [50, 2]).astype(np.float32)
  read = environment.read(tf.constant(image[None, ..., None]), tf.constant(positions[None]))[0]
  np.testing.assert_array_equal(scope(image).probe(positions), read)


def test_a_segment_takes_its_dwell_times():
  perfect = scope(dwell=7.0)
  perfect.probe(DOWN)
  assert perfect.clock.now() == 28.0
  perfect.submit(DOWN)
  perfect.submit(DOWN)  # queued behind the one before
  assert perfect.clock.now() == 28.0
  perfect.collect()
  assert perfect.clock.now() == 56.0
  perfect.collect()
  assert perfect.clock.now() == 84.0


def test_dose_noise_has_the_mean_and_variance_of_counted_electrons():
  # Black is 100, white 250: 250 electrons at white. A pixel of 150 gets N ~ Poisson(250 / 3), in
  # steps of 150 / 250.
  values = scope(dose=250.0).probe(np.tile([[5.0, 0.0]], [20000, 1]))
  assert values.mean() == pytest.approx(150.0, abs=0.2)
  assert values.std() == pytest.approx(np.sqrt(250 / 3) * 150 / 250, rel=0.02)
  np.testing.assert_allclose((values - 100) / 0.6, np.rint((values - 100) / 0.6), atol=1e-9)
  assert (
    scope(dose=250.0).probe(np.zeros([50, 2])) == 100
  ).all()  # no electron where the specimen is black


def test_a_uniform_image_has_no_range_to_count_in():
  assert (scope(np.full([16, 16], 3.0), dose=10.0).probe(DOWN) == 3).all()


def test_jitter_moves_positions_by_its_standard_deviation():
  fine = np.arange(400.0)[:, None] * np.ones([1, 400])
  rows = scope(fine, jitter=3.0).probe(np.full([20000, 2], 200.5))
  assert rows.mean() == pytest.approx(200.0, abs=0.1) and rows.std() == pytest.approx(3.0, rel=0.03)


def test_lag_reads_what_lies_behind():
  # From the centre, row 8, to row 2, with tau = dwell / log 2: half of the way is left after each
  # dwell. Means over the dwells are 2 + 6 (1 - 1/2) / log 2 = 6.3, then 2 + 3 (1 - 1/2) / log 2 =
  # 4.2, then 3.1.
  lagging = scope(dwell=10.0, system=microscope_config.ScanSystem(lag_us=10.0 / math.log(2)))
  np.testing.assert_array_equal(lagging.probe(np.tile([[2.0, 8.0]], [3, 1])), [160, 140, 130])


def test_coils_settle_while_the_beam_waits():
  waiting, hurried = (
    scope(dwell=10.0, system=microscope_config.ScanSystem(lag_us=30.0)) for _ in range(2)
  )
  for one, pause in ((waiting, 1000.0), (hurried, 0.0)):
    one.probe(DOWN)
    one.clock.wait_until(one.clock.now() + pause)
  at_rest = np.tile(DOWN[-1:], [4, 1])
  assert (waiting.probe(at_rest) == 150).all()
  assert (hurried.probe(at_rest) == 140).all()  # on its way to row 5, not there yet


def test_a_parked_beam_comes_back_from_the_corner():
  parked = scope(dwell=10.0, system=microscope_config.ScanSystem(lag_us=10.0 / math.log(2)))
  parked.probe(DOWN)
  parked.park()
  parked.clock.wait_until(1e4)
  # From row 0 to row 8: half of the way is left after each dwell. Means are 8 - 8 (1 - 1/2) / log 2
  # = 2.2, then 5.1.
  np.testing.assert_array_equal(parked.probe(np.tile([[8.0, 8.0]], [2, 1])), [120, 150])


def test_whatever_displaces_a_beam_displaces_the_twins(rng):
  system = microscope_config.ScanSystem(
    lag_us=4.0,
    resonance_us=5.0,
    damping=0.4,
    hysteresis_px=0.5,
    scale_row_percent=5.0,
    rotation_mrad=60.0,
    shear_mrad=-40.0,
    drift_row=3.0,
    drift_change_column=9.0,
    pickup_px=2.0,
  )
  scope_, (first, second) = (
    scope(tiny.images(1)[0, ..., 0], dwell=20.0, system=system),
    rng.uniform(2, 14, [2, 9, 2]),
  )
  state = distortion.start(system, np.full([1, 2], 8.0), 16)
  for segment, pause in ((first, 0.0), (second, 35.0)):
    scope_.clock.wait_until(scope_.clock.now() + pause)
    places, state = distortion.move(
      system, distortion.rest(system, state, pause), segment[None], 20.0
    )
    pixels = np.floor(np.clip(places[0], 0, 15)).astype(int)
    np.testing.assert_array_equal(scope_.probe(segment), scope_.image[tuple(pixels.T)])


def test_drift_adds_up_while_time_passes():
  drifting = scope(
    dwell=100.0, system=microscope_config.ScanSystem(drift_row=5.0)
  )  # half a pixel a dwell
  # 8.25 - 0.25 - k / 2
  np.testing.assert_array_equal(drifting.probe(np.full([4, 2], 8.25)), [180, 170, 170, 160])
  drifting.clock.wait_until(1000.0)
  assert drifting.probe(np.full([1, 2], 8.25))[0] == 130  # 8.25 - 5.25


@pytest.mark.parametrize("faults", [{"dose": 20.0}, {"jitter": 2.0}])
def test_seeds_decide_what_is_random(faults):
  positions = np.random.default_rng(0).uniform(0, 16, [60, 2])
  first, same, other = (scope(**faults, seed=seed).probe(positions) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, same)
  assert (first != other).any()


def test_the_beam_is_on_only_while_it_probes():
  twin_ = scope()
  assert twin_.blanked
  twin_.submit(DOWN)
  assert not twin_.blanked
  twin_.collect()
  assert twin_.blanked
  twin_.close()
  with pytest.raises(microscope.MicroscopeError, match="closed"):
    twin_.submit(DOWN)


@pytest.mark.parametrize("faults", [{"dwell": 0.0}, {"dose": -1.0}, {"jitter": float("nan")}])
def test_impossible_faults_are_refused(faults):
  with pytest.raises(ValueError, match=next(iter(faults))):
    twin.Faults(**faults)


@pytest.mark.parametrize(
  "image, said", [(np.zeros([4, 5]), "shape \\[4, 5\\]"), (np.full([4, 4], np.nan), "NaN")]
)
def test_images_that_cannot_be_scanned_are_refused(image, said):
  with pytest.raises(ValueError, match=said):
    twin.DigitalTwin(image)


class ByProbeAlone(microscope.Microscope):
  """The least that a microscope of one's own has to be."""

  def __init__(self):
    self.clock, self.dwell, self.calls = microscope.SimulatedClock(), 1.0, []

  def probe(self, positions):
    self.calls.append(positions)
    return positions[:, 0]

  def blank(self):
    self.calls.append("blank")

  park = close = blank


def test_a_microscope_with_probe_alone_can_be_queued():
  with ByProbeAlone() as simple:
    simple.submit(DOWN)
    simple.submit(DOWN + 1)
    np.testing.assert_array_equal(simple.collect(), DOWN[:, 0])
    np.testing.assert_array_equal(simple.collect(), DOWN[:, 0] + 1)
  assert simple.calls[-1] == "blank"


def test_positions_that_are_not_finite_are_refused():
  for scope in (twin.DigitalTwin(np.eye(8)), ByProbeAlone()):
    with pytest.raises(ValueError, match="a position is not finite"):
      scope.submit(np.array([[1.0, np.nan]]))


class Impatient(microscope.SimulatedClock):
  """Withdraws a microscope after 20 ms."""

  def wait_until(self, when):
    super().wait_until(when)
    if self.now() >= 2e4:
      self.scope.withdraw()


def test_a_segment_is_cut_where_the_beam_is():
  clock = Impatient()
  clock.scope = cut = twin.DigitalTwin(RAMP, twin.Faults(dwell=7e3), clock)
  cut.submit(DOWN)  # 28 ms
  cut.submit(DOWN)
  with pytest.raises(microscope.WithdrawnError) as error:
    cut.collect()
  assert clock.now() == 2e4 and cut.blanked
  np.testing.assert_array_equal(error.value.measured, [120, 130])  # the third has begun
  assert cut.lit == 21e3
  with pytest.raises(microscope.WithdrawnError):
    cut.collect()
  assert clock.now() == 2e4
