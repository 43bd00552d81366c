"""Operations on images of specimens: normalisation, transforms, noise and low-pass filter."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config

TRANSFORMS = 8  # of a square: flips of rows and columns, and the transpose
_FLAT = 1e-6  # range below which an image counts as constant
_TAPS = 5  # px, width of the low-pass filter


class Repairs(NamedTuple):
  """Numbers of the repairs that `normalise` made."""

  non_finite_pixels: int
  constant_images: int


def normalise(images: np.ndarray) -> Repairs:
  """Scales each image's intensities to [-1, 1], in place (METHOD section 2).

  Non-finite pixels become 0 first; constant images become 0.

  Args:
    images: float32 [N, S, S, 1], writable.

  Returns:
    The numbers of pixels that were not finite and of images that were constant.
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
  """Returns images x with shot noise: counts Poisson(N_e (x + 1) / 2), mapped back to [-1, 1]
  (METHOD section 9).

  Args:
    images: [N, S, S, 1] in [-1, 1], not filtered.
    electrons: N_e, electrons per pixel at white.
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
  # One gather: flipping and transposing all images, then choosing among the results, takes six
  # times as long for two channels on a CPU.
  side, number = images.shape[1], tf.shape(images)[0]

  def choose(bit, yes, no):
    """Returns one of two numbers for each image, by a bit, [B, 1]."""
    return tf.where(tf.bitwise.bitwise_and(which, bit) > 0, yes, no)[:, None]

  first = choose(1, side * (side - 1), 0) + choose(2, side - 1, 0)
  down, right = choose(1, -side, side), choose(2, -1, 1)  # steps in the flipped image
  # A transposition exchanges them.
  down, right = choose(4, right[:, 0], down[:, 0]), choose(4, down[:, 0], right[:, 0])
  steps = tf.range(side)
  first += side * side * tf.range(number)[:, None]
  pixels = (first + down * steps)[:, :, None] + (right * steps)[:, None, :]
  flat = tf.reshape(images, [-1, images.shape[3]])
  return tf.reshape(tf.gather(flat, pixels), tf.shape(images))


def as_measured(images: tf.Tensor, data: config.Data) -> tf.Tensor:
  """Returns images [B, S, S, 1] as scans measure them: low-pass filtered with
  `filter_observations`.
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
  # Ends are counted from the end, so that no graph has to work out sizes.
  ends = [*range(1 - _TAPS, 0), None]
  longer = _reflect(images, 1, _TAPS // 2)
  rows = sum(tap * longer[:, i:end] for i, (tap, end) in enumerate(zip(taps, ends)))
  wider = _reflect(rows, 2, _TAPS // 2)
  return sum(tap * wider[:, :, i:end] for i, (tap, end) in enumerate(zip(taps, ends)))


def _reflect(images, axis, reach):
  """Pads one axis by reflection; `tf.pad`, which mirrors pixel by pixel, takes twice as long."""
  along = lambda *ends: images[(slice(None),) * axis + (slice(*ends),)]
  return tf.concat([along(reach, 0, -1), images, along(-2, -2 - reach, -1)], axis)
