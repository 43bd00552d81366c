"""Soft copies of networks."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.learning import targets


class Network(snt.Module):
  """Weights, a statistic that is not trainable, and a counter."""

  def __init__(self, value):
    super().__init__()
    self.w, self.statistic = (
      tf.Variable([value, 2 * value]),
      tf.Variable(3 * value, trainable=False),
    )
    self.count = tf.Variable(int(value), trainable=False, dtype=tf.int64)


def test_copies_are_equal_and_independent():
  network, target = Network(1.0), Network(5.0)
  targets.copy(network, target)
  network.w.assign_add([1.0, 1.0])
  np.testing.assert_array_equal(target.w, [1, 2])
  assert float(target.statistic) == 3 and int(target.count) == 1


def test_targets_move_by_one_minus_rho():
  network, target = Network(1.0), Network(5.0)
  targets.move(network, target, tf.constant(0.75))
  np.testing.assert_allclose(target.w, [0.75 * 5 + 0.25, 0.75 * 10 + 0.5])
  assert float(target.statistic) == pytest.approx(0.75 * 15 + 0.25 * 3)
  assert int(target.count) == 1  # counters are copied
  np.testing.assert_array_equal(network.w, [1, 2])


def test_networks_of_other_sizes_are_no_targets():
  small, large = Network(1.0), Network(5.0)
  large.z = tf.Variable(0.0)  # after all others, as variables are sorted
  for move in (targets.copy, lambda *pair: targets.move(*pair, tf.constant(0.5))):
    with pytest.raises(ValueError):
      move(small, large)
