"""A network that distinguishes generated images from real ones (METHOD section 10, SI S5)."""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.networks import blocks, initialisers

_LAYERS = 3
_SLOPE = 0.2  # of leaky ReLUs below 0


class Discriminator(snt.Module):
  """Predicts the loss of an image, patch by patch: 0 for real ones, 1 for generated ones.

  It has three convolutions of stride 2, each with a leaky ReLU, then one without; a prediction sees
  a patch of 31 x 31 px. It has no batch normalisation, which would make real and generated images
  alike, since they come in separate batches.
  """

  def __init__(
    self,
    channels: int,
    sigmoid: bool = False,
    name: str = "discriminator",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    """Makes the discriminator.

    Args:
      channels: of the first layer; twice as many in each that follows.
      sigmoid: whether to end in a sigmoid, so that predictions lie in (0, 1).
      name: of the module.
      weights: where the initial weights come from.
    """
    super().__init__(name=name)
    self._sigmoid = sigmoid
    self.layers = [
      blocks.Convolution(channels * 2**layer, stride=2, weights=weights) for layer in range(_LAYERS)
    ]
    self.output = blocks.Convolution(1, name="output", weights=weights)

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Maps images [B, S, S, C] to predicted losses [B, S / 8, S / 8, 1]; S / 8 is rounded up."""
    outputs = images
    for layer in self.layers:
      outputs = tf.nn.leaky_relu(layer(outputs), _SLOPE)
    outputs = self.output(outputs)
    return tf.sigmoid(outputs) if self._sigmoid else outputs
