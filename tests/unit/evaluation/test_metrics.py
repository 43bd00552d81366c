"""Metrics of completions, and the comparison of scans."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import metrics as metrics_lib
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.scan import baselines, partial_scan
from tests import tiny


def pair(rng, count=5, size=24):
  targets = rng.uniform(-1, 1, [count, size, size, 1]).astype(np.float32)
  return np.float32(targets + 0.2 * rng.standard_normal(targets.shape)), targets


def test_metrics_by_hand():
  metrics = metrics_lib.image_metrics(
    np.full([1, 16, 16, 1], 0.5, np.float32), np.zeros([1, 16, 16, 1], np.float32)
  )
  assert metrics["mse"] == pytest.approx(0.25) and metrics["ten_mse"] == pytest.approx(2.5)
  assert metrics["psnr"] == pytest.approx(10 * np.log10(4 / 0.25))


def test_the_smallest_images_are_measured(rng):
  with pytest.raises(ValueError, match="image_size=8 is out of range: it must be at least 12"):
    config.ScanGeometry(image_size=8)  # SSIM's window would not fit
  size = config.ScanGeometry(image_size=12).image_size
  images = np.float32(rng.uniform(-1, 1, [2, size, size, 1]))
  metrics = metrics_lib.image_metrics(images, images)
  np.testing.assert_allclose(metrics["ms_ssim"], 1, atol=1e-5)


def test_metrics_against_scikit_image(rng):
  measured = pytest.importorskip("skimage.metrics")
  completions, targets = pair(rng)
  metrics = metrics_lib.image_metrics(completions, targets)
  for k, (ours, truth) in enumerate(zip(completions[..., 0], targets[..., 0])):
    assert metrics["psnr"][k] == pytest.approx(
      measured.peak_signal_noise_ratio(truth, ours, data_range=2), rel=1e-5
    )
    _, image = measured.structural_similarity(
      truth.astype(np.float64),
      ours.astype(np.float64),
      data_range=2,
      gaussian_weights=True,
      sigma=1.5,
      use_sample_covariance=False,
      full=True,
    )
    # 11-px window, no padding
    assert metrics["ssim"][k] == pytest.approx(image[5:-5, 5:-5].mean(), abs=1e-4)


def test_perfect_completions(rng):
  _, targets = pair(rng)
  metrics = metrics_lib.image_metrics(targets, targets)
  assert (metrics["mse"] == 0).all() and np.isfinite(metrics["psnr"]).all()
  np.testing.assert_allclose(metrics["ssim"], 1, atol=1e-6)


def test_targets_are_filtered_and_raw(rng):
  _, images = pair(rng)
  targets = metrics_lib.targets_of(images, 2.5)
  assert targets["raw"] is images
  offsets = np.arange(-2, 3)
  taps = np.exp(-(offsets**2) / (2 * 2.5**2))
  taps /= taps.sum()
  smooth = ndimage.correlate1d(
    ndimage.correlate1d(images, taps, 1, mode="mirror"), taps, 2, mode="mirror"
  )
  np.testing.assert_allclose(targets["filtered"], smooth, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
  return model.of_learner(tiny.learner())


@pytest.fixture(scope="module")
def evaluated(trained):
  tf.config.run_functions_eagerly(True)
  result = metrics_lib.evaluate(trained, tiny.images(10), ["a"] * 5 + ["b"] * 5)
  tf.config.run_functions_eagerly(False)
  return result


def test_an_evaluation_agrees_with_its_scans(evaluated):
  result, scans = evaluated
  targets = metrics_lib.targets_of(tiny.images(10), 2.5)["filtered"]
  for name in ("adaptive", "spiral"):
    losses = 10 * np.mean(np.square(scans[name].completions - targets), (1, 2, 3))
    summary = result["scans"][name]["filtered"]["ten_mse"]
    assert summary["mean"] == pytest.approx(losses.mean(), rel=1e-5)
    assert [row[name]["ten_mse"] for row in result["per_image"]] == pytest.approx(
      list(losses), rel=1e-5
    )
    assert result["scans"][name]["raw"]["ten_mse"]["mean"] != summary["mean"]
    assert result["scans"][name]["distinct_pixels"] == pytest.approx(
      scans[name].partial[..., 1].mean(), rel=1e-6
    )
  difference = result["own_minus_spiral_ten_mse"]["mean"]
  means = [result["scans"][name]["filtered"]["ten_mse"]["mean"] for name in ("adaptive", "spiral")]
  assert difference == pytest.approx(means[0] - means[1], abs=1e-6)
  variances = targets.astype(np.float64).var((1, 2, 3))
  assert result["image_mean_ten_mse"]["mean"] == pytest.approx(10 * variances.mean(), rel=1e-5)
  assert np.abs(targets.mean((1, 2, 3))).max() > 0.02  # it is not 0 that is taken for the mean
  assert result["count"] == 10 and result["probing_positions"] == 16
  assert result["per_image"][7]["source"] == "b" and "source files" in result["intervals"]
  json.dumps(result)
  assert 0 < means[0] < 100  # an untrained generator is bad, not absurd


def test_outliers_are_left_out_in_a_row_of_their_own(evaluated):
  result, _ = evaluated
  losses = np.array([row["adaptive"]["ten_mse"] for row in result["per_image"]])
  rest = result["scans"]["adaptive"]["filtered_without_outliers"]["ten_mse"]
  kept = losses[losses < 4]
  assert (rest is None and not len(kept)) or rest["count"] == len(kept)


def test_both_scans_see_the_specimen(evaluated):
  _, scans = evaluated
  images, scan = tiny.images(10), tiny.experiment().scan
  for made in scans.values():
    np.testing.assert_array_equal(made.partial[..., :1], images * made.partial[..., 1:])
  np.testing.assert_array_equal(scans["spiral"].positions[3], baselines.spiral(scan, scan.pitch))
  np.testing.assert_allclose(
    scans["adaptive"].positions,
    partial_scan.scan_positions(tf.constant(scans["adaptive"].actions), scan),
    atol=1e-6,
  )


def test_evaluating_does_not_depend_on_the_batch(eagerly, trained):
  images = tiny.images(40)  # more than one batch of 32
  whole, some = trained.scan_all(images), trained.scan_all(images[30:])
  for ours, theirs in zip(whole, some, strict=True):
    assert len(ours) == 40
    np.testing.assert_allclose(ours[30:], theirs, atol=1e-5)


@pytest.mark.parametrize("size, scales", [(16, 1), (24, 2), (96, 4), (176, 5), (192, 5), (512, 5)])
def test_as_many_scales_as_the_image_allows(size, scales):
  weights = metrics_lib.scale_weights(size)
  assert len(weights) == scales and sum(weights) == pytest.approx(1)


def test_one_scale_of_multi_scale_ssim_is_ssim(rng):
  completions, targets = pair(rng, size=16)
  metrics = metrics_lib.image_metrics(completions, targets)
  np.testing.assert_allclose(metrics["ms_ssim"], metrics["ssim"], atol=1e-5)


def test_multi_scale_ssim_forgives_fine_noise(rng):
  smooth = tiny.images(3, 96)
  noisy = np.float32(smooth + 0.2 * rng.standard_normal(smooth.shape))
  metrics = metrics_lib.image_metrics(noisy, smooth)
  assert (metrics["ms_ssim"] > metrics["ssim"]).all() and (metrics["ms_ssim"] < 1).all()
  np.testing.assert_allclose(metrics_lib.image_metrics(smooth, smooth)["ms_ssim"], 1, atol=1e-6)
