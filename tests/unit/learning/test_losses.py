"""Losses against hand arithmetic and loops."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf.learning import losses

GAMMA = 0.97


def constant(array):
  return tf.constant(np.asarray(array), tf.float32)


def pair(rng, size=8):
  return constant(rng.uniform(-1, 1, [3, size, size, 1])), constant(
    rng.uniform(-1, 1, [3, size, size, 1])
  )


# Completion losses.


def test_mse_and_quartic_by_hand():
  completions = constant([[1.0, 0.0], [0.0, -1.0]])[None, ..., None]
  targets = constant([[0.0, 0.0], [0.5, 1.0]])[None, ..., None]
  np.testing.assert_allclose(
    losses.completion_loss(completions, targets), [10 * (1 + 0.25 + 4) / 4]
  )
  np.testing.assert_allclose(
    losses.completion_loss(completions, targets, "quartic"),
    [10 * (1 + 0.25**2 + 16) / 4],
    rtol=1e-6,
  )


def test_max_region_is_the_greatest_mean_of_a_5x5_window(rng):
  completions, targets = pair(rng)
  squares = np.square(completions - targets)[..., 0]
  expected = [
    max(square[i : i + 5, j : j + 5].mean() for i in range(4) for j in range(4))
    for square in squares
  ]
  np.testing.assert_allclose(
    losses.completion_loss(completions, targets, "max_region"), 10 * np.array(expected), rtol=1e-5
  )


def test_mse_is_by_example(rng):
  completions, targets = pair(rng)
  expected = 10 * np.mean(np.square(completions - targets), (1, 2, 3))
  np.testing.assert_allclose(losses.completion_loss(completions, targets), expected, rtol=1e-5)


def test_unknown_losses_are_named(rng):
  with pytest.raises(
    ValueError, match="kind='mae' is not a completion loss: choose mse, max_region or quartic"
  ):
    losses.completion_loss(*pair(rng), "mae")


def test_sobel_against_scipy(rng):
  completions, targets = pair(rng)
  expected = []
  for difference in (completions - targets).numpy()[..., 0]:
    edges = [ndimage.sobel(difference, axis, mode="mirror") for axis in (0, 1)]
    expected.append(np.mean(np.square(edges)))
  np.testing.assert_allclose(losses.sobel_loss(completions, targets), expected, rtol=1e-5)


# Targets.


def test_step_losses_by_hand():
  outside = tf.constant([[True, False, False], [False, True, True]])
  np.testing.assert_allclose(
    losses.step_losses(constant([2.0, 3.0]), outside, 0.05),
    [[0.05, 0, 2], [0, 0.05, 3.05]],
    rtol=1e-6,
  )


def test_bellman_targets_against_a_loop(rng):
  rewards, target_q = rng.random([3, 6]), rng.random([3, 6])
  expected = np.zeros([3, 6])
  for b in range(3):
    for t in range(6):
      expected[b, t] = rewards[b, t] + (GAMMA * target_q[b, t + 1] if t < 5 else 0.0)
  np.testing.assert_allclose(
    losses.bellman_targets(constant(rewards), constant(target_q), GAMMA), expected, rtol=1e-6
  )


def test_supervised_targets_against_a_loop_in_the_order_of_time(rng):
  rewards = rng.random([3, 6])
  expected = np.zeros([3, 6])
  for b in range(3):
    for t in range(6):
      for later in range(t, 6):
        expected[b, t] += GAMMA ** (later - t) * rewards[b, later]
  ours = losses.supervised_targets(constant(rewards), GAMMA).numpy()
  np.testing.assert_allclose(ours, expected, rtol=1e-5)
  assert (np.abs(ours[:, ::-1] - expected) > 1e-3).any()  # the published list is reversed


def test_supervised_targets_are_bellman_targets_of_true_values(rng):
  rewards = constant(rng.random([3, 6]))
  values = losses.supervised_targets(rewards, GAMMA)
  np.testing.assert_allclose(losses.bellman_targets(rewards, values, GAMMA), values, rtol=1e-5)


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_extreme_discounts(discount):
  targets = losses.supervised_targets(constant([[1.0, 2.0, 4.0]]), discount)
  np.testing.assert_allclose(targets, [[1, 2, 4] if discount == 0 else [7, 6, 4]])


def test_nothing_is_differentiated_through_targets(rng):
  values = constant(rng.random([3, 6]))
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(values)
    bellman = losses.bellman_targets(values, values, GAMMA)
    supervised = losses.supervised_targets(values, GAMMA)
    loss, errors = losses.critic_loss(constant(rng.random([3, 6])), values, tf.ones([3]))
  for result in (bellman, supervised, loss, errors):
    assert tape.gradient(result, values) is None


# Critic and actor.


def test_critic_loss_by_hand():
  q, targets = constant([[1.0, 2.0], [0.0, 0.0]]), constant([[0.0, 4.0], [1.0, 1.0]])
  loss, errors = losses.critic_loss(q, targets, tf.ones([2]))
  np.testing.assert_allclose(errors, [2.5, 1.0])
  assert float(loss) == pytest.approx(1.75)
  weighted, errors = losses.critic_loss(q, targets, constant([1.0, 0.5]))
  np.testing.assert_allclose(errors, [2.5, 1.0])  # priorities are not weighted
  assert float(weighted) == pytest.approx(1.5)


def test_gradient_of_the_critic_loss():
  q, targets = tf.Variable([[1.0, 2.0], [0.0, 0.0]]), constant([[0.0, 4.0], [1.0, 1.0]])
  with tf.GradientTape() as tape:
    loss, _ = losses.critic_loss(q, targets, constant([1.0, 0.5]))
  np.testing.assert_allclose(tape.gradient(loss, q), 2 * np.array([[1, -2], [-0.5, -0.5]]) / 4)
  with tf.GradientTape() as tape:
    _, errors = losses.critic_loss(q, targets, tf.ones([2]))
  assert tape.gradient(errors, q) is None


def test_actor_loss_is_the_mean_value_of_live_actions():
  assert float(losses.actor_loss(constant([[1.0, 2.0], [3.0, 6.0]]))) == 3.0


def test_errors_are_predicted_for_the_segment_after_which_a_scan_was_cut():
  predicted = tf.constant([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])[..., None]
  for cut, present in (([1, 3], (1.0, 32.0)), ([2, 1], (2.0, 8.0))):
    loss = losses.prediction_loss(predicted, tf.constant(cut), tf.constant([0.5, 10.0]))
    assert float(loss) == ((present[0] - 0.5) ** 2 + (present[1] - 10.0) ** 2) / 2
