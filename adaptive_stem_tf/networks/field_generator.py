"""The generator of whole fields: completes partial fields of any size, with its uncertainty.

It is a U-Net without batch normalisation that corrects an interpolation (docs/FIELDS.md). Inputs
and output are relative to the local contrast of the interpolation, so that it treats faint and
strong structure alike. The correction is zero at the start, and low-pass filtered as the
targets are, so that it can leave no checkerboard.
"""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.fields import interpolation, maps, noise
from adaptive_stem_tf.fields.state import Completion
from adaptive_stem_tf.networks import blocks, initialisers

_SMOOTH = 1.5  # px, low-pass filter of the uncertainty map
_PAIRS = 8.0  # pairs of neighbours at which the estimate of noise is trusted by half
_FLOOR = 3e-3  # least local contrast that inputs are divided by, on the scale of [-1, 1]
_EXPLAINED = 3.0  # log of the local contrast over the variance that is expected at first


class FieldGenerator(snt.Module):
  """Interpolation plus a correction by a U-Net, in units of the local contrast."""

  def __init__(
    self,
    channels: int,
    target_sigma: float,
    name: str = "field_generator",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    """Makes the generator.

    Args:
      channels: at half resolution, where convolutions cost most; 3, 4 and 6 times as many
        deeper down.
      target_sigma: of the low-pass filter of targets, px.
      name: of the module.
      weights: where the initial weights come from.
    """
    super().__init__(name=name)
    self._sigma = target_sigma
    widths = [channels, 3 * channels, 4 * channels, 6 * channels]
    self.down = [_Pair(width, 1 if not level else 2, weights) for level, width in enumerate(widths)]
    self.up = [_Merge(width, weights) for width in widths[-2::-1]]
    self.correction = blocks.Convolution(4, zeros=True, name="correction")
    self.spread = blocks.Convolution(1, zeros=True, name="spread")

  def __call__(self, partial: tf.Tensor, mask: tf.Tensor) -> Completion:
    """Completes partial fields.

    Args:
      partial: [B, H, W, 1] measured intensity, 0 where nothing was measured.
      mask: [B, H, W, 1], 1 where measured, else 0.

    Returns:
      The completion, its uncertainty and the interpolations that it was made from.
    """
    size = _size(mask)
    mask, partial = _pad(mask), _pad(partial)
    estimate, plain, base, mean, contrast = self._interpolate(partial, mask)
    scale = tf.sqrt(contrast)
    relative = lambda image: tf.clip_by_value((image - base) / scale, -6.0, 6.0)
    missed = mask * (partial - plain)
    # Local mean square by which the interpolation misses measurements: noise and fine structure.
    misfit = _local(_halve(mask * tf.square(partial - plain)), 4)
    misfit /= _local(_halve(mask), 4) + 1e-3
    law = noise.estimate(missed, mask, plain)
    trust = law.pairs / (law.pairs + _PAIRS)  # 0 without pairs, which tell noise from structure
    noise_level = tf.math.log((law.variance(base) + 1e-7) / contrast)
    noise_level = tf.clip_by_value(noise_level, -6.0, 3.0) / 3
    deviation = maps.to_planes(missed) / maps.as_plane(scale)
    images = (
      relative(estimate.near), relative(estimate.smooth), -relative(mean), base,
      (estimate.log_density + 3.0) / 2, tf.math.log(misfit / contrast + 1e-3) / 3,
      trust * noise_level, trust + tf.zeros_like(base)
    )  # fmt: skip
    inputs = maps.to_channels([
      maps.to_planes(mask), tf.clip_by_value(deviation, -6.0, 6.0), *map(maps.as_plane, images)
    ])  # fmt: skip
    features = self._features(inputs)
    heads = blocks.convolve_together((self.correction, self.spread), features)
    enlarge = lambda image: tf.image.resize(image, tf.shape(mask)[1:3], "bilinear")
    correction = enlarge(scale) * maps.from_channels(heads[0])
    spread = tf.clip_by_value(heads[1], -8.0, 8.0)
    log_variance = maps.double(tf.math.log(contrast) - _EXPLAINED + spread)
    log_variance = specimens.low_pass(log_variance, _SMOOTH)
    completion = plain + specimens.low_pass(correction, self._sigma)
    smooth = enlarge(estimate.smooth)
    return Completion(*(_crop(image, size) for image in (completion, log_variance, plain, smooth)))

  def plain(self, partial: tf.Tensor, mask: tf.Tensor) -> Completion:
    """Returns the interpolation alone as the completion, its local contrast as the variance."""
    size = _size(mask)
    estimate, plain, _, _, contrast = self._interpolate(_pad(partial), _pad(mask))
    log_variance = maps.double(tf.math.log(contrast) - _EXPLAINED)
    smooth = maps.double(estimate.smooth)
    return Completion(*(_crop(image, size) for image in (plain, log_variance, plain, smooth)))

  def _interpolate(self, partial, mask):
    """Returns the interpolation in several forms.

    Returns:
      The estimates; the filtered one [B, H, W, 1], which is corrected; and, at half size [B, H / 2,
      W / 2, 1], this one, its local mean and its local contrast (a variance).
    """
    estimate = interpolation.interpolate(partial, mask)
    plain = specimens.low_pass(estimate.twice, self._sigma)
    base = _halve(plain)
    mean = _local(base, 2)
    contrast = _local(tf.square(base - mean), 2) + _FLOOR**2
    return estimate, plain, base, mean, contrast

  def _features(self, features):
    """Returns the last features [B, H / 2, W / 2, channels] of the U-Net."""
    skips = []
    for stage in self.down:
      features = stage(features)
      skips.append(features)
    for stage, skip in zip(self.up, skips[-2::-1]):
      features = stage(features, skip)
    return features


def _size(image):
  """Returns the numbers of rows and columns, as Python numbers if they are static."""
  return [image.shape[axis] or tf.shape(image)[axis] for axis in (1, 2)]


def _crop(image, size):
  return image[:, : size[0], : size[1]]


def _pad(image):
  """Pads with unmeasured pixels to multiples of the coarsest cell."""
  multiple = interpolation.MULTIPLE
  pads = [-size % multiple if size else None for size in image.shape[1:3]]
  if pads == [0, 0]:
    return image
  if None in pads:
    pads = [tf.math.floormod(-tf.shape(image)[axis], multiple) for axis in (1, 2)]
  return tf.pad(image, [[0, 0], [0, pads[0]], [0, pads[1]], [0, 0]])


def _halve(image):
  """Averages 2 x 2 pixels of a padded image."""
  return maps.to_cells(image, 2, whole=True)


def _local(image, cell):
  """Returns local means of a padded image at half resolution."""
  return maps.neighbourhood(image, cell, whole=True)


class _Pair(snt.Module):
  """Two convolutions with ReLU, the second around a residual connection."""

  def __init__(self, channels, stride, weights):
    super().__init__(name="pair")
    self.first = blocks.Convolution(channels, stride, name="first", weights=weights)
    self.second = blocks.Convolution(channels, name="second", weights=weights)

  def __call__(self, inputs):
    """Maps features [B, h, w, C] to [B, h / stride, w / stride, channels]."""
    features = tf.nn.relu(self.first(inputs))
    return tf.nn.relu(features + self.second(features))


class _Merge(snt.Module):
  """Enlarges coarse features by resizing (no transposed convolution) and adds them to fine ones."""

  def __init__(self, channels, weights):
    super().__init__(name="merge")
    self.narrow = blocks.Convolution(channels, name="narrow", weights=weights)
    self.second = blocks.Convolution(channels, name="second", weights=weights)

  def __call__(self, coarse, fine):
    """Merges coarse features [B, h, w, C] into fine ones [B, 2 h, 2 w, channels]."""
    features = tf.nn.relu(fine + maps.double(self.narrow(coarse)))
    return tf.nn.relu(features + self.second(features))
