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
