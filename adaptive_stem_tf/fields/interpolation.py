"""Interpolation of scattered measurements by local linear regression, any size, in the graph.

A pyramid holds the moments of measurements in cells of 2, 4, 8, ... px: their number, positions and
intensities, and products of these. Blurring a level's moments and
solving a weighted least-squares problem of three unknowns gives a value and two slopes for
every cell. Each pixel takes the finest level that saw enough measurements, so the bandwidth
follows the local density. Linear structure is reproduced on any positions; a second pass
over the residuals at measured pixels (twicing) halves the bias where structure is curved.

Cleveland 1979 (locally weighted regression), Tukey 1977 (twicing); the pyramid is that of
push-pull methods (Gortler et al. 1996), with planes instead of constants.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import maps

LEVELS = 5  # cells of 2 to 32 px: enough for one measurement in some 2,000 pixels
FINEST = 2  # px, width of the finest cells; targets are smoother than that
MULTIPLE = FINEST * 2 ** (LEVELS - 1)  # fields are padded to a multiple of this inside
_RIDGE = 0.02  # squared cells: keeps slopes of collinear measurements small
_EMPTY = 1e-6
# A fit of fewer measurements than the first number is not used, one of more than the second is used
# alone. A measurement in the centre of the kernel counts 1.
_NEAR = (0.6, 1.6)
_SMOOTH = (2.5, 5.0)
_POSITIONS = ("1", "y", "x", "yy", "yx", "xx")  # moments of positions, relative to a cell's centre
_INTENSITIES = ("1", "y", "x")  # moments of intensities
_KERNEL_AREA = 4.0  # cells under the binomial kernel whose centre is 1


class Interpolation(NamedTuple):
  """Estimates of a field, and the density of measurements."""

  near: tf.Tensor  # [B, h, w, 1] at the finest cells: small bandwidth, one pass
  smooth: tf.Tensor  # [B, h, w, 1] some three times as many measurements in each fit
  log_density: tf.Tensor  # [B, h, w, 1] log of the number of measurements per pixel, locally
  twice: tf.Tensor  # [B, H, W, 1] small bandwidth, two passes: exact to second order


class _Fit(NamedTuple):
  """A level's weighted least squares, all [B, h, w, 1] in cells."""

  count: tf.Tensor  # at full weight
  inverse: tf.Tensor  # of the summed weights
  y: tf.Tensor  # mean position
  x: tf.Tensor
  yy: tf.Tensor  # inverse covariance of positions
  yx: tf.Tensor
  xx: tf.Tensor


def interpolate(partial: tf.Tensor, mask: tf.Tensor) -> Interpolation:
  """Interpolates partial fields.

  Args:
    partial: [B, H, W, 1] measured intensity, 0 where nothing was measured; H and W are
      multiples of MULTIPLE.
    mask: [B, H, W, 1], 1 where measured and 0 elsewhere.

  Returns:
    The estimates; h = H / 2, w = W / 2. Without any measurement they are 0.
  """
  positions, intensities = _pyramid(mask, _POSITIONS), _pyramid(partial, _INTENSITIES)
  narrow_positions, wide_positions = _blur(positions, _POSITIONS)
  fits = [_fit(moments, _KERNEL_AREA) for moments in narrow_positions]
  wide_fits = [_fit(moments, 2 * _KERNEL_AREA) for moments in wide_positions]
  narrow_intensities, wide_intensities = _blur(intensities, _INTENSITIES)
  near = _descend(fits, narrow_intensities, _NEAR)
  smooth = _descend(wide_fits, wide_intensities, _SMOOTH, values_only=True)
  once = _enlarge(near, values_only=True)
  residuals = _pyramid(mask * (partial - once), _INTENSITIES)
  again = _descend(fits, _blur(residuals, _INTENSITIES)[0], _NEAR)
  twice = once + _enlarge(again, values_only=True)
  return Interpolation(near[..., :1], smooth, _log_density(fits), twice)


