"""Scans by a beam that is not where it is sent."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.microscope_config import ScanSystem
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.scan import (
  baselines,
  distorted,
  distortion,
  drawn_paths,
  environment,
  partial_scan,
  paths,
)
from tests import tiny

SCAN = tiny.experiment().scan
SEED = tf.constant([0, 3], tf.int64)
STRONG = ScanSystem(
  lag_us=8.0, resonance_us=6.0, damping=0.3, hysteresis_px=0.5, rotation_mrad=50.0, drift_row=2.0
)


def every_path():
  """Returns a path of each kind."""
  actor = actor_lib.Actor(tiny.experiment())
  return {
    "adaptive": paths.Adaptive(actor, SCAN),
    "random_walk": paths.RandomWalk(SCAN),
    "fixed": paths.Fixed(baselines.zigzag(SCAN), SCAN),
    "drawn": drawn_paths.JitteredGrid(SCAN),
  }


@pytest.mark.parametrize("name", ["adaptive", "random_walk", "fixed", "drawn"])
def test_a_perfect_system_scans_as_in_the_graph(name, images):
  path = every_path()[name]
  in_graph = tf.function(lambda batch: path.scan(batch, None, SEED))(tf.constant(images))
  scans = distorted.distorted_scan(path, images, ScanSystem(), 10.0, 3)
  np.testing.assert_array_equal(scans.intensities, in_graph.observations.numpy().reshape(8, -1))
  np.testing.assert_array_equal(scans.nominal, scans.actual)
  inside = np.clip(path.positions(in_graph.actions), 0, SCAN.image_size - 1)
  np.testing.assert_allclose(scans.nominal, inside, atol=1e-5)
  drawn = partial_scan.draw_at(scans.intensities, tf.constant(scans.nominal), SCAN.image_size)
  np.testing.assert_array_equal(drawn, path.draw(in_graph.observations, in_graph.actions))


@pytest.mark.parametrize("name", ["adaptive", "random_walk", "fixed", "drawn"])
def test_the_beam_is_where_the_physics_puts_it(name, images):
  scans = distorted.distorted_scan(every_path()[name], images, STRONG, 10.0, 3)
  state = distortion.start(STRONG, scans.nominal[:, 0], SCAN.image_size)
  actual, _ = distortion.move(STRONG, state, scans.nominal, 10.0)  # in one go
  np.testing.assert_allclose(scans.actual, actual, atol=1e-5)
  places = np.floor(scans.nominal) + scans.actual - scans.nominal
  read = environment.read_detailed(tf.constant(images), tf.constant(places))
  np.testing.assert_allclose(scans.intensities, read, atol=1e-5)
  assert abs(scans.actual - scans.nominal).max() > 1


def test_actors_decide_on_what_the_distorted_beam_measured(images):
  path = every_path()["adaptive"]
  straight, bent = (
    distorted.distorted_scan(path, images, system, 10.0).nominal
    for system in (ScanSystem(), STRONG)
  )
  # nothing was decided yet
  np.testing.assert_array_equal(straight[:, : SCAN.probes], bent[:, : SCAN.probes])
  assert abs(straight - bent).max() > 1e-4


def test_batches_are_the_same_scans_apart(images):
  path = paths.Fixed(baselines.zigzag(SCAN), SCAN)
  many = np.tile(images, [5, 1, 1, 1])[:37]
  scans = distorted.distorted_scan(path, many, STRONG, 10.0)
  assert [part.shape for part in scans] == [(37, 16, 2), (37, 16, 2), (37, 16)]
  np.testing.assert_array_equal(
    scans.intensities[32:], distorted.distorted_scan(path, many[32:], STRONG, 10.0)[2]
  )
  walks = distorted.distorted_scan(paths.RandomWalk(SCAN), many, STRONG, 10.0).nominal
  assert len(np.unique(walks, axis=0)) == 37
  assert (
    walks != distorted.distorted_scan(paths.RandomWalk(SCAN), many, STRONG, 10.0, 1).nominal
  ).any()


def test_beams_are_never_sent_outside():
  read = distorted.DistortedReader(ScanSystem(lag_us=20.0), 10.0)
  ramp = tf.range(16.0)[None, :, None, None] * tf.ones([1, 1, 16, 1])
  read(ramp, tf.constant([[[15.0, 8.0]] * 4]))
  read(ramp, tf.constant([[[40.0, 8.0]] * 4]))
  read(ramp, tf.constant([[[13.0, 8.0]]]))
  np.testing.assert_array_equal(read.nominal[0, :, 0], [15.0] * 8 + [13.0])
  # It lags by e^0 to e^(-1/2) of 2 px, on average 2 (1 - e^(-1/2)) / (1/2): all that was commanded
  # is inside.
  np.testing.assert_allclose(read.actual[0, -1, 0], 13 + 4 * (1 - np.exp(-0.5)), rtol=1e-6)


def test_graphs_are_refused():
  read = distorted.DistortedReader(STRONG, 10.0)
  with pytest.raises(RuntimeError, match="call scan outside of tf.function"):
    tf.function(lambda: read(tf.zeros([1, 8, 8, 1]), tf.zeros([1, 2, 2])))()


def test_a_perfect_raster_is_the_image(images):
  scans = distorted.distorted_raster(images, ScanSystem(), 1.0, 0.0)
  np.testing.assert_array_equal(scans.intensities.reshape(images.shape), images)
  np.testing.assert_array_equal(scans.nominal, scans.actual)


def test_lines_of_a_raster_start_late_unless_coils_settle():
  # Lines of 16 px, tau = 2 us: a command at 1 px/us is 2 px ahead, and back from there by its full
  # width in flyback.
  system = ScanSystem(lag_us=2.0)
  nominal, hurried = (part.reshape(16, 16, 2) for part in distorted.raster(16, system, 1.0, 0.0))
  settled = distorted.raster(16, system, 1.0, 1e3)[1].reshape(16, 16, 2)
  np.testing.assert_array_equal(nominal[3, 5], [3.5, 5.5])
  # rests at the start of the line
  np.testing.assert_allclose(settled[1:, 0], nominal[1:, 0], atol=1e-9)
  # The first line begins settled. At its end the beam is k / (1 - k) (1 - k^15) behind, k =
  # e^(-1/2).
  k = np.exp(-0.5)
  behind = 15 - k / (1 - k) * (1 - k**15)
  np.testing.assert_allclose(hurried[1, 0, 1] - 0.5, behind * 2 * (1 - k), rtol=1e-9)
  rested = distorted.raster(16, system, 1.0, 6.0)[1].reshape(16, 16, 2)
  np.testing.assert_allclose(rested[1, 0, 1] - 0.5, behind * np.exp(-3) * 2 * (1 - k), rtol=1e-9)


def test_a_raster_takes_its_flyback_times():
  actual = distorted.raster(8, ScanSystem(drift_row=1.0), 10.0, 300.0)[1].reshape(8, 8, 2)
  np.testing.assert_allclose(
    actual[:, 0, 0], np.arange(8) + 0.5 - 1e-3 * (5 + 380 * np.arange(8)), rtol=1e-12
  )
