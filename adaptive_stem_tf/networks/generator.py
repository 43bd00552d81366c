"""Completes partial scans (METHOD section 8, SI S1)."""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import blocks, infill, initialisers, interpolation


def make_generator(
  settings: config.Generator,
  name: str = "generator",
  weights: initialisers.Weights = initialisers.UNSEEDED,
) -> snt.Module:
  """Returns a module that completes partial scans: a generator, or infilling by the nearest
  measured pixel.
  """
  if settings.completion == "generator":
    return Generator(settings, name, weights=weights)
  return infill.NearestInfill(name)


class Generator(snt.Module):
  """Convolutional generator: a partial scan to a completed image."""

  def __init__(
    self,
    settings: config.Generator,
    name: str = "generator",
    outputs: int = 1,
    zeros: bool = False,
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    """Makes the generator.

    Args:
      settings: its sizes.
      name: of the module.
      outputs: number C of output channels.
      zeros: whether the last layer starts with weights of 0, so that outputs are 0 at first.
      weights: where the initial weights come from.
    """
    super().__init__(name=name)
    decay, c = settings.batch_norm_decay, settings.channels
    self._dtype, self._interpolates = tf.as_dtype(settings.precision), settings.interpolate
    layers = [
      blocks.Convolution(c, weights=weights),
      blocks.Convolution(2 * c, stride=2, weights=weights),
      blocks.Convolution(4 * c, stride=2, weights=weights),
    ]
    self.layers = [blocks.ConvolutionBlock(layer, decay) for layer in layers]
    self.layers += [
      blocks.ResidualBlock(4 * c, decay, weights=weights) for _ in range(settings.blocks)
    ]
    layers = [
      blocks.TransposedConvolution(2 * c, weights=weights),
      blocks.TransposedConvolution(c, weights=weights),
      blocks.Convolution(c, weights=weights),
    ]
    self.layers += [blocks.ConvolutionBlock(layer, decay) for layer in layers]
    self.output = blocks.Convolution(
      outputs, with_bias=False, zeros=zeros, name="output", weights=weights
    )

  def __call__(
    self, partial_scan: tf.Tensor, is_training: bool, update_statistics: bool = True
  ) -> tf.Tensor:
    """Completes scans.

    Args:
      partial_scan: [B, S, S, 2], measured intensity and mask.
      is_training: whether to normalise by the batch and move the statistics of inference.
      update_statistics: whether training moves them; False for scans unlike those of inference.

    Returns:
      [B, S, S, C] float32, about in [-1, 1].
    """
    inputs = partial_scan
    if self._interpolates:
      inputs = tf.concat([inputs, interpolation.normalised_convolution(inputs)], -1)
    outputs = tf.cast(inputs, self._dtype)
    for layer in self.layers:
      outputs = layer(outputs, is_training, update_statistics)
    return tf.cast(self.output(outputs), tf.float32)