def _pyramid(pixels, names):
  """Returns the moments [B, h, w, M] of every level, finest first.

  Positions are in cells of the level.
  """
  # A measurement stands in the middle of its pixel, where all moments but the zeroth vanish.
  kernel = _merging_kernel(names)
  levels = [tf.nn.conv2d(pixels, tf.constant(kernel[:, :, :1]), FINEST, "VALID")]
  for _ in range(LEVELS - 1):
    levels.append(tf.nn.conv2d(levels[-1], tf.constant(kernel), 2, "VALID"))
  return levels


def _translation(names, row, column):
  """Returns the matrix [M, M] that moves the origin of moments: positions grow by (row, column)."""
  terms = {
    "1": {"1": 1},
    "y": {"y": 1, "1": row},
    "x": {"x": 1, "1": column},
    "yy": {"yy": 1, "y": 2 * row, "1": row * row},
    "xx": {"xx": 1, "x": 2 * column, "1": column * column},
    "yx": {"yx": 1, "y": column, "x": row, "1": row * column},
  }
  matrix = np.zeros([len(names), len(names)], np.float32)
  for result, name in enumerate(names):
    for source, factor in terms[name].items():
      matrix[names.index(source), result] += factor
  return matrix


def _merging_kernel(names):
  """Returns the kernel [2, 2, M, M] that adds the moments of 2 x 2 cells.

  Positions are in cells twice as large afterwards.
  """
  halves = np.array([0.5 ** len(name.strip("1")) for name in names], np.float32)
  kernel = np.zeros([2, 2, len(names), len(names)], np.float32)
  for row in range(2):
    for column in range(2):
      kernel[row, column] = _translation(names, row - 0.5, column - 0.5) * halves
  return kernel


def _blur(levels, names):
  """Adds the moments of neighbouring cells: returns levels after one blur and after two.

  Binomial weights add to 1. The first blur's moments beyond the border count in the second.
  """
  kernel, once, twice = tf.constant(_blurring_kernel(names)), [], []
  for level in levels:
    padded = tf.pad(level, [[0, 0], [2, 2], [2, 2], [0, 0]])
    blurred = tf.nn.conv2d(padded, kernel, 1, "VALID")
    once.append(blurred[:, 1:-1, 1:-1])
    twice.append(tf.nn.conv2d(blurred, kernel, 1, "VALID"))
  return once, twice


@functools.cache
def _blurring_kernel(names):
  """Returns the kernel [3, 3, M, M] of one blur."""
  taps = np.array([0.25, 0.5, 0.25], np.float32)
  kernel = np.zeros([3, 3, len(names), len(names)], np.float32)
  for row in range(3):
    for column in range(3):
      kernel[row, column] = taps[row] * taps[column] * _translation(names, row - 1, column - 1)
  return kernel


def _fit(moments, area):
  """Prepares a level's least squares from blurred moments of positions [B, h, w, 6]."""
  n, y, x, yy, yx, xx = tf.split(moments, 6, -1)
  inverse = 1.0 / tf.maximum(n, _EMPTY)
  y, x = y * inverse, x * inverse
  yy, xx, yx = yy * inverse - y * y + _RIDGE, xx * inverse - x * x + _RIDGE, yx * inverse - y * x
  determinant = tf.maximum(yy * xx - yx * yx, _RIDGE * _RIDGE)
  return _Fit(area * n, inverse, y, x, xx / determinant, -yx / determinant, yy / determinant)


def _planes(fit, moments, values_only=False):
  """Returns value and slopes [B, h, w, 3] at cells' centres from intensities' [B, h, w, 3].

  With `values_only` the slopes, which have been used by then, are left out: [B, h, w, 1].
  """
  f, fy, fx = (moment * fit.inverse for moment in tf.split(moments, 3, -1))
  fy, fx = fy - f * fit.y, fx - f * fit.x
  slope_y, slope_x = fit.yy * fy + fit.yx * fx, fit.yx * fy + fit.xx * fx
  value = f - slope_y * fit.y - slope_x * fit.x
  if values_only:
    return value
  return maps.to_channels([maps.as_plane(part) for part in (value, slope_y, slope_x)])


