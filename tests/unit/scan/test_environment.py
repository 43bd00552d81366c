"""Reading intensities from specimens."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.scan import environment


def test_reads_the_pixel_that_holds_each_position():
  specimens = tf.reshape(tf.range(2 * 16, dtype=tf.float32), [2, 4, 4, 1])
  positions = tf.constant([[[0.0, 0.0], [1.9, 2.1]], [[3.0, 3.99], [0.5, 3.0]]])
  np.testing.assert_array_equal(environment.read(specimens, positions), [[0, 6], [31, 19]])


def test_outside_the_border_is_read():
  specimens = tf.reshape(tf.range(16, dtype=tf.float32), [1, 4, 4, 1])
  positions = tf.constant([[[-3.0, 1.0], [9.0, 9.0], [2.0, -0.1], [-1.0, 40.0]]])
  np.testing.assert_array_equal(environment.read(specimens, positions), [[1, 15, 8, 3]])


def test_between_pixels_planes_are_exact():
  rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
  plane = tf.constant((2 * rows - 3 * columns)[None, ..., None], tf.float32)
  places = tf.constant(np.random.default_rng(0).uniform(0, 7, [1, 40, 2]), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch(places)
    read = environment.read_between(plane, places)
  np.testing.assert_allclose(read, 2 * places[..., 0] - 3 * places[..., 1], atol=1e-5)
  np.testing.assert_allclose(
    tape.gradient(read, places), np.tile([2.0, -3.0], [1, 40, 1]), atol=1e-5
  )


def test_between_pixels_twists_are_bilinear():
  corners = tf.constant([[[[1.0], [2.0]], [[4.0], [16.0]]]])
  with tf.GradientTape() as tape:
    tape.watch(corners)
    read = environment.read_between(corners, tf.constant([[[0.25, 0.5]]]))
  np.testing.assert_allclose(read, [[0.75 * 1.5 + 0.25 * 10]])
  np.testing.assert_allclose(
    tape.gradient(read, corners)[0, ..., 0], [[0.375, 0.375], [0.125, 0.125]]
  )


def test_whole_places_read_their_pixels_and_the_border_goes_on(rng):
  specimens = tf.constant(rng.normal(size=[3, 9, 9, 1]), tf.float32)
  positions = tf.constant(rng.uniform(-4, 13, [3, 50, 2]), tf.float32)
  places = tf.floor(tf.clip_by_value(positions, 0, 8))
  np.testing.assert_array_equal(
    environment.read_between(specimens, places), environment.read(specimens, positions)
  )
  outside = tf.constant([[[-3.0, 4.0], [20.0, -1.0], [8.4, 2.0]]] * 3)
  inside = tf.constant([[[0.0, 4.0], [8.0, 0.0], [8.0, 2.0]]] * 3)
  np.testing.assert_array_equal(
    environment.read_between(specimens, outside), environment.read(specimens, inside)
  )


def test_reading_in_detail_is_exact_at_pixels_and_keeps_noise_between_them(rng):
  noise = tf.constant(rng.normal(0, 1, [1, 64, 64, 1]), tf.float32)
  pixels = tf.constant(rng.integers(0, 64, [1, 500, 2]), tf.float32)
  np.testing.assert_array_equal(
    environment.read_detailed(noise, pixels), environment.read(noise, pixels)
  )
  between = tf.clip_by_value(pixels + 0.5, 0.0, 62.5)
  assert np.std(environment.read_between(noise, between)) < 0.6  # the mean of four
  assert 0.85 < np.std(environment.read_detailed(noise, between)) < 1.1


def test_reading_in_detail_follows_what_is_smooth_and_is_differentiable():
  rows = tf.sin(tf.range(32.0) / 6)[None, :, None, None] * tf.ones([1, 1, 32, 1])
  # half-way: by the nearest pixel alone 0.08 would be missed
  places = tf.constant([[[11.5, 8.0], [20.25, 3.0]]])
  with tf.GradientTape() as tape:
    tape.watch(places)
    read = environment.read_detailed(rows, places)
  np.testing.assert_allclose(read, tf.sin(places[..., 0] / 6), atol=0.02)
  np.testing.assert_allclose(
    tape.gradient(read, places)[..., 0], tf.cos(places[..., 0] / 6) / 6, atol=0.03
  )
