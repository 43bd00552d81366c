"""One way to scan: batches of one size, each with random numbers of its own."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, specimens
from adaptive_stem_tf.evaluation import metrics, scanning
from adaptive_stem_tf.scan import baselines, path_names
from tests import tiny

SCAN = tiny.experiment().scan


def test_batches_have_one_size_and_know_their_first_image():
  met = []

  def function(batch, first):
    met.append((batch.shape[0], first))
    return 2 * batch, batch + first

  images = np.arange(70.0, dtype=np.float32).reshape(70, 1)
  doubled, moved = scanning.in_batches(function, images)
  assert met == [(32, 0), (32, 32), (32, 64)]
  np.testing.assert_array_equal(doubled, 2 * images)
  np.testing.assert_array_equal(moved[:, 0], images[:, 0] + np.repeat([0, 32, 64], [32, 32, 6]))


def test_given_positions_measure_what_a_fixed_path_along_them_does():
  images, positions = tf.constant(tiny.images(3)), baselines.spiral(SCAN, 4.0)
  path = path_names.make_path(tiny.experiment(path="spiral").scan, None, positions)
  own = scanning.scan_path(path, images, 0)
  along = scanning.scan_positions(
    images, tf.broadcast_to(positions, [3, *positions.shape]), SCAN.probes
  )
  np.testing.assert_array_equal(along.partial, own.partial)
  np.testing.assert_array_equal(along.observations, own.observations)
  np.testing.assert_allclose(along.positions, own.positions)
  assert along.observations.shape == [3, SCAN.segments, SCAN.probes]


def test_scans_that_are_drawn_differ_from_batch_to_batch_and_are_the_same_again():
  path, images = path_names.make_path(tiny.experiment(path="random_walk").scan, None, None), 2
  batch = tf.constant(tiny.images(images))
  first, again, other = (scanning.scan_path(path, batch, number) for number in (0, 0, 32))
  np.testing.assert_array_equal(first.positions, again.positions)
  assert np.abs(first.positions - other.positions).max() > 1


def test_images_are_filtered_only_where_observations_are():
  images = tiny.images(40)
  assert scanning.as_measured(images, config.Data()) is images
  data = config.Data(filter_observations=True)
  expected = specimens.low_pass(tf.constant(images), data.filter_sigma)
  np.testing.assert_allclose(scanning.as_measured(images, data), expected, atol=1e-6)


def test_ten_mse_is_of_each_image_whatever_its_axes():
  targets = np.zeros([2, 4, 4], np.float32)
  completions = targets + np.array([0.5, -1.0], np.float32)[:, None, None]
  np.testing.assert_allclose(metrics.ten_mse(completions, targets), [2.5, 10.0])
  np.testing.assert_allclose(metrics.ten_mse(completions[..., None], targets[..., None]), [2.5, 10])