def _descend(fits, moments, limits, values_only=False):
  """Returns planes [B, h, w, 3] of the finest cells, or [B, h, w, 1] with `values_only`.

  They are those of the finest level that saw enough measurements.
  """
  planes = None
  for level in reversed(range(len(fits))):
    values = values_only and not level
    own = _planes(fits[level], moments[level], values)
    if planes is None:
      planes = own
    else:
      planes = _blend(_enlarge(planes, values), own, fits[level].count, limits)
  return planes


def _log_density(fits):
  """Returns the log of the measurements per pixel [B, h, w, 1] at the bandwidth of `near`."""
  density = None
  for level, fit in reversed(list(enumerate(fits))):
    own = tf.math.log(fit.count + _EMPTY) - np.log(_KERNEL_AREA * (FINEST * 2.0**level) ** 2)
    density = own if density is None else _blend(_double(density), own, fit.count, _NEAR)
  return density


def _blend(coarse, fine, count, limits):
  low, high = np.log(limits)
  share = tf.clip_by_value((tf.math.log(count + _EMPTY) - low) / (high - low), 0.0, 1.0)
  return coarse + share * (fine - coarse)


def _enlarge(planes, values_only=False):
  """Returns planes at twice the resolution: bilinear averages of the four nearest, at each place.

  Args:
    planes: [B, h, w, 3] value and slopes of cells.
    values_only: whether the slopes are not needed.

  Returns:
    [B, 2 h, 2 w, 3], or 1 channel, the values.
  """
  # A convolution gives the four cells of each coarse one: several times as fast as resizing.
  for axis in (1, 2):
    planes = _continue(planes, axis)
  outputs = 1 if values_only else 3
  kernel = tf.constant(_enlarging_kernel()[..., :outputs].reshape(3, 3, 3, -1))
  cells = tf.nn.conv2d(planes, kernel, 1, "VALID")
  return maps.from_channels(cells) if values_only else tf.nn.depth_to_space(cells, 2)


def _continue(planes, axis):
  """Adds a cell beyond each border, on the plane of the cell at the border."""
  before, after = (
    planes[(slice(None),) * axis + (end,)] for end in (slice(1), slice(-1, None))
  )  # fmt: skip
  # The slope along the axis is added to the value, the first channel.
  slope = lambda end: tf.pad(end[..., axis : axis + 1], [[0, 0], [0, 0], [0, 0], [0, 2]])
  return tf.concat([before - slope(before), planes, after + slope(after)], axis)


@functools.cache
def _enlarging_kernel():
  """Returns the kernel [3, 3, 3, 4, 3] from planes to the planes of four finer cells."""
  kernel = np.zeros([3, 3, 3, 2, 2, 3], np.float32)
  # A finer cell's centre is 1/4 cell from its own coarse one's, 3/4 from the neighbour's.
  for row in range(2):
    for column in range(2):
      for down in (0, 2 * row - 1):
        for right in (0, 2 * column - 1):
          weight = (0.25 if down else 0.75) * (0.25 if right else 0.75)
          offset = (row / 2 - 0.25 - down, column / 2 - 0.25 - right)
          tap = kernel[1 + down, 1 + right, :, row, column]
          tap[0, 0], tap[1, 0], tap[2, 0] = weight, weight * offset[0], weight * offset[1]
          # Slopes are per finer cell afterwards.
          tap[1, 1] = tap[2, 2] = weight / 2
  return kernel.reshape(3, 3, 3, 4, 3)


def _double(image):
  """Doubles rows and columns by bilinear interpolation; borders repeat."""
  size = [2 * (image.shape[a] or tf.shape(image)[a]) for a in (1, 2)]
  return tf.image.resize(image, size, "bilinear")
