"""Normalised convolution of partial scans."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.networks import generator, interpolation
from tests import tiny

SIZE = 32


def scan_of(values):
  """Returns a partial scan [1, S, S, 2] of {(row, column): intensity}."""
  partial = np.zeros([1, SIZE, SIZE, 2], np.float32)
  for (row, column), value in values.items():
    partial[0, row, column] = value, 1.0
  return tf.constant(partial)


def test_one_probe_by_hand():
  channels = interpolation.normalised_convolution(scan_of({(10, 12): -0.5}))[0].numpy()
  assert channels.shape == (SIZE, SIZE, 2 * len(interpolation.WIDTHS))
  for i, width in enumerate(interpolation.WIDTHS):
    density = np.exp(-0.5 * (3**2 + 4**2) / width**2)  # 3 px down, 4 px right
    assert channels[13, 16, 2 * i] == pytest.approx(-0.5 * density / (density + 1e-3), abs=1e-6)
    assert channels[13, 16, 2 * i + 1] == pytest.approx(0.5 * np.log1p(density), abs=1e-6)


def test_between_two_probes_the_nearer_one_weighs_more():
  widest = interpolation.normalised_convolution(scan_of({(8, 4): 1.0, (8, 20): -1.0})).numpy()[
    0, ..., -2
  ]
  assert widest[8, 12] == pytest.approx(0.0, abs=1e-6)
  assert widest[8, 9] > 0.2
  assert widest[8, 15] < -0.2


def test_nothing_is_known_far_from_any_probe():
  finest = interpolation.normalised_convolution(scan_of({(0, 0): 1.0}))[0, ..., :2]
  np.testing.assert_allclose(finest[20, 20], 0.0, atol=1e-6)


def test_the_generator_sees_it(rng):
  partial = tf.constant(rng.uniform(-1, 1, [2, 16, 16, 2]), tf.float32)
  plain, shown = (
    generator.Generator(tiny.experiment(interpolate=on).generator) for on in (False, True)
  )
  for network in (plain, shown):
    assert network(partial, is_training=False).shape == [2, 16, 16, 1]
  channels = lambda network: next(
    v.shape[2] for v in network.layers[0].trainable_variables if v.shape.rank == 4
  )
  assert (channels(plain), channels(shown)) == (2, 2 + 2 * len(interpolation.WIDTHS))
