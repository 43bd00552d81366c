"""Cuts square crops from micrographs, and drops those without structure and near-duplicates.

These rules apply in this order. Contrast is the range of 4 x 4 px means, between the quantiles
0.005 and 0.995. The noise ratio is the variance of block means over that of independent noise: 1
for noise, up to 64 for images that are smooth over 8 px.

  not finite      a pixel is NaN or infinite
  flat            more than half of the pixels have one value: clipped, or outside the field of view
  vacuum          the contrast is below 2 % of the whole micrograph's; or it is below 8 % of it and
                  the noise ratio below 16; or the noise ratio is below 1.5
  near-duplicate  means over a twelfth of its side correlate above 0.98 with those of an earlier
                  crop
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf.micrographs.signatures import Signatures, signature

_BLOCK = 4  # px, over which contrast is measured
_QUANTILES = (0.005, 0.995)
# Pairs of limits: a crop is vacuum if, of one pair, its contrast over the micrograph's is below the
# first and its noise ratio below the second.
_EMPTY = ((np.inf, 1.5), (0.08, 16.0), (0.02, np.inf))
_NOISE_BLOCKS = (2, 4, 8)  # px
_ONE_VALUE = 0.5  # share of pixels of one value, above which a crop is flat

RULES = ("not finite", "flat", "vacuum", "near-duplicate", "beyond --max_crops")


@dataclasses.dataclass(frozen=True)
class Cutting:
  """How crops are cut.

  Raises:
    ValueError: if a value is out of range.
  """

  size: int = 96  # px, side of a crop after binning
  stride: int = 0  # px after binning, between neighbouring crops; 0 for the size: no overlap
  binning: int = 1  # px per side that are averaged into one
  max_crops: int = 25  # of one file, drawn at random; 0 for no limit
  seed: int = 0  # of the crops that are drawn, and of the split

  def __post_init__(self):
    for name, least in (("size", 8), ("stride", 0), ("binning", 1), ("max_crops", 0), ("seed", 0)):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name}={getattr(self, name)} is out of range: it must be at least {least}."
        )


class Crop(NamedTuple):
  """A square cut from a micrograph."""

  image: np.ndarray  # [S, S] float32, intensities as stored
  row: int  # px of the file, before binning, of its first row
  column: int


class Cut(NamedTuple):
  """The crops of one micrograph."""

  crops: list[Crop]
  dropped: dict[str, int]  # by rule


def bin_down(image: np.ndarray, binning: int) -> np.ndarray:
  """Averages blocks of `binning` x `binning` px of an image [H, W]; incomplete blocks at the far
  edges are cut off.
  """
  if binning == 1:
    return image
  rows, columns = (side // binning for side in image.shape)
  blocks = image[: rows * binning, : columns * binning].reshape(rows, binning, columns, binning)
  return blocks.mean((1, 3), dtype=np.float64).astype(np.float32)


def cut(image: np.ndarray, cutting: Cutting) -> Cut:
  """Cuts a grid of crops, centred on the micrograph, and drops those that the rules exclude.

  Args:
    image: [H, W] float32; non-finite pixels allowed.
    cutting: how crops are cut.

  Raises:
    ValueError: if the micrograph is smaller than a crop.
  """
  height, width = image.shape
  image = bin_down(image, cutting.binning)
  if min(image.shape) < cutting.size:
    binned = f" binned {cutting.binning} x {cutting.binning}" if cutting.binning > 1 else ""
    raise ValueError(
      f"{height} x {width} px{binned} is smaller than a crop of {cutting.size} x {cutting.size} px."
    )
  contrast = _contrast(image)
  dropped, usable = dict.fromkeys(RULES, 0), []
  for row, column in _grid(image.shape, cutting):
    crop = image[row : row + cutting.size, column : column + cutting.size]
    rule = excluded(crop, contrast)
    if rule:
      dropped[rule] += 1
    else:
      usable.append(Crop(crop.copy(), row * cutting.binning, column * cutting.binning))
  signatures = Signatures()
  distinct = [crop for crop in usable if signatures.add(signature(crop.image))]
  dropped["near-duplicate"] = len(usable) - len(distinct)
  sample = _draw(distinct, cutting)
  dropped["beyond --max_crops"] = len(distinct) - len(sample)
  return Cut(sample, dropped)


def excluded(crop: np.ndarray, contrast: float) -> str | None:
  """Returns the rule that excludes a crop [S, S] of a micrograph of this contrast; None if there is
  none.
  """
  if not np.isfinite(crop).all():
    return "not finite"
  if np.unique(crop, return_counts=True)[1].max() > _ONE_VALUE * crop.size:
    return "flat"
  share, ratio = _contrast(crop) / contrast if contrast else 0.0, noise_ratio(crop)
  return "vacuum" if any(share < low and ratio < noisy for low, noisy in _EMPTY) else None


def noise_ratio(crop: np.ndarray) -> float:
  """Returns the ratio of the variance of block means of a crop [S, S] to that of independent noise.

  It is the largest of k^2 var(means of k x k px) / var(pixels), for k = 2, 4, 8, and 1 for noise.
  """
  crop = crop.astype(np.float64) - crop.mean(dtype=np.float64)
  return max(float(k * k * _means(crop, k).var() / crop.var()) for k in _NOISE_BLOCKS)


def _grid(shape, cutting):
  """Returns the first row and column of each crop, after binning."""
  stride = cutting.stride or cutting.size
  starts = [
    range((side - cutting.size) % stride // 2, side - cutting.size + 1, stride) for side in shape
  ]
  return [(row, column) for row in starts[0] for column in starts[1]]


def _draw(crops, cutting):
  """Returns at most `max_crops` crops, drawn at random, in order of place."""
  if not cutting.max_crops or len(crops) <= cutting.max_crops:
    return crops
  numbers = np.random.default_rng(cutting.seed).choice(len(crops), cutting.max_crops, replace=False)
  return [crops[i] for i in sorted(numbers)]


def _contrast(image):
  means = _means(image, _BLOCK)
  finite = means[np.isfinite(means)]
  low, high = np.quantile(finite, _QUANTILES) if finite.size else (0.0, 0.0)
  return float(high - low)


def _means(image, block):
  rows, columns = (side // block for side in image.shape)
  return (
    image[: rows * block, : columns * block]
    .reshape(rows, block, columns, block)
    .mean((1, 3), dtype=np.float64)
  )
