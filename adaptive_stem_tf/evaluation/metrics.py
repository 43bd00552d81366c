"""Measures completions: every image once, without noise, batch norm in inference mode (METHOD
section 9).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import statistics, stopping
from adaptive_stem_tf.evaluation.model import Model, Scans
from adaptive_stem_tf.scan import baselines

METRICS = ("ten_mse", "mse", "psnr", "ssim", "ms_ssim")
_OUTLIER = 4.0  # the paper's plots leave out images whose 10 * MSE is at least this
_RANGE = 2.0  # of intensities in [-1, 1]
_BATCH = 64
_WINDOW = 11  # px, of SSIM
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of multi-scale SSIM (Wang et al. 2003)


def image_metrics(completions: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
  """Returns 10 * MSE, MSE, PSNR in dB, SSIM and multi-scale SSIM of each completion, [N] each.

  Multi-scale SSIM uses those of its five scales that the window fits into, with their
  weights divided by their sum: four at 96 px, all from 176 px on.

  Args:
    completions: [N, S, S, 1], about in [-1, 1].
    targets: [N, S, S, 1], in [-1, 1].
  """
  errors = ten_mse(completions, targets)
  factors = scale_weights(targets.shape[1])
  similarity = [
    [
      tf.image.ssim(completions[i : i + _BATCH], targets[i : i + _BATCH], _RANGE, _WINDOW).numpy(),
      tf.image.ssim_multiscale(
        completions[i : i + _BATCH], targets[i : i + _BATCH], _RANGE, factors, _WINDOW
      ).numpy(),
    ]
    for i in range(0, len(targets), _BATCH)
  ]
  ssim, ms_ssim = (np.concatenate(parts).astype(np.float64) for parts in zip(*similarity))
  psnr = 10 * np.log10(_RANGE**2 / np.maximum(errors / 10, 1e-12))
  return {"ten_mse": errors, "mse": errors / 10, "psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}


def ten_mse(completions: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """Returns 10 * the mean squared error of each image [N, ...], the paper's measure: [N]."""
  squares = np.square(completions.astype(np.float64) - targets)
  return 10 * squares.reshape(len(squares), -1).mean(1)


def scale_weights(size: int) -> tuple[float, ...]:
  """Returns the weights of the scales of multi-scale SSIM that fit images of a side in px."""
  fitting = [
    weight
    for scale, weight in enumerate(_SCALE_WEIGHTS)
    if not scale or size // 2**scale >= _WINDOW
  ]
  return tuple(weight / sum(fitting) for weight in fitting)


def targets_of(images: np.ndarray, filter_sigma: float) -> dict[str, np.ndarray]:
  """Returns the targets errors are measured on: low-pass filtered (primary) and raw."""
  filtered = [
    specimens.low_pass(tf.constant(images[i : i + _BATCH]), filter_sigma).numpy()
    for i in range(0, len(images), _BATCH)
  ]
  return {"filtered": np.concatenate(filtered), "raw": images}


def evaluate(
  model: Model, images: np.ndarray, sources: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, Scans]]:
  """Compares the model's own scan, adaptive or not, with a spiral of equally many probing
  positions; its generator completes both.

  Args:
    model: the model to evaluate.
    images: [N, S, S, 1], in [-1, 1].
    sources: [N], the file each image was cut from; None if unknown.

  Returns:
    The evaluation, for JSON, and the scans by name.
  """
  scan = model.experiment.scan
  own = "adaptive" if scan.path == "adaptive" else "own path"
  scans = {
    own: model.scan_all(images),
    "spiral": model.scan_all_along(images, baselines.spiral(scan, scan.pitch)),
  }
  targets = targets_of(images, model.experiment.data.filter_sigma)
  measured = {
    name: {kind: image_metrics(result.completions, target) for kind, target in targets.items()}
    for name, result in scans.items()
  }
  flat = np.broadcast_to(targets["filtered"].mean((1, 2, 3), keepdims=True), images.shape)
  difference = measured[own]["filtered"]["ten_mse"] - measured["spiral"]["filtered"]["ten_mse"]
  result = {
    "count": len(images),
    "probing_positions": scan.segments * scan.probes,
    "probing_positions_per_pixel": scan.coverage,
    "units": {"ten_mse": "10 * MSE on [-1, 1], the paper's", "psnr": "dB, data range 2"},
    "intervals": statistics.interval_method(sources),
    "scans": {name: _summary(scans[name], measured[name], sources) for name in scans},
    "own_minus_spiral_ten_mse": statistics.summarise(difference, sources),
    "image_mean_ten_mse": statistics.summarise(
      image_metrics(flat, targets["filtered"])["ten_mse"], sources
    ),
    **({"stopping": stopping.evaluate(model, images)} if scan.truncate else {}),
    "per_image": [_row(i, scans, measured, sources) for i in range(len(images))],
  }
  return result, scans


def sheet_titles(scans: Scans, targets: np.ndarray) -> list[str]:
  """Returns the title of each example: its 10 * MSE."""
  return [f"10 MSE {error:.3f}" for error in ten_mse(scans.completions, targets)]


def _summary(scans, measured, sources):
  kinds: dict[str, Any] = {
    kind: {name: statistics.summarise(values, sources) for name, values in metrics.items()}
    for kind, metrics in measured.items()
  }
  errors = measured["filtered"]["ten_mse"]
  inliers = errors < _OUTLIER
  summary = None
  if inliers.any():
    own_sources = None if sources is None else np.asarray(sources)[inliers]
    summary = statistics.summarise(errors[inliers], own_sources)
  kinds["filtered_without_outliers"] = {
    "rule": f"images with 10 MSE >= {_OUTLIER:g} left out, as the paper's plots do",
    "ten_mse": summary,
  }
  return {"distinct_pixels": float(scans.partial[..., 1].mean()), **kinds}


def _row(i, scans, measured, sources):
  row: dict[str, Any] = {"image": i} | ({"source": sources[i]} if sources is not None else {})
  for name, result in scans.items():
    row[name] = {metric: float(measured[name]["filtered"][metric][i]) for metric in METRICS}
    row[name]["raw_ten_mse"] = float(measured[name]["raw"]["ten_mse"][i])
    row[name]["distinct_pixels"] = float(result.partial[i, ..., 1].mean())
  return row
