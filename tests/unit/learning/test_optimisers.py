"""Optimisers and gradient clipping."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import optimisers

GRADIENTS = [[3.0, 0.0], [[-4.0], [0.0]]]  # global norm 5


def gradients(scale=1.0):
  return [scale * tf.constant(part) for part in GRADIENTS]


def clipped(kind, threshold, *batches):
  clip = optimisers.Clipper(config.Optimisation(clip=kind, clip_threshold=threshold))
  return [clip(batch) for batch in batches]


def check(result, expected, norm):
  for ours, wanted in zip(result[0], expected, strict=True):
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
  assert float(result[1]) == pytest.approx(norm)


def test_rmsprop_in_the_form_of_tensorflow_1(rng):
  start = rng.standard_normal(5)
  parameter, rate = tf.Variable(start, dtype=tf.float32), tf.Variable(0.01)
  optimiser, mean_square = optimisers.RMSProp(rate), np.ones(5)
  for _ in range(6):
    gradient = rng.standard_normal(5) * [1, 1, 1e-3, 0, 10]
    optimiser.apply([tf.constant(gradient, tf.float32)], [parameter])
    mean_square = 0.9 * mean_square + 0.1 * gradient**2  # starts at 1, not 0
    start = start - 0.01 * gradient / np.sqrt(mean_square + 1e-10)  # epsilon inside the root
  np.testing.assert_allclose(parameter, start, rtol=1e-5)


def test_rmsprop_keeps_epsilon_inside_the_root():
  parameter = tf.Variable([0.0])
  optimiser = optimisers.RMSProp(tf.constant(1.0), decay=0.0, epsilon=3.0)
  optimiser.apply([tf.constant([1.0])], [parameter])
  np.testing.assert_allclose(parameter, [-0.5])


def test_rmsprop_follows_its_rate():
  parameter, rate = tf.Variable([0.0]), tf.Variable(1.0)
  optimiser = optimisers.RMSProp(rate, decay=1.0, epsilon=0.0)
  optimiser.apply([tf.constant([1.0])], [parameter])
  rate.assign(0.1)
  optimiser.apply([tf.constant([1.0])], [parameter])
  np.testing.assert_allclose(parameter, [-1.1], rtol=1e-6)


def test_optimisers_by_name():
  rate = tf.Variable(0.5)
  parameter = tf.Variable([1.0])
  adam, rmsprop, sgd = (
    optimisers.make_optimiser(kind, rate, [parameter]) for kind in ("adam", "rmsprop", "sgd")
  )
  assert isinstance(adam, optimisers.Adam) and isinstance(rmsprop, optimisers.RMSProp)
  sgd.apply([tf.constant([1.0])], [parameter])
  np.testing.assert_allclose(parameter, [0.5])


@pytest.mark.parametrize(("kind", "count"), [("adam", 3), ("rmsprop", 1)])
def test_variables_exist_before_the_first_update_and_move_nothing(kind, count):
  parameter = tf.Variable([1.0, -2.0])
  optimiser = optimisers.make_optimiser(kind, tf.constant(0.5), [parameter])
  np.testing.assert_array_equal(parameter, [1.0, -2.0])
  assert len(optimiser.variables) == count
  expected = {"adam": [0.0, 0.0, 0.0], "rmsprop": [1.0]}[kind]
  assert (
    sorted(float(tf.reduce_mean(tf.cast(v, tf.float32))) for v in optimiser.variables) == expected
  )


def test_adam_has_the_published_constants(rng):
  parameter, expected = tf.Variable([0.0, 0.0]), np.zeros(2)
  optimiser = optimisers.make_optimiser("adam", tf.constant(0.1), [parameter])
  first, second = np.zeros(2), np.zeros(2)
  for step in range(1, 5):
    gradient = rng.standard_normal(2)
    optimiser.apply([tf.constant(gradient, tf.float32)], [parameter])
    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    expected -= 0.1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
  np.testing.assert_allclose(parameter, expected, rtol=1e-4)


def test_adam_is_sonnets(rng):
  ours, theirs = tf.Variable([0.3, -1.0]), tf.Variable([0.3, -1.0])
  adam, sonnet = optimisers.make_adam(tf.constant(0.1), [ours], 0.8), snt.optimizers.Adam(0.1, 0.8)
  for _ in range(5):
    gradient = tf.constant(rng.standard_normal(2), tf.float32)
    adam.apply([gradient], [ours])
    sonnet.apply([gradient], [theirs])
  # Sonnet rounds 1 - 0.999 before it multiplies.
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  for one, other in zip((adam.step, *adam.m, *adam.v), (sonnet.step, *sonnet.m, *sonnet.v)):
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_no_clipping():
  check(clipped("none", 0.1, gradients())[0], GRADIENTS, 5)


def test_clipping_by_value():
  check(clipped("value", 3.5, gradients())[0], [[3.0, 0.0], [[-3.5], [0.0]]], 5)


@pytest.mark.parametrize("threshold, scale", [(2.5, 0.5), (5.5, 1.0)])
def test_clipping_by_norm(threshold, scale):
  check(
    clipped("norm", threshold, gradients())[0], [np.multiply(scale, part) for part in GRADIENTS], 5
  )


def test_clipping_gradients_that_are_0():
  check(clipped("norm", 1.0, gradients(0.0))[0], [np.zeros(2), np.zeros([2, 1])], 0)


def test_clipping_at_a_running_norm():
  results = clipped("running_norm", 2.0, gradients(), gradients(), gradients(10.0), gradients())
  check(results[0], GRADIENTS, 5)  # the first norm is its own mean
  check(results[1], GRADIENTS, 5)
  mean = (0.01 * 50 + 0.99 * 0.01 * 5 + 0.99**2 * 0.01 * 5) / (1 - 0.99**3)  # zero-debiased
  assert mean == pytest.approx(20.15, abs=0.01)
  check(results[2], [np.multiply(10 * 2 * mean / 50, part) for part in GRADIENTS], 50)
  check(results[3], GRADIENTS, 5)
