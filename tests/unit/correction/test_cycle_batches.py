"""What a distortion correction learns from in an iteration, and how discriminators see it."""

import types

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import microscope_config, specimens
from adaptive_stem_tf.correction import cycle_learner
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.scan import environment, partial_scan, paths
from adaptive_stem_tf.types import Draw
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def walked():
  """What a perfect microscope measures along random walks, which differ from scan to scan."""
  scanned, rasters = correction_training.halves(tiny.images(10))
  walker = types.SimpleNamespace(
    path=paths.RandomWalk(tiny.experiment().scan), observed=tf.identity
  )
  scans = correction_training.scan_crops(walker, scanned, microscope_config.ScanSystem(), 10.0)
  return cycle_learner.UnpairedScans(*map(tf.constant, (*scans, scanned, rasters)))


def test_intensities_are_those_of_the_transformed_crop_at_its_own_positions(walked):
  learner = tiny.cycle_learner(scans=walked, filter_sigma=0.0)
  index, which = tf.constant([3, 0, 2, 1, 4, 0, 1, 2]), tf.range(8)
  batch = learner.batch(Draw(index, which))
  np.testing.assert_array_equal(
    batch.truth, specimens.transform(tf.gather(walked.scanned, index), which)
  )
  np.testing.assert_allclose(
    batch.intensities, environment.read(batch.truth, batch.nominal), atol=1e-6
  )
  np.testing.assert_array_equal(batch.displacements, np.zeros([8, 16, 2]))
  np.testing.assert_allclose(
    batch.partial[..., :1], batch.truth * batch.partial[..., 1:], atol=1e-6
  )
  starts = {tuple(np.round(scan.ravel(), 4)) for scan in batch.nominal.numpy()}
  assert len(starts) == 8  # or the test could not tell one scan from another


def test_the_distortion_of_a_scan_goes_with_it():
  batch = tiny.cycle_learner(filter_sigma=0.0).batch(tiny.draw(1))
  assert float(tf.reduce_max(tf.abs(batch.displacements))) > 0.5
  places = tf.floor(batch.nominal) + batch.displacements
  np.testing.assert_allclose(
    batch.intensities, environment.read_detailed(batch.truth, places), atol=1e-5
  )


def test_rasters_are_of_crops_that_were_not_scanned(walked):
  learner = tiny.cycle_learner(scans=walked)
  every = {
    name: np.stack([specimens.transform(crops, tf.fill([5], which)) for which in range(8)], 1)
    for name, crops in (("scanned", walked.scanned), ("rasters", walked.rasters))
  }
  seen = set()
  for iteration in range(12):
    learner.iteration.assign(iteration)
    batch = learner.batch(tiny.draw(count=5))
    np.testing.assert_allclose(batch.targets, specimens.low_pass(batch.rasters, 2.5), atol=1e-6)
    for raster in batch.rasters.numpy():
      found = {
        name: np.argwhere((turned == raster).all((2, 3, 4))) for name, turned in every.items()
      }
      assert len(found["scanned"]) == 0 and len(found["rasters"]) == 1
      seen.add(tuple(found["rasters"][0]))
  assert {crop for crop, _ in seen} == set(range(5)) and {which for _, which in seen} == set(
    range(8)
  )


def test_targets_and_truth_are_filtered(walked):
  plain, filtered = (
    tiny.cycle_learner(scans=walked, filter_sigma=sigma).batch(tiny.draw(count=5))
    for sigma in (0.0, 2.5)
  )
  np.testing.assert_array_equal(plain.targets, plain.rasters)
  np.testing.assert_allclose(filtered.truth, specimens.low_pass(plain.truth, 2.5), atol=1e-6)
  np.testing.assert_array_equal(filtered.intensities, plain.intensities)


def test_a_distorter_reads_what_scans_measure(walked):
  plain, filtered = (
    tiny.cycle_learner(scans=walked, filter_observations=given).batch(tiny.draw(count=5))
    for given in (False, True)
  )
  np.testing.assert_array_equal(filtered.rasters, plain.targets)
  np.testing.assert_array_equal(filtered.targets, plain.targets)
  assert (plain.rasters != plain.targets).numpy().any()


def test_partial_scans_are_shown_infilled_with_mask_and_direction():
  positions = tf.constant([[[0.5, 0.5], [0.5, 3.5], [3.5, 3.5]]])
  partial = partial_scan.draw_at(tf.constant([[0.1, 0.2, 0.3]]), positions, 4)
  shown = cycle_learner.View(positions, 4).show(partial)[0].numpy()
  # None: two are equally near
  infilled = [[1, 1, 2, 2], [1, 1, 2, 2], [1, None, 3, 3], [None, 3, 3, 3]]
  for (row, column), nearest in np.ndenumerate(np.array(infilled, object)):
    if nearest is not None:
      # the beam starts at rest, goes right, goes down
      heading = {1: (0, 0), 2: (0, 1), 3: (1, 0)}[nearest]
      np.testing.assert_allclose(shown[row, column, 0], nearest / 10, err_msg=f"{row} {column}")
      np.testing.assert_allclose(
        shown[row, column, 2:], heading, atol=1e-5, err_msg=f"{row} {column}"
      )
  np.testing.assert_array_equal(shown[..., 1], partial[0, ..., 1])
  assert shown.shape[-1] == cycle_learner.View.channels


def test_directions_have_length_1_whatever_the_step():
  positions = tf.constant([[[0.5, 0.5], [3.5, 4.5], [3.5, 4.5], [3.2, 4.1]]])
  shown = cycle_learner.View(positions, 8).show(tf.zeros([1, 8, 8, 2]))[0].numpy()
  np.testing.assert_allclose(shown[0, 0, 2:], [0, 0])
  np.testing.assert_allclose(shown[7, 7, 2:], [-0.6, -0.8], atol=1e-4)  # the last visit counts
