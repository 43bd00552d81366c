"""Metrics of completions of whole fields."""

import numpy as np
import tensorflow as tf
from skimage import filters

_RANGE = 2.0  # of intensities in [-1, 1]
_WINDOW = 11  # px, of SSIM


def ten_mse(completions: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Returns 10 * MSE [S] of completions [S, H, W] of a target [H, W]."""
  return 10 * np.mean(np.square(completions.astype(np.float64) - target), (1, 2))


def psnr(ten_mses: np.ndarray) -> np.ndarray:
  """Returns the peak signal-to-noise ratio in dB, data range 2, from 10 * MSE."""
  return 10 * np.log10(_RANGE**2 / np.maximum(np.asarray(ten_mses) / 10, 1e-12))


def ssim(completions: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Returns the structural similarity [S], data range 2 and a Gaussian window of 11 px."""
  pairs = (tf.constant(image[..., None], tf.float32) for image in (completions, target[None]))
  return tf.image.ssim(*pairs, _RANGE, _WINDOW).numpy().astype(np.float64)


def nrmse(ten_mses: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Returns the root mean square error over the target's range (FAST, Kandel et al. 2023)."""
  return np.sqrt(np.asarray(ten_mses) / 10) / max(float(np.ptp(target)), 1e-12)


def dice(completions: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Returns the Dice coefficients [S] of the bright parts of completions and target.

  Each image is divided at its own Otsu threshold, as for counting particles.
  """
  bright = _bright(target)
  values = []
  for completion in completions:
    own = _bright(completion)
    total = own.sum() + bright.sum()
    values.append(2 * (own & bright).sum() / total if total else 1.0)
  return np.array(values)


def _bright(image):
  return image > filters.threshold_otsu(image)
