"""The history of generated images: filled first, then half of it swapped."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.correction import history


def images(*values):
  return tf.constant(values, tf.float32)[:, None, None, None] * tf.ones([1, 2, 2, 1])


def numbers(shown):
  return shown.numpy()[:, 0, 0, 0]


def seed(number):
  return tf.constant([7, number], tf.int64)


def test_new_images_are_given_back_while_it_fills():
  kept = history.History(4, (2, 2, 1))
  for first in (1.0, 3.0):
    np.testing.assert_array_equal(
      numbers(kept.exchange(images(first, first + 1), seed(0))), [first, first + 1]
    )
  np.testing.assert_array_equal(numbers(kept.images), [1, 2, 3, 4])


def test_a_full_history_swaps_about_half():
  kept = history.History(6, (2, 2, 1))
  given = 0
  kept.exchange(images(1, 2, 3), seed(0)), kept.exchange(images(4, 5, 6), seed(1))
  for number in range(2, 60):
    new = [10.0 * number, 10.0 * number + 1]
    before = numbers(kept.images)
    shown, after = numbers(kept.exchange(images(*new), seed(number))), numbers(kept.images)
    for fresh, got in zip(new, shown):
      swapped = got != fresh
      assert (got in before) if swapped else (fresh not in after)
      assert (fresh in after) == swapped  # the new one takes its place
      given += swapped
    assert len(after) == len(set(after)) == 6
  assert 35 < given < 81  # of 116, binomial


def test_nothing_is_differentiated_through_it():
  variable = tf.Variable(2.0)
  with tf.GradientTape() as tape:
    shown = tf.reduce_sum(history.History(2, (2, 2, 1)).exchange(variable * images(1, 2), seed(0)))
  assert tape.gradient(shown, variable) is None
  with tf.GradientTape() as tape:
    shown = tf.reduce_sum(history.NoHistory().exchange(variable * images(1, 2), seed(0)))
  assert tape.gradient(shown, variable) is None
