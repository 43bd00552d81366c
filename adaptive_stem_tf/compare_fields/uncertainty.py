"""How well a generator's expected squared errors fit the errors that it makes."""

from typing import Any

import numpy as np
from scipy import ndimage

BINS = 10
_WIDTHS = {"within_68": 1.0, "within_95": 1.96}  # standard deviations
_TINY = 1e-12
_SPACINGS = 1.5  # standard deviation of the window of local variances, in mean distances


def figures(
  mean: np.ndarray, variance: np.ndarray, target: np.ndarray, local_variance: np.ndarray
) -> dict[str, Any]:
  """Returns shares of pixels within intervals, ten bins, and areas under sparsification curves.

  Args:
    mean: [H, W] completion.
    variance: [H, W] expected squared error.
    target: [H, W].
    local_variance: [H, W] of the measurements, which the curve has to beat.
  """
  squared = np.square(mean.astype(np.float64) - target)
  deviations = np.sqrt(squared / np.maximum(variance, _TINY))
  expected, observed = bins(variance, squared)
  return {
    **{name: float((deviations <= width).mean()) for name, width in _WIDTHS.items()},
    "expected": expected,
    "observed": observed,
    "area": sparsification_area(variance, squared),
    "area_local_variance": sparsification_area(local_variance, squared),
    "area_oracle": sparsification_area(squared, squared),
  }


def bins(variance: np.ndarray, squared: np.ndarray) -> tuple[list[float], list[float]]:
  """Returns mean expected and mean observed squared errors of ten bins of equally many pixels.

  Pixels are binned by their expected error, least first.
  """
  order = np.argsort(variance, axis=None, kind="stable")
  means = lambda image: [float(part.mean()) for part in np.array_split(image.ravel()[order], BINS)]
  return means(variance), means(squared)


def sparsification_area(doubt: np.ndarray, squared: np.ndarray) -> float:
  """Returns the area under the sparsification curve: less is better, 1 is an order at random.

  The curve is the mean squared error of the pixels left when the most doubtful ones are removed,
  over that of all, against the share that is removed (Ilg et al. 2018, on errors).

  Args:
    doubt: [H, W], greatest for the pixels that are removed first.
    squared: [H, W] errors.
  """
  errors = squared.ravel()[np.argsort(doubt, axis=None, kind="stable")].astype(np.float64)
  left = np.cumsum(errors) / np.arange(1, errors.size + 1)  # of the 1, 2, ... surest pixels
  return float(left.mean() / max(left[-1], _TINY))


def local_variance(measured: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Returns the variance of measurements near each pixel [H, W].

  The window is Gaussian, 1.5 mean distances of positions wide.

  Args:
    measured: [H, W] intensities.
    mask: [H, W] bool, where they were measured.
  """
  sigma = _SPACINGS * np.sqrt(mask.size / max(mask.sum(), 1))
  blur = lambda image: ndimage.gaussian_filter(np.where(mask, image, 0.0), sigma)
  weight = np.maximum(blur(np.ones(mask.shape)), _TINY)
  values = measured.astype(np.float64)
  mean = blur(values) / weight
  return np.maximum(blur(values**2) / weight - mean**2, 0.0)
