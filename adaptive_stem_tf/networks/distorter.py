"""Scans rasters as a microscope would distort them: G_rp of METHOD section 10 (SI S5)."""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import generator
from adaptive_stem_tf.scan import environment, geometry


class Distorter(snt.Module):
  """Maps a raster and a mask of nominal probing positions to the intensities of a distorted partial scan.

  The supplement's M G_rp(I_raster, M) is needed where M is 1 only, so intensities at the probing positions
  are what this gives; `partial_scan.draw_at` makes the image. A network sees raster and mask. Its outputs at
  a probing position are a displacement, at which the raster is read bilinearly (`warp`: what a scan system
  does), or an intensity that is added to the raster's (`residual`: any change whatever). Both start with
  none, as a perfect microscope.
  """

  def __init__(self, kind: str, settings: config.Generator, greatest: float, name: str = "distorter"):
    """Makes the distorter.

    Args:
      kind: `warp` or `residual`.
      settings: sizes of the network.
      greatest: bound of a displacement along each axis, px.
      name: of the module.
    """
    super().__init__(name=name)
    self._warps, self._greatest = kind == "warp", greatest
    self.network = generator.Generator(settings, outputs=2 if self._warps else 1, zeros=True)

  def __call__(self, raster: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Scans rasters.

    Args:
      raster: [B, S, S, 1], about in [-1, 1].
      mask: [B, S, S, 1], 1 at the pixels of nominal probing positions, else 0.
      positions: [B, P, 2] px, nominal probing positions.
      is_training: normalise by the batch, and move the statistics used otherwise.

    Returns:
      Intensities [B, P].
    """
    changes = self._at(self.network(tf.concat([raster, mask], -1), is_training), positions)
    if not self._warps:
      return self.unmoved(raster, positions) + changes[..., 0]
    size = raster.shape[1]
    pixels = tf.floor(tf.clip_by_value(positions, 0.0, size - 1.0))
    return environment.read_between(raster, pixels + self._greatest * tf.tanh(changes / self._greatest))

  def unmoved(self, raster: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns what a perfect microscope would measure: intensities [B, P]."""
    return environment.read(raster, positions)

  def _at(self, images, positions):
    """Returns images [B, S, S, C] at the pixels of positions [B, P, 2]: [B, P, C]."""
    size, channels = images.shape[1], images.shape[3]
    pixels = tf.reshape(images, [-1, size * size, channels])
    return tf.gather(pixels, geometry.pixel_index(positions, size), batch_dims=1)
