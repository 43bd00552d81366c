"""Parts that networks share: projections, convolutions, batch normalisation, residual blocks.

Variables are float32; `precision` chooses the arithmetic of convolutions. Kernels are
[height, width, in, out], transposed kernels [height, width, out, in].
"""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import replicas
from adaptive_stem_tf.networks import initialisers

_KERNEL = 3  # px


class Projection(snt.Module):
  """Dense layer without bias; truncated normal weights of standard deviation 1/sqrt(inputs), or
  zeros.
  """

  def __init__(
    self,
    output_size: int,
    zeros: bool = False,
    name: str = "linear",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self.output_size = output_size
    self._w_init = snt.initializers.Zeros() if zeros else weights.truncated_normal()

  @snt.once
  def _initialize(self, inputs):
    shape = [inputs.shape[-1], self.output_size]
    self.w = tf.Variable(self._w_init(shape, tf.float32), name="w")

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps [..., inputs] to [..., output_size]."""
    self._initialize(inputs)
    return tf.linalg.matmul(inputs, self.w)


class Convolution(snt.Module):
  """3x3 convolution, SAME padding, Xavier weights or zeros, zero biases."""

  def __init__(
    self,
    channels: int,
    stride: int = 1,
    with_bias: bool = True,
    zeros: bool = False,
    name: str = "conv",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self._channels, self.stride, self._with_bias = channels, stride, with_bias
    self._w_init = snt.initializers.Zeros() if zeros else weights.xavier()

  @snt.once
  def create_variables(self, inputs: tf.Tensor) -> None:
    """Creates kernel and biases for inputs [B, H, W, C], the first time."""
    shape = [_KERNEL, _KERNEL, inputs.shape[-1], self._channels]
    self.w = tf.Variable(self._w_init(shape, tf.float32), name="w")
    if self._with_bias:
      self.b = tf.Variable(tf.zeros([self._channels]), name="b")

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, channels], in the arithmetic of `inputs`."""
    self.create_variables(inputs)
    outputs = tf.nn.conv2d(inputs, tf.cast(self.w, inputs.dtype), self.stride, "SAME")
    return tf.nn.bias_add(outputs, tf.cast(self.b, inputs.dtype)) if self._with_bias else outputs


def convolve_together(convolutions: Sequence[Convolution], inputs: tf.Tensor) -> list[tf.Tensor]:
  """Returns the outputs of several convolutions of one stride, with biases, computed as one.

  A convolution to few channels takes about as long as one to eight.
  """
  for convolution in convolutions:
    convolution.create_variables(inputs)
  kernel = tf.concat([convolution.w for convolution in convolutions], -1)
  biases = [convolution.b for convolution in convolutions]
  outputs = tf.nn.conv2d(inputs, tf.cast(kernel, inputs.dtype), convolutions[0].stride, "SAME")
  outputs = tf.nn.bias_add(outputs, tf.cast(tf.concat(biases, 0), inputs.dtype))
  return tf.split(outputs, [bias.shape[0] for bias in biases], -1)


class TransposedConvolution(snt.Module):
  """3x3 transposed convolution, stride 2, SAME padding, Xavier weights, zero biases."""

  def __init__(
    self,
    channels: int,
    name: str = "transposed_conv",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self._channels, self._w_init = channels, weights.xavier()

  @snt.once
  def _initialize(self, inputs):
    shape = [_KERNEL, _KERNEL, self._channels, inputs.shape[-1]]
    self.w = tf.Variable(self._w_init(shape, tf.float32), name="w")
    self.b = tf.Variable(tf.zeros([self._channels]), name="b")

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps [B, H, W, C] to [B, 2 H, 2 W, channels], in the arithmetic of `inputs`."""
    self._initialize(inputs)
    batch = inputs.shape[0] or tf.shape(inputs)[0]
    shape = [batch, 2 * inputs.shape[1], 2 * inputs.shape[2], self._channels]
    outputs = tf.nn.conv2d_transpose(inputs, tf.cast(self.w, inputs.dtype), shape, 2, "SAME")
    return tf.nn.bias_add(outputs, tf.cast(self.b, inputs.dtype))


class BatchNorm(snt.Module):
  """Batch normalisation with a shift and no scale, and zero-debiased moving statistics.

  Training normalises by the batch and moves the statistics; inference uses these
  (METHOD decision 15). The moving variance is of the unbiased batch variance.
  """

  def __init__(self, decay: float, epsilon: float = 1e-3, name: str = "batch_norm"):
    super().__init__(name=name)
    self._epsilon = epsilon
    self.mean = snt.ExponentialMovingAverage(decay, name="mean")
    self.variance = snt.ExponentialMovingAverage(decay, name="variance")

  @snt.once
  def _initialize(self, inputs):
    with tf.init_scope():
      self._scale = tf.ones([inputs.shape[-1]])
      self.beta = tf.Variable(tf.zeros([inputs.shape[-1]]), name="beta")
      self.mean.initialize(self._scale)
      self.variance.initialize(self._scale)
      # Sonnet starts averages at 0: a variance of 0 would blow up outputs before any training.
      self.variance.average.assign(self._scale)

  def __call__(
    self, inputs: tf.Tensor, is_training: bool, update_statistics: bool = True
  ) -> tf.Tensor:
    """Normalises [B, H, W, C] over all axes but the last.

    Args:
      inputs: [B, H, W, C].
      is_training: whether to normalise by the batch.
      update_statistics: whether training moves the statistics; False for inputs of another
        population than those of inference.
    """
    self._initialize(inputs)
    if not is_training:
      return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=self._scale,
        offset=self.beta,
        mean=self.mean.value,
        variance=self.variance.value,
        epsilon=self._epsilon,
        is_training=False,
      ).y
    outputs, mean, variance = self._normalise(inputs)
    if update_statistics:
      self.mean.update(mean)
      self.variance.update(variance)
    return outputs

  def reset(self) -> None:
    """Forgets the statistics, so that the next batch's replace them. Call the module before."""
    self.mean.reset()
    self.variance.reset()

  def _normalise(self, inputs):
    """Returns outputs, and mean and unbiased variance [C] of the batch."""
    if replicas.count() == 1:
      return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=self._scale,
        offset=self.beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=self._epsilon,
        is_training=True,
      )[:3]
    # The batch is that of all replicas. The variance is that of deviations from their common mean:
    # a mean of squares less a squared mean would lose that of channels that hardly vary.
    axes = list(range(inputs.shape.rank - 1))
    mean = replicas.mean(tf.reduce_mean(inputs, axes))
    variance = replicas.mean(tf.reduce_mean(tf.square(inputs - mean), axes))
    outputs = (inputs - mean) * tf.math.rsqrt(variance + self._epsilon) + self.beta
    number = replicas.count() * inputs.shape.num_elements() / inputs.shape[-1]
    return outputs, mean, variance * (number / max(number - 1, 1))


class ConvolutionBlock(snt.Module):
  """A (transposed) convolution, then ReLU, then batch normalisation."""

  def __init__(self, convolution: snt.Module, batch_norm_decay: float, name: str = "block"):
    super().__init__(name=name)
    self.convolution = convolution
    self.batch_norm = BatchNorm(batch_norm_decay)

  def __call__(
    self, inputs: tf.Tensor, is_training: bool, update_statistics: bool = True
  ) -> tf.Tensor:
    """Maps [B, H, W, C] to the convolution's shape of output; flags as of `BatchNorm`."""
    return self.batch_norm(tf.nn.relu(self.convolution(inputs)), is_training, update_statistics)


class ResidualBlock(snt.Module):
  """conv-ReLU-BN, conv-ReLU-BN, conv-ReLU, add, BN (METHOD decision 3)."""

  def __init__(
    self,
    channels: int,
    batch_norm_decay: float,
    name: str = "residual_block",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    convolutions = [Convolution(channels, weights=weights) for _ in range(3)]
    self.blocks = [ConvolutionBlock(layer, batch_norm_decay) for layer in convolutions[:2]]
    self.convolution = convolutions[2]
    self.batch_norm = BatchNorm(batch_norm_decay)

  def __call__(
    self, inputs: tf.Tensor, is_training: bool, update_statistics: bool = True
  ) -> tf.Tensor:
    """Maps [B, H, W, channels] to the same shape; flags as of `BatchNorm`."""
    outputs = inputs
    for block in self.blocks:
      outputs = block(outputs, is_training, update_statistics)
    outputs = inputs + tf.nn.relu(self.convolution(outputs))
    return self.batch_norm(outputs, is_training, update_statistics)
