"""Expected reduction in distortion: features and targets by hand, and where it measures."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config, microscope_config
from adaptive_stem_tf.compare_fields import comparison, completions, settings, slads, specimen

SHAPE = (64, 80)


def field(seed):
  """Returns a smooth background with wavy texture in one half, [H, W], and where that is."""
  random = np.random.default_rng(seed)
  rows, columns = np.indices(SHAPE)
  period, left = random.uniform(9, 14), random.random() < 0.5
  inside = (columns < 40) == left
  wave = np.sin(2 * np.pi * rows / period) * np.sin(2 * np.pi * columns / period)
  return np.where(inside, 0.8 * wave, columns / 400).astype(np.float32), inside


def test_features_by_hand():
  mask = np.zeros([20, 20], bool)
  mask[::4, ::4] = True
  image = np.tile(np.arange(20.0) / 20, [20, 1])
  found = slads.features(np.where(mask, image, 0.0), mask, image)
  assert found.shape == (20, 20, slads.FEATURES)
  # The products of 1 and the six features, in order: 1 with each is first.
  one, rows, columns, deviation, weighted, distance, unmeasured = found[10, 9, :7]
  assert (one, rows, columns) == pytest.approx((1, 0, 1 / 20))
  assert distance == pytest.approx(np.hypot(2, 1) / 8)  # (8, 8) is nearest, 8 px are one
  assert unmeasured == pytest.approx(1 - mask[2:19, 1:18].mean())
  assert 0 < weighted < deviation < 0.5
  assert found[10, 9, 7] == rows**2 and found[10, 9, 13] == pytest.approx(columns**2)


def test_the_reduction_is_the_error_under_a_gaussian():
  mask = np.zeros([80, 80], bool)
  mask[:, 0] = True
  found = slads.reduction(np.full([80, 80], 0.1), mask)
  assert found[40, 0] == 0
  # The Gaussian at distance 8 is 4 px wide.
  assert found[40, 8] == pytest.approx(2 * np.pi * 16 * 0.1)
  assert found[40, 16] == pytest.approx(4 * found[40, 8])


def test_it_measures_where_measurements_win():
  plain = completions.Completer(None).plain
  coefficients = slads.train([(field(seed)[0],) * 2 for seed in range(3)], plain)
  assert coefficients.shape == (slads.FEATURES,)
  image, inside = field(7)
  request = settings.Request((0.06,), (0,), ("slads",), ("local_linear",), slads=coefficients)
  measuring = comparison.Comparison({}, request, microscope_config.Beam())
  (scan,) = measuring.scans(specimen.make("half", image), 0.06)
  last = scan.masks[-1, 0]
  assert last.sum() == round(0.06 * image.size) == len(scan.orders[0])
  assert scan.masks.shape[0] == 1 + field_config.FieldScanConfig().rounds
  assert last[inside].mean() > 1.5 * last[~inside].mean()


def test_what_was_never_trained_is_refused():
  request = settings.Request((0.06,), (0,), ("slads",), ("local_linear",))
  with pytest.raises(ValueError, match="needs the coefficients"):
    comparison.Comparison({}, request, microscope_config.Beam())


def test_a_policy_sees_the_fields_that_were_completed_last():
  image = tf.constant(np.random.default_rng(0).normal(size=[2, 64, 64, 1]), tf.float32)
  mask = tf.cast(np.random.default_rng(1).random([2, 64, 64, 1]) < 0.1, tf.float32)
  flat = np.zeros(slads.FEATURES)
  flat[0] = 1.0
  learnt = slads.Slads(flat, completions.Completer(None).plain, 8)
  learnt.complete(image * mask, mask)
  cells = type("Cells", (), {"valid": tf.ones([2, 8, 8, 1])})
  log_weights, state = learnt.policy(cells, ())
  assert log_weights.shape == [2, 8, 8, 1] and state == ()
  np.testing.assert_allclose(tf.reduce_mean(log_weights, [1, 2, 3]), 0, atol=1e-5)
