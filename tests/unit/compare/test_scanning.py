"""Scans under a condition."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, specimens
from adaptive_stem_tf.compare import plan, scanning
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.intensities import Normalisation
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]


def path(name, **changes):
  return scanning.baseline(tiny.experiment(path=name, pitch=4.0, **changes).scan)


@pytest.mark.parametrize("name", plan.SCANS)
def test_every_scan_has_the_same_number_of_positions_and_measures_what_lies_there(name):
  images = tiny.images(5)
  scanned = scanning.scan_all(path(name), images, False)
  assert scanned.positions.shape == (5, 16, 2)
  np.testing.assert_array_equal(scanned.partial[..., :1], images * scanned.partial[..., 1:])
  pixels = np.clip(np.floor(scanned.positions), 0, tiny.SIZE - 1)
  assert [len(np.unique(one, axis=0)) for one in pixels] == scanned.distinct.tolist()
  assert (scanned.middle == 0).all() and (scanned.half == 1).all()


def test_scans_of_later_batches_are_drawn_anew():
  scanned = scanning.scan_all(path("random_points"), tiny.images(40), False)
  assert len(np.unique(scanned.positions.reshape(40, -1), axis=0)) == 40


def test_the_range_of_a_fixed_path_is_that_of_all_it_measures():
  images = 0.5 * tiny.images(3) + 0.2
  scanned = scanning.scan_all(path("grid"), images, True)
  mask = scanned.partial[..., 1:] > 0
  for image, partial, seen, middle, half in zip(
    images, scanned.normalised, mask, scanned.middle, scanned.half
  ):
    assert middle == pytest.approx((image[seen].max() + image[seen].min()) / 2, abs=1e-6)
    assert partial[..., :1][seen].max() == pytest.approx(1) and partial[..., :1][
      seen
    ].min() == pytest.approx(-1)
    np.testing.assert_allclose((partial[..., :1] * half + middle)[seen], image[seen], atol=1e-6)


def test_the_range_of_an_adaptive_path_is_that_of_its_first_segment_and_nothing_is_clipped():
  trained, images = model.of_learner(tiny.learner()), tiny.images(3)
  scanned = scanning.scan_all(trained.path, images, True)
  first = np.stack(
    [
      image[tuple(positions[:4].astype(int).T)]
      for image, positions in zip(images, scanned.positions)
    ]
  )
  np.testing.assert_allclose(scanned.half[:, 0, 0, 0], np.ptp(first[..., 0], axis=1) / 2, atol=1e-6)
  mapped = scanned.normalised[..., :1] * scanned.half + scanned.middle
  seen = scanned.partial[..., 1:] > 0
  np.testing.assert_allclose(mapped[seen], images[seen], atol=1e-5)
  np.testing.assert_array_equal(scanned.partial[..., :1][seen], images[seen])
  assert np.abs(scanned.normalised[..., :1][seen]).max() > 1  # or there was nothing to clip


def test_a_flat_first_segment_is_normalised_as_a_live_scan_is():
  """The first diagonal of the second image is flat: its range is that of a later segment."""
  images = tiny.images(2)
  images[1, 8:, 8:] = np.where(np.eye(8, dtype=bool)[..., None], 0.2, images[1, 8:, 8:])
  trained = model.of_learner(tiny.learner())
  scanned = scanning.scan_all(trained.path, images, True)
  live = Normalisation("measured").start(2)
  pixels = np.clip(np.floor(scanned.positions), 0, 15).astype(int)
  measured = images[np.arange(2)[:, None], pixels[..., 0], pixels[..., 1], 0]
  assert np.ptp(measured[1, :4]) == 0 < np.ptp(measured[0, :4])
  for segment in np.split(measured, 4, 1):
    live = live.update(segment)
  np.testing.assert_allclose(scanned.half[:, 0, 0, 0], (live.high - live.low) / 2, atol=1e-6)
  np.testing.assert_allclose(scanned.middle[:, 0, 0, 0], (live.high + live.low) / 2, atol=1e-6)


def test_a_scan_that_measures_one_intensity_only_completes_to_it():
  nearest = lambda partial, is_training: partial[..., :1]
  scanned = scanning.scan_all(path("grid"), np.full([2, 16, 16, 1], 0.2, np.float32), True)
  np.testing.assert_allclose(scanning.complete_all(nearest, scanned), 0.2, atol=1e-6)


def test_completions_are_mapped_back_to_the_images_range():
  nearest = lambda partial, is_training: partial[..., :1]
  scanned = scanning.scan_all(path("grid"), tiny.images(2), True)
  completions = scanning.complete_all(nearest, scanned)
  seen = scanned.partial[..., 1:] > 0
  np.testing.assert_allclose(completions[seen], tiny.images(2)[seen], atol=1e-6)


def test_noise_comes_before_the_filter_and_only_where_asked():
  images, data = tiny.images(3), config.Data()
  assert scanning.observe(images, data, scanning.CLEAN) is images
  noisy = scanning.observe(images, data, scanning.Condition("", electrons=10.0))
  np.testing.assert_array_equal(noisy, specimens.with_dose_noise(images, 10.0, 0))
  filtered = scanning.observe(
    images, config.Data(filter_observations=True), scanning.Condition("", electrons=10.0)
  )
  np.testing.assert_allclose(filtered, specimens.low_pass(tf.constant(noisy), 2.5), atol=1e-6)


def test_conditions_are_named():
  names = [one.name for one in scanning.conditions((10.0, 100.0))]
  assert names == [
    "image range",
    "measured range",
    "10 electrons per pixel",
    "100 electrons per pixel",
  ]
