"""Completion by the nearest measured pixel."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import generator, infill


def partial_scans(rng, share, batch=5, size=12):
  mask = (rng.random([batch, size, size]) < share).astype(np.float32)
  mask[:, 3, 4] = 1.0  # at least one
  return np.stack([mask * rng.uniform(-1, 1, mask.shape), mask], -1).astype(np.float32)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_every_pixel_takes_a_nearest_measured_one(rng, share):
  partial = partial_scans(rng, share)
  for scan, completion in zip(
    partial, infill.NearestInfill()(tf.constant(partial), is_training=False).numpy()
  ):
    measured = np.argwhere(scan[..., 1] > 0)
    distance = ndimage.distance_transform_edt(scan[..., 1] == 0)
    for place, value in np.ndenumerate(completion[..., 0]):
      apart = np.hypot(*(measured - place).T)
      nearest = measured[np.isclose(apart, distance[place])]  # several may be equally near
      assert value in scan[nearest[:, 0], nearest[:, 1], 0]


def test_a_row_without_measurements_takes_from_others():
  partial = np.zeros([1, 4, 4, 2], np.float32)
  partial[0, 0, 0], partial[0, 3, 3] = (0.5, 1), (-0.5, 1)
  completion = infill.NearestInfill()(tf.constant(partial), is_training=True)[0, ..., 0].numpy()
  np.testing.assert_array_equal(completion[:2, :2], 0.5)
  np.testing.assert_array_equal(completion[2:, 2:], -0.5)


def test_memory_grows_as_the_images_do():
  """All distances along an axis at once would be [B, S, S, S]."""
  batch, size = 2, 64
  traced = tf.function(infill.NearestInfill(), autograph=False)
  step = traced.get_concrete_function(tf.TensorSpec([batch, size, size, 2]), is_training=False)
  graph = step.graph.as_graph_def(add_shapes=True)
  nodes = [
    *graph.node,
    *(node for function in graph.library.function for node in function.node_def),
  ]
  shapes = [tf.TensorShape(s) for node in nodes for s in node.attr["_output_shapes"].list.shape]
  known = [shape.num_elements() for shape in shapes if shape.is_fully_defined()]
  assert len(known) > 50 and max(known) <= batch * size * size * 2
  assert not any(shape.rank and shape.rank > 4 for shape in shapes)


def test_of_equally_near_ones_the_first_is_taken():
  mask = np.zeros([1, 3, 3], np.float32)
  mask[0, 0, 0] = mask[0, 0, 2] = mask[0, 2, 0] = 1.0
  expected = [[0, 0, 2], [0, 0, 2], [6, 6, 2]]
  np.testing.assert_array_equal(infill.nearest(tf.constant(mask))[0], expected)


def test_it_is_chosen_by_name():
  assert isinstance(
    generator.make_generator(config.Generator(completion="nearest")), infill.NearestInfill
  )
  assert isinstance(generator.make_generator(config.Generator()), generator.Generator)
