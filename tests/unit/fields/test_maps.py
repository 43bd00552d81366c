"""Averages over cells and neighbourhoods."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import maps


def image(array):
  return tf.constant(np.asarray(array, np.float32)[None, ..., None])


def test_cells_are_means_and_border_cells_average_what_they_have():
  field = np.arange(6 * 5).reshape(6, 5)
  cells = maps.to_cells(image(field), 4).numpy()[0, ..., 0]
  expected = [[field[:4, :4].mean(), field[:4, 4:].mean()]]
  expected += [[field[4:, :4].mean(), field[4:, 4:].mean()]]
  np.testing.assert_allclose(cells, expected, rtol=1e-6)


def test_pixels_interpolate_cells_and_are_cropped():
  pixels = maps.to_pixels(image([[0.0, 1.0]]), 4, 3, 7).numpy()[0, ..., 0]
  assert pixels.shape == (3, 7)
  # Centres of cells lie at 1.5 and 5.5 px.
  np.testing.assert_allclose(pixels[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1.0], atol=1e-6)


def test_doubling_repeats_rows_and_columns():
  small = np.random.default_rng(0).random([2, 3, 4, 2]).astype(np.float32)
  doubled = maps.double(tf.constant(small)).numpy()
  np.testing.assert_array_equal(doubled, small.repeat(2, 1).repeat(2, 2))


def test_the_neighbourhood_keeps_constants_and_spreads_a_point():
  np.testing.assert_allclose(maps.neighbourhood(image(np.full([16, 24], 3.0))), 3.0, rtol=1e-6)
  point = np.zeros([32, 32])
  point[16, 16] = 1
  spread = maps.neighbourhood(image(point)).numpy()[0, ..., 0]
  np.testing.assert_allclose(spread.sum(), 1.0, rtol=1e-5)
  assert (spread[8:24, 8:24] > 0).mean() > 0.7 and spread[:4].max() == 0


def test_planes_and_channels_are_those_of_tensorflow(rng):
  field = tf.constant(rng.random([2, 6, 8, 1]), tf.float32)
  blocks = tf.nn.space_to_depth(field, 2)
  planes = maps.to_planes(field)
  np.testing.assert_array_equal(planes, tf.transpose(blocks, [0, 3, 1, 2]))
  np.testing.assert_array_equal(maps.from_channels(blocks), field)
  small = field[:, :3, :4]
  channels = maps.to_channels([maps.as_plane(small), planes])
  np.testing.assert_array_equal(channels, tf.concat([small, blocks], -1))


def test_cells_that_are_known_to_be_whole_are_averaged_once(rng):
  field = rng.random([2, 8, 12, 1]).astype(np.float32)
  signature = [tf.TensorSpec([None, None, None, 1])]
  for whole, pools in ((False, 2), (True, 1)):
    average = tf.function(lambda value, whole=whole: maps.to_cells(value, 4, whole), signature)
    np.testing.assert_array_equal(average(field), maps.to_cells(tf.constant(field), 4))
    graph = average.get_concrete_function().graph
    assert sum(node.type == "AvgPool" for node in graph.get_operations()) == pools


def test_sums_count_pixels_beyond_the_border_as_nothing():
  sums = maps.sum_in_cells(image(np.ones([6, 5])), 4)[0, ..., 0]
  np.testing.assert_array_equal(sums, [[1.0, 0.25], [0.5, 0.125]])


def test_the_squared_gradient_of_a_ramp():
  rows, columns = np.mgrid[:8, :8]
  energy = maps.squared_gradient(image(3 * rows - 2 * columns)).numpy()[0, 1:-1, 1:-1, 0]
  np.testing.assert_allclose(energy, 9 + 4, rtol=1e-5)


def test_cells_of_several_images_and_channels_are_apart(rng):
  for rows, columns in ((6, 9), (8, 4)):
    images = rng.random([2, rows, columns, 3]).astype(np.float32)
    cells = maps.to_cells(tf.constant(images), 4).numpy()
    assert cells.shape == (2, -(-rows // 4), -(-columns // 4), 3)
    for row, column in np.ndindex(cells.shape[1:3]):
      part = images[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
      np.testing.assert_allclose(cells[:, row, column], part.mean((1, 2)), rtol=1e-5)


def test_the_neighbourhood_weighs_cells_beside_by_half(rng):
  cells = rng.random([5, 3])
  field = np.kron(cells, np.ones([4, 4]))
  padded = np.pad(cells, 1, "edge")
  weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
  smooth = [[(padded[r : r + 3, c : c + 3] * weights).sum() for c in range(3)] for r in range(5)]
  expected = maps.to_pixels(image(smooth), 4, 20, 12)
  np.testing.assert_allclose(maps.neighbourhood(image(field)), expected, rtol=1e-5)


def test_gradients_at_borders_are_halved(rng):
  field = rng.random([5, 7])
  padded = np.pad(field, 1, "edge")
  rows = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
  columns = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
  energy = maps.squared_gradient(image(field))[0, ..., 0]
  np.testing.assert_allclose(energy, rows**2 + columns**2, rtol=1e-4)


def test_shapes_may_be_known_only_when_a_graph_runs(rng):
  field = rng.random([2, 9, 14, 2]).astype(np.float32)
  for function in (
    lambda value: maps.to_cells(value, 4),
    lambda value: maps.to_pixels(value, 3, 20, 30),
    maps.neighbourhood,
    maps.double,
    lambda value: maps.sum_in_cells(value, 4),
    lambda value: maps.as_plane(value[..., :1]),
    lambda value: maps.to_planes(value[:, :8, :, :1]),
    lambda value: maps.from_channels(tf.concat([value, value], -1)),
  ):
    unknown = tf.function(function, input_signature=[tf.TensorSpec([None, None, None, 2])])
    np.testing.assert_allclose(unknown(field), function(tf.constant(field)), rtol=1e-5)
