"""Networks that scan rasters as a microscope would distort them: G_rp of METHOD section 10 (SI S5).

The supplement's M G_rp(I_raster, M) is needed only where M is 1, so distorters return intensities
at the probing positions; `partial_scan.draw_at` makes the image. All distorters start as a perfect
microscope.
"""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import generator, initialisers
from adaptive_stem_tf.scan import environment, geometry

KINDS = ("causal", "warp", "residual")
_TAPS = 6  # commands that a causal network sees at once
_LARGEST_STEP = 4.0  # px, by which steps between probing positions are divided
# px: displacements are some pixels large, and have to be learnt in a few thousand iterations.
_GAIN = 4.0


class Distorter(snt.Module):
  """Maps rasters and nominal probing positions to the intensities of distorted partial scans."""

  def __call__(
    self, raster: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor, is_training: bool
  ) -> tf.Tensor:
    """Scans rasters.

    Args:
      raster: [B, S, S, 1], about in [-1, 1].
      mask: [B, S, S, 1], 1 at the pixels of nominal probing positions, else 0.
      positions: [B, P, 2] px, nominal probing positions in order of time.
      is_training: whether to normalise by the batch and move the statistics of inference.

    Returns:
      Intensities [B, P].
    """
    raise NotImplementedError

  def displacements(self, mask: tf.Tensor, positions: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns the displacements of the beam from its nominal positions, [B, P, 2] px, as learnt."""
    del mask, is_training
    return tf.zeros_like(positions)


class Residual(Distorter):
  """Adds to each intensity the output of a convolutional network for raster and mask.

  It can make any change whatever.
  """

  def __init__(
    self,
    settings: config.Generator,
    name: str = "distorter",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self.network = generator.Generator(settings, outputs=1, zeros=True, weights=weights)

  def __call__(self, raster, mask, positions, is_training):
    """Scans rasters (see `Distorter`)."""
    change = self.network(tf.concat([raster, mask], -1), is_training)
    return environment.read(raster, positions) + _at(change, positions)[..., 0]


class _Displaced(Distorter):
  """Reads rasters between pixels at displaced positions, as a scan system does."""

  def __call__(self, raster, mask, positions, is_training):
    """Scans rasters (see `Distorter`)."""
    pixels = tf.floor(tf.clip_by_value(positions, 0.0, raster.shape[1] - 1.0))
    return environment.read_detailed(
      raster, pixels + self.displacements(mask, positions, is_training)
    )


class Warp(_Displaced):
  """Displacements are the output of a convolutional network for the mask.

  A mask tells neither the order nor the direction of positions.
  """

  def __init__(
    self,
    settings: config.Generator,
    greatest: float,
    name: str = "distorter",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    """Makes the distorter; displacements are less than `greatest` px along each axis."""
    super().__init__(name=name)
    self._greatest = greatest
    self.network = generator.Generator(settings, outputs=2, zeros=True, weights=weights)

  def displacements(self, mask, positions, is_training):
    """Returns displacements [B, P, 2] px (see `Distorter`)."""
    field = self.network(tf.concat([mask, mask], -1), is_training)
    return _bounded(_at(field, positions), self._greatest)


class Causal(_Displaced):
  """Displacements follow from where the beam was sent so far, by the same law at all times.

  Scan coils are causal and know only commands. So a causal convolution over time sees the steps
  between nominal positions, these positions and the time; two layers of tanh units turn them into
  displacements.
  """

  def __init__(
    self,
    units: int,
    greatest: float,
    name: str = "distorter",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    """Makes the distorter; displacements are less than `greatest` px along each axis."""
    super().__init__(name=name)
    self._greatest = greatest
    self.layers = [
      snt.Conv1D(units, _TAPS, padding=snt.pad.causal, w_init=weights.truncated_normal()),
      snt.Conv1D(units, 1, w_init=weights.truncated_normal()),
    ]
    self.output = snt.Conv1D(2, 1, with_bias=False, w_init=snt.initializers.Zeros())

  def displacements(self, mask, positions, is_training):
    """Returns displacements [B, P, 2] px (see `Distorter`)."""
    del is_training
    batch, count = positions.shape[0] or tf.shape(positions)[0], positions.shape[1]
    time = tf.broadcast_to(tf.linspace(-1.0, 1.0, count)[:, None], [batch, count, 1])
    outputs = tf.concat(
      [steps(positions) / _LARGEST_STEP, 2 * positions / mask.shape[1] - 1, time], -1
    )
    for layer in self.layers:
      outputs = tf.tanh(layer(outputs))
    return _bounded(_GAIN * self.output(outputs), self._greatest)


def make_distorter(
  kind: str,
  settings: config.Generator,
  greatest: float,
  weights: initialisers.Weights = initialisers.UNSEEDED,
) -> Distorter:
  """Returns the distorter of a kind of `KINDS`.

  Args:
    kind: `causal`, `warp` or `residual`.
    settings: sizes of its convolutional network; a causal one has 2 x channels units.
    greatest: bound of a displacement along each axis, px.
    weights: where the initial weights come from.
  """
  if kind == "residual":
    return Residual(settings, weights=weights)
  if kind == "causal":
    return Causal(2 * settings.channels, greatest, weights=weights)
  return Warp(settings, greatest, weights=weights)


def steps(positions: tf.Tensor) -> tf.Tensor:
  """Returns the step to each position [B, P, 2] px from the one before; 0 to the first."""
  return tf.concat([tf.zeros_like(positions[:, :1]), positions[:, 1:] - positions[:, :-1]], 1)


def _bounded(displacements, greatest):
  return greatest * tf.tanh(displacements / greatest)


def _at(images, positions):
  """Returns images [B, S, S, C] at the pixels of positions [B, P, 2]: [B, P, C]."""
  size, channels = images.shape[1], images.shape[3]
  pixels = tf.reshape(images, [-1, size * size, channels])
  return tf.gather(pixels, geometry.pixel_index(positions, size), batch_dims=1)
