"""Metrics against arithmetic by hand."""

import numpy as np
import pytest

from adaptive_stem_tf.compare_fields import metrics

TARGET = np.array([[-1.0, 0.0], [0.0, 1.0]])
COMPLETIONS = np.array([[[-1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.2], [0.0, 0.6]]])


def test_ten_mse():
  # (0.2^2 + 0.4^2) / 4 = 0.05
  np.testing.assert_allclose(metrics.ten_mse(COMPLETIONS, TARGET), [0.0, 0.5], atol=1e-12)


def test_psnr():
  # MSE 0.04, range 2: 10 log10(4 / 0.04) = 20 dB
  np.testing.assert_allclose(metrics.psnr(np.array([0.4])), [20.0])


def test_nrmse_is_over_the_range_of_the_target():
  # sqrt(0.04) / (1 - -1)
  np.testing.assert_allclose(metrics.nrmse(np.array([0.4]), TARGET), [0.1])


def test_ssim_of_the_target_is_one_and_of_noise_less(rng):
  target = rng.uniform(-1, 1, [32, 32]).astype(np.float32)
  values = metrics.ssim(np.stack([target, rng.uniform(-1, 1, [32, 32])]), target)
  assert values[0] == pytest.approx(1.0) and values[1] < 0.2


def test_dice_of_bright_parts():
  target = np.full([4, 4], -1.0)
  target[:2] = 1.0  # 8 bright pixels
  half = np.full([4, 4], 0.1)
  half[0] = 0.5  # 4 of them, by its own threshold
  other = -target
  # 2 * 4 / (8 + 4), and no common pixel
  np.testing.assert_allclose(metrics.dice(np.stack([target, half, other]), target), [1, 2 / 3, 0])
