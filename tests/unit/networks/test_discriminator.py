"""Discriminators: a prediction per patch."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.networks import discriminator


@pytest.mark.parametrize(("size", "patches"), [(96, 12), (16, 2), (20, 3)])
def test_one_prediction_for_each_8_px(size, patches):
  assert discriminator.Discriminator(2)(tf.zeros([3, size, size, 4])).shape == [
    3,
    patches,
    patches,
    1,
  ]


def test_a_prediction_sees_its_patch_only():
  network = discriminator.Discriminator(4)
  images = np.random.default_rng(0).standard_normal([1, 64, 64, 1]).astype(np.float32)
  before = network(tf.constant(images)).numpy()
  images[0, 40, 40] += 1.0
  changed = np.argwhere(network(tf.constant(images)).numpy() != before)[:, 1:3]
  assert len(changed) and (np.abs(8 * changed + 4 - 40) <= 15 + 4).all()
  assert len(changed) <= 16


def test_a_sigmoid_keeps_predictions_between_0_and_1():
  images = 1e3 * tf.random.stateless_normal([2, 16, 16, 1], [0, 0])
  plain, least_squares = (
    discriminator.Discriminator(2, sigmoid)(images).numpy() for sigmoid in (True, False)
  )
  assert (plain >= 0).all() and (plain <= 1).all()
  assert np.abs(least_squares).max() > 1
