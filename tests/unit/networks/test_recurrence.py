"""The loop over time; the gradients of cells are tested with their layers (test_controller.py)."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.networks import recurrence

INPUTS = tf.constant([[[1.0], [2.0], [3.0]]])  # one example of three steps
WIDE = {"sum": tf.TensorSpec([1, 1]), "twice": tf.TensorSpec([1, 2])}


def add(inputs, total):
  total = total + inputs
  return {"sum": total, "twice": tf.concat([total, 2 * inputs], -1)}, total


@pytest.mark.parametrize("backwards, sums", [(False, [11, 13, 16]), (True, [16, 15, 13])])
def test_outputs_lie_at_the_time_of_their_inputs(backwards, sums):
  outputs, final = recurrence.scan(add, INPUTS, tf.constant([[10.0]]), WIDE, backwards)
  np.testing.assert_array_equal(outputs["sum"][0, :, 0], sums)
  np.testing.assert_array_equal(outputs["twice"][0], np.stack([sums, [2, 4, 6]], -1))
  np.testing.assert_array_equal(final, [[16]])


def test_other_outputs_than_said_are_refused():
  with pytest.raises((TypeError, ValueError), match="structure"):
    recurrence.scan(add, INPUTS, tf.zeros([1, 1]), {"sum": tf.TensorSpec([1, 1])})
