"""Drawing scans as images."""

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies

from adaptive_stem_tf.scan import environment, geometry, partial_scan
from tests import tiny

SCAN = tiny.experiment().scan


def scanned(seed, batch=3):
  """Returns random actions, specimens, and what is measured along the path, [B, T, n]."""
  rng = np.random.default_rng(seed)
  actions = tf.constant(rng.uniform(-np.pi, np.pi, [batch, SCAN.segments, 1]), tf.float32)
  specimens = tf.constant(
    rng.uniform(-1, 1, [batch, SCAN.image_size, SCAN.image_size, 1]), tf.float32
  )
  read = environment.read(specimens, partial_scan.scan_positions(actions, SCAN))
  return actions, specimens, tf.reshape(read, [batch, SCAN.segments, SCAN.probes])


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(strategies.integers(0, 2**32 - 1))
def test_drawing_and_reading_share_their_pixels(seed):
  actions, specimens, observations = scanned(seed)
  partial = partial_scan.partial_scan(observations, actions, SCAN)
  again = environment.read(partial[..., :1], partial_scan.scan_positions(actions, SCAN))
  np.testing.assert_array_equal(tf.reshape(again, observations.shape), observations)
  # The mask is set on the path and nowhere else; so are the intensities, which are the specimen's.
  np.testing.assert_array_equal(partial[..., :1], specimens * partial[..., 1:])
  for mask, positions in zip(partial[..., 1], partial_scan.scan_positions(actions, SCAN)):
    visited = np.unique(geometry.pixel_index(positions, SCAN.image_size))
    np.testing.assert_array_equal(np.flatnonzero(mask), visited)


def test_the_first_segments_of_each_scan_can_be_drawn_alone():
  actions, _, observations = scanned(1)
  count = np.array([4, 1, 3], np.int32)
  partial = partial_scan.partial_scan(observations, actions, SCAN, tf.constant(count))
  positions = partial_scan.scan_positions(actions, SCAN)
  for number, segments in enumerate(count):
    probes = segments * SCAN.probes
    alone = partial_scan.draw_at(
      tf.reshape(observations[number : number + 1], [1, -1])[:, :probes],
      positions[number : number + 1, :probes],
      SCAN.image_size,
    )
    np.testing.assert_array_equal(partial[number], alone[0])


def test_the_last_visit_wins():
  positions = tf.constant([[[1.0, 2.0], [0.0, 0.0], [1.2, 2.9], [3.0, 3.0]], [[3.0, 0.0]] * 4])
  drawn = partial_scan.draw_at(
    tf.constant([[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.0]]), positions, 4
  )
  expected = np.zeros([2, 4, 4, 2], np.float32)
  expected[0, 1, 2], expected[0, 0, 0], expected[0, 3, 3] = (0.3, 1), (0.2, 1), (0.4, 1)
  expected[1, 3, 0] = 0.0, 1  # a measured 0 is not the same as no measurement
  np.testing.assert_array_equal(drawn, expected)


def test_the_distinct_share_counts_pixels_once():
  positions = tf.constant([[[0.0, 0.0], [0.5, 0.5], [1.0, 1.0], [9.0, 9.0]]])
  drawn = partial_scan.draw_at(tf.ones([1, 4]), positions, 4)
  np.testing.assert_allclose(partial_scan.distinct_share(drawn), [3 / 16])


def test_drawing_in_a_graph_equals_eager():
  actions, _, observations = scanned(0)
  compiled = tf.function(partial_scan.partial_scan, jit_compile=True)(observations, actions, SCAN)
  np.testing.assert_array_equal(compiled, partial_scan.partial_scan(observations, actions, SCAN))
