"""What is done to images of specimens: normalise, transform, low-pass filter."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config

TRANSFORMS = 8  # of a square: flips of rows and columns, and the transpose
_FLAT = 1e-6  # range below which an image counts as constant
_TAPS = 5  # px, width of the low-pass filter


class Repairs(NamedTuple):
  """What `normalise` had to mend."""

  non_finite_pixels: int
  constant_images: int


def normalise(images: np.ndarray) -> Repairs:
  """Scales each image's intensities to [-1, 1], in place (METHOD section 2).

  Non-finite pixels become 0 first; constant images become 0.

  Args:
    images: float32 [N, S, S, 1], writable.

  Returns:
    How many pixels were not finite and how many images were constant.
  """
  non_finite = constant = 0
  for image in images:  # one at a time: no second copy of a large set
    finite = np.isfinite(image)
    if not finite.all():
      non_finite += int(finite.size - np.count_nonzero(finite))
      image[~finite] = 0.0
    low, high = float(image.min()), float(image.max())
    if high - low < _FLAT:
      constant += 1
      image[:] = 0.0
    else:
      image -= np.float32((high + low) / 2)
      image /= np.float32((high - low) / 2)
      np.clip(image, -1.0, 1.0, out=image)  # float32 rounding
  return Repairs(non_finite, constant)


def with_dose_noise(images: np.ndarray, electrons: float, seed: int) -> np.ndarray:
  """Returns what N_e electrons per pixel at white count: Poisson(N_e (x + 1) / 2), back on [-1, 1]
  (METHOD section 9).

  Args:
    images: [N, S, S, 1] in [-1, 1], not filtered.
    electrons: N_e.
    seed: of the counts.
  """
  counts = np.random.default_rng(seed).poisson(electrons * (images.astype(np.float64) + 1) / 2)
  return (2 * counts / electrons - 1).astype(np.float32)


def transform(images: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
  """Applies one of the 8 dihedral transforms to each image.

  Args:
    images: [B, S, S, C].
    which: [B] int32, 0..7: bit 0 flips rows, bit 1 columns, bit 2 transposes (after the flips).

  Returns:
    [B, S, S, C].
  """

  def chosen(bit):
    """Returns whether a bit is set, [B, 1, 1, 1]."""
    return tf.reshape(tf.bitwise.bitwise_and(which, bit) > 0, [-1, 1, 1, 1])

  images = tf.where(chosen(1), tf.reverse(images, [1]), images)
  images = tf.where(chosen(2), tf.reverse(images, [2]), images)
  return tf.where(chosen(4), tf.transpose(images, [0, 2, 1, 3]), images)


def as_measured(images: tf.Tensor, data: config.Data) -> tf.Tensor:
  """Returns what a scan measures of images [B, S, S, 1]: with `filter_observations` low-pass
  filtered ones.
  """
  return low_pass(images, data.filter_sigma) if data.filter_observations else images


def low_pass(images: tf.Tensor, sigma: float) -> tf.Tensor:
  """Filters images with a normalised 5x5 Gaussian (SI S6, METHOD decisions 5 and 16).

  Args:
    images: [B, H, W, 1].
    sigma: standard deviation in px; 0 returns the images as they are.

  Returns:
    [B, H, W, 1]; borders are padded by reflection that does not repeat the edge.
  """
  if not sigma:
    return images
  offsets = np.arange(_TAPS) - _TAPS // 2
  taps = np.exp(-0.5 * (offsets / sigma) ** 2)
  taps = (taps / taps.sum()).astype(np.float32)
  reach = _TAPS // 2
  height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in (1, 2))
  padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]], "REFLECT")
  rows = sum(tap * padded[:, i : i + height] for i, tap in enumerate(taps))
  return sum(tap * rows[:, :, i : i + width] for i, tap in enumerate(taps))
