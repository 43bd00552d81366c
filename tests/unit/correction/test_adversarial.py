"""Losses of the cyclic GAN against hand arithmetic (SI eqs. S4 to S9)."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.correction import adversarial


def predictions(*values):
  return tf.constant(values, tf.float32)[:, None, None, None]


def test_least_squares_discriminators_want_0_for_real_and_1_for_generated():
  loss = adversarial.discriminator_loss(predictions(0.5, -1.0), predictions(0.0, 3.0))
  np.testing.assert_allclose(loss, (0.25 + 1.0) / 2 + (1.0 + 4.0) / 2)
  assert float(adversarial.discriminator_loss(predictions(0.0), predictions(1.0))) == 0.0


def test_plain_discriminators_learn_by_cross_entropy():
  loss = adversarial.discriminator_loss(predictions(0.25), predictions(0.5), "plain")
  np.testing.assert_allclose(loss, -np.log(0.75) - np.log(0.5), rtol=1e-5)
  certain = adversarial.discriminator_loss(predictions(1.0), predictions(0.0), "plain")
  assert 10 < float(certain) < 100  # wrong and certain: large, not infinite


def test_generators_minimise_what_is_predicted_for_each_image():
  predicted = predictions(0.5, -2.0)
  np.testing.assert_allclose(adversarial.generator_loss(predicted), [0.25, 4.0])
  np.testing.assert_allclose(adversarial.generator_loss(predicted, "plain"), [0.5, -2.0])


def test_an_unknown_kind_is_refused():
  for loss in (
    lambda kind: adversarial.discriminator_loss(predictions(0.0), predictions(1.0), kind),
    lambda kind: adversarial.generator_loss(predictions(0.0), kind),
  ):
    with pytest.raises(
      ValueError, match="kind='hinge' is no adversarial loss: choose least_squares or plain"
    ):
      loss("hinge")


def test_cycle_losses_are_means_over_probes_and_over_pixels():
  ours, theirs = tf.constant([[1.0, 2.0], [0.0, 0.0]]), tf.constant([[0.0, 4.0], [0.0, 1.0]])
  np.testing.assert_allclose(adversarial.partial_cycle_loss(ours, theirs), [2.5, 0.5])
  images = tf.reshape(tf.constant([1.0, 0.0, 0.0, 3.0]), [1, 2, 2, 1])
  np.testing.assert_allclose(adversarial.raster_cycle_loss(images, tf.zeros_like(images)), [2.5])
