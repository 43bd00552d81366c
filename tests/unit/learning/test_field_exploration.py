"""What makes training scans of whole fields differ, written out from the same random numbers."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.fields import placement
from adaptive_stem_tf.learning import field_exploration

SEED = tf.constant([7, 11], tf.int64)


def seed_after(number):
  """Returns the seed that follows after so many."""
  seed = SEED
  for _ in range(number):
    seed = tf.random.experimental.stateless_fold_in(seed, 1)
  return seed


def uniform(*shape, after=0):
  return tf.random.stateless_uniform(shape, seed_after(after)).numpy()


def test_noise_is_shot_noise_of_a_dose_of_its_own(rng):
  data = field_config.FieldData(noisy_share=0.5, electrons_low=10.0, electrons_high=1000.0)
  specimen = rng.uniform(-1.2, 1, [6, 8, 8, 1]).astype(np.float32)
  noisy = field_exploration.with_noise(tf.constant(specimen), data, SEED)
  drawn = uniform(6, 2)
  electrons = 10 * 100 ** drawn[:, 0]
  counts = electrons[:, None, None, None] * np.maximum(specimen + 1, 0) / 2
  normal = tf.random.stateless_normal(specimen.shape, seed_after(1))
  noise = np.sqrt(counts) * normal / (electrons[:, None, None, None] / 2)
  with_it = drawn[:, 1] < 0.5
  assert 0 < with_it.sum() < 6
  expected = np.where(with_it[:, None, None, None], specimen + noise, specimen)
  np.testing.assert_allclose(noisy, expected, rtol=1e-4, atol=1e-6)


def test_plans_are_log_uniform_in_coverage_and_most_have_pairs():
  scan = field_config.FieldScanConfig(coverage_low=0.01, coverage_high=0.16, survey=0.3, pairs=0.05)
  plan = field_exploration.draw_plan(scan, 2, [8, 32, 64, 1], SEED)
  total = np.round(0.01 * 16 ** uniform(8) * 32 * 64)
  np.testing.assert_allclose(plan.counts, [np.round(total * s) for s in (0.3, 0.65, 1)], atol=1)
  offset = tf.random.stateless_uniform([8, 2], seed_after(1), 0, placement.TILE, tf.int32)
  np.testing.assert_array_equal(plan.rank, placement.rank_map(32, 64, offset))
  paired = uniform(8, after=2) < 0.75
  assert 0 < paired.sum() < 8
  np.testing.assert_array_equal(plan.pairs, np.float32(0.05) * paired)
  np.testing.assert_array_equal(plan.valid, np.ones([8, 32, 64, 1]))


def test_some_scans_are_even_and_others_the_actors_times_a_power_plus_noise(rng):
  shape = [12, 9, 13, 1]
  settings = field_config.FieldExploration(even_share=0.3, power_low=0.5, power_high=1.5, noise=0.8)
  behave = field_exploration.Behaviour(settings, shape, SEED)
  kind, power, amplitude = uniform(3, 12, 1, 1, 1)
  even = kind < 0.3
  assert 0 < even.sum() < 12

  def smooth(number):
    seed = tf.random.experimental.stateless_fold_in(SEED, number)
    noise = tf.random.stateless_normal([12, 9 // 4 + 2, 13 // 4 + 2, 1], seed)
    return 1.2 * tf.image.resize(noise, [9, 13], "bicubic")

  log_weights = rng.normal(size=shape).astype(np.float32)
  for number in (0, 1):
    # Of the noise, 0.8^2 are a scan's and 0.6^2 a round's.
    noise = 0.8 * smooth(0) + 0.6 * smooth(number + 1)
    expected = (0.5 + power) * log_weights + 0.8 * amplitude * noise
    # TensorFlow's resizing takes the weights of its kernel from a table.
    np.testing.assert_allclose(behave(log_weights, number), np.where(even, 0, expected), atol=3e-3)
