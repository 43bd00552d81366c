"""What the generator learns from a batch, by hand arithmetic with a generator of one weight."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, intensities
from adaptive_stem_tf.learning import alrc, completion, losses
from adaptive_stem_tf.learning.agent import Networks

INTENSITIES, TARGETS = np.array([0.5, -1.0, 0.25]), np.array([1.0, 1.0, -1.0])
MOMENTS = alrc.Moments(tf.constant(3.0), tf.constant(12.0))


class Scale(tf.Module):
  """A generator that multiplies intensities by its weight."""

  def __init__(self, weight):
    super().__init__()
    self.weight, self.modes = tf.Variable(float(weight)), []

  def __call__(self, partial, is_training):
    self.modes.append(is_training)
    return self.weight * partial[..., :1]


def networks(weight=2.0, target=None):
  """Returns networks of a generator, and of its soft copy if a weight of one is given."""
  generator = Scale(weight)
  soft = generator if target is None else Scale(target)
  return Networks(None, None, generator, None, None, soft)


def example(intensities=INTENSITIES, targets=TARGETS, size=4):
  """Returns scans that measured one intensity at every pixel."""
  image = lambda values: tf.constant(
    np.broadcast_to(values[:, None, None, None], [len(values), size, size, 1]), tf.float32
  )
  partial = tf.concat([image(intensities), image(np.ones(len(intensities)))], -1)
  return completion.Example(partial, image(targets))


def complete(nets, batch=None, moments=MOMENTS, inputs=None, **settings):
  inputs = inputs or intensities.make_network_inputs("image")
  return completion.complete(nets, inputs, batch or example(), config.Loss(**settings), moments)


def errors(weight):
  return 10 * (weight * INTENSITIES - TARGETS) ** 2


def slopes(weight):
  return 20 * (weight * INTENSITIES - TARGETS) * INTENSITIES


def test_losses_and_the_gradient_of_their_sum():
  nets = networks()
  made, moments = complete(nets)
  np.testing.assert_allclose(made.losses, errors(2.0), rtol=1e-6)
  np.testing.assert_allclose(made.reinforcement, errors(2.0), rtol=1e-6)
  np.testing.assert_allclose(made.gradients, [slopes(2.0).sum()], rtol=1e-6)
  assert moments is MOMENTS and nets.generator.modes == [True]


def test_a_soft_copy_gives_the_reinforcement_loss_in_inference_mode():
  nets = networks(2.0, target=1.5)
  made, _ = complete(nets, rl_loss="quartic")
  np.testing.assert_allclose(made.losses, errors(2.0), rtol=1e-6)
  expected = 10 * (1.5 * INTENSITIES - TARGETS) ** 4
  np.testing.assert_allclose(made.reinforcement, expected, rtol=1e-5)
  np.testing.assert_allclose(made.gradients, [slopes(2.0).sum()], rtol=1e-6)
  assert nets.target_generator.modes == [False]


def test_the_generators_loss_is_not_the_one_that_is_reinforced():
  made, _ = complete(networks(), generator_loss="quartic")
  np.testing.assert_allclose(made.reinforcement, errors(2.0), rtol=1e-6)
  expected = 40 * (2 * INTENSITIES - TARGETS) ** 3 * INTENSITIES
  np.testing.assert_allclose(made.gradients, [expected.sum()], rtol=1e-5)


def test_the_sobel_loss_is_added_at_the_scale_of_the_errors(rng):
  batch = example()
  partial = batch.partial + tf.constant(rng.standard_normal([3, 4, 4, 2]) * [1, 0], tf.float32)
  batch = batch._replace(partial=partial)
  nets = networks()
  plain, sobel = (complete(nets, batch, sobel_weight=w)[0] for w in (0.0, 0.5))
  with tf.GradientTape() as tape:
    edges = tf.reduce_sum(losses.sobel_loss(nets.generator(partial, True), batch.target))
  added = 0.5 * losses.SCALE * tape.gradient(edges, nets.generator.weight)
  np.testing.assert_allclose(sobel.gradients[0] - plain.gradients[0], added, rtol=1e-3)
  np.testing.assert_array_equal(plain.losses, sobel.losses)
  assert float(added) > 1


def test_clipping_scales_gradients_and_moves_the_moments():
  made, moments = complete(networks(), generator_alrc=True, alrc_deviations=2.0)
  threshold = 3 + 2 * np.sqrt(12 - 9)  # m1 + k sqrt(m2 - m1^2)
  clipped = np.minimum(errors(2.0), threshold)
  assert (clipped < errors(2.0)).sum() == 2
  expected = (slopes(2.0) * clipped / np.maximum(errors(2.0), 1e-9)).sum()
  np.testing.assert_allclose(made.gradients, [expected], rtol=1e-5)
  np.testing.assert_allclose(made.losses, errors(2.0), rtol=1e-6)
  np.testing.assert_allclose(moments.first, 0.999 * 3 + 0.001 * clipped.mean(), rtol=1e-6)
  np.testing.assert_allclose(moments.second, 0.999 * 12 + 0.001 * (clipped**2).mean(), rtol=1e-6)


@pytest.mark.parametrize("target", [None, 2.0])
def test_ranges_reach_both_generators(target):
  low, high = tf.constant([0.0, -2.0, 0.0]), tf.constant([1.0, 0.0, 0.5])
  batch = example()._replace(ranges=intensities.IntensityRange(low, high))
  made, _ = complete(
    networks(2.0, target), batch, inputs=intensities.make_network_inputs("measured")
  )
  middle, half = (low + high) / 2, (high - low) / 2  # all intensities are in the middle: seen as 0
  np.testing.assert_allclose(made.losses, 10 * (middle - TARGETS) ** 2, rtol=1e-5)
  np.testing.assert_allclose(made.reinforcement, made.losses, rtol=1e-5)
  assert float(tf.reduce_min(half)) > 0


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_reinforcement_losses_are_clipped_then_divided_by_their_running_mean(clip, normalise):
  per_example = np.array([1.0, 2.0, 60.0])
  settings = config.Loss(alrc=clip, normalise_loss=normalise, alrc_deviations=3.0)
  state = completion.LossState(MOMENTS, tf.constant(0.5))
  loss, state = completion.reinforcement_loss(tf.constant(per_example, tf.float32), settings, state)
  expected = np.minimum(per_example, 3 + 3 * np.sqrt(3)) if clip else per_example
  first = 0.999 * 3 + 0.001 * expected.mean() if clip else 3.0
  mean = 0.997 * 0.5 + 0.003 * expected.mean() if normalise else 0.5
  np.testing.assert_allclose(loss, expected / mean if normalise else expected, rtol=1e-5)
  np.testing.assert_allclose([state.moments.first, state.mean], [first, mean], rtol=1e-6)


def test_reinforcement_losses_are_not_differentiated():
  per_example = tf.constant([1.0, 2.0])
  state = completion.LossState(MOMENTS, tf.constant(0.5))
  with tf.GradientTape() as tape:
    tape.watch(per_example)
    loss, _ = completion.reinforcement_loss(per_example, config.Loss(), state)
  assert tape.gradient(loss, per_example) is None
