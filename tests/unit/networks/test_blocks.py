"""Convolutions, batch normalisation and residual blocks."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.networks import blocks


def test_projection_has_no_bias(rng):
  projection = blocks.Projection(3)
  np.testing.assert_array_equal(projection(tf.zeros([2, 400])), 0.0)
  assert [v.shape for v in projection.variables] == [[400, 3]]
  assert float(tf.math.reduce_std(projection.w)) == pytest.approx(1 / 20, rel=0.15)


def test_convolution_against_a_loop(rng):
  convolution = blocks.Convolution(3, stride=2)
  inputs = rng.standard_normal([2, 6, 6, 4]).astype(np.float32)
  outputs = convolution(tf.constant(inputs)).numpy()
  convolution.b.assign([1.0, 2.0, 3.0])
  assert outputs.shape == (2, 3, 3, 3)
  padded = np.pad(inputs, [(0, 0), (0, 1), (0, 1), (0, 0)])  # SAME with stride 2 pads at the end
  expected = np.array(
    [
      [
        np.einsum("bhwi,hwio->bo", padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], convolution.w)
        for j in range(3)
      ]
      for i in range(3)
    ]
  ).transpose(2, 0, 1, 3)
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  np.testing.assert_allclose(convolution(tf.constant(inputs)), expected + [1, 2, 3], atol=1e-5)


def test_transposed_convolution_is_the_adjoint(rng):
  up, inputs = (
    blocks.TransposedConvolution(3),
    tf.constant(rng.standard_normal([2, 4, 4, 5]), tf.float32),
  )
  outputs = up(inputs)
  assert outputs.shape == [2, 8, 8, 3]
  other = tf.constant(rng.standard_normal(outputs.shape), tf.float32)
  down = tf.nn.conv2d(other, up.w, 2, "SAME")
  assert float(tf.reduce_sum(outputs * other)) == pytest.approx(
    float(tf.reduce_sum(inputs * down)), rel=1e-3
  )
  up.b.assign([1.0, 2.0, 3.0])
  np.testing.assert_allclose(up(inputs), outputs + [1.0, 2.0, 3.0], atol=1e-6)


def test_weights_are_xavier():
  convolution = blocks.Convolution(64)
  convolution(tf.zeros([1, 4, 4, 32]))
  limit = np.sqrt(6 / (9 * 32 + 9 * 64))
  assert 0.99 * limit < np.abs(convolution.w).max() <= limit
  assert not convolution.b.numpy().any()


def test_batch_norm_normalises_by_the_batch_and_shifts(rng):
  norm = blocks.BatchNorm(0.9)
  inputs = tf.constant(5 + 3 * rng.standard_normal([4, 6, 6, 2]), tf.float32)
  norm(inputs, is_training=True)
  norm.beta.assign([0.5, -1.0])
  mean, variance = inputs.numpy().mean((0, 1, 2)), inputs.numpy().var((0, 1, 2))
  expected = (inputs - mean) / np.sqrt(variance + 1e-3) + [0.5, -1.0]
  np.testing.assert_allclose(norm(inputs, is_training=True), expected, atol=1e-4)
  assert len(norm.trainable_variables) == 1  # no scale


def test_moving_statistics_are_zero_debiased(rng):
  norm, batches = (
    blocks.BatchNorm(0.9),
    [tf.constant(rng.normal(k, k, [4, 6, 6, 1]), tf.float32) for k in (1, 4)],
  )
  norm(batches[0], is_training=True)
  # not 0.1 of it
  assert float(norm.mean.value[0]) == pytest.approx(batches[0].numpy().mean(), rel=1e-5)
  norm(batches[1], is_training=True)
  weights = np.array([0.9 * 0.1, 0.1]) / (1 - 0.9**2)
  means = [batch.numpy().mean() for batch in batches]
  variances = [batch.numpy().var(ddof=1) for batch in batches]  # unbiased
  assert float(norm.mean.value[0]) == pytest.approx(weights @ means, rel=1e-4)
  assert float(norm.variance.value[0]) == pytest.approx(weights @ variances, rel=1e-4)
  expected = (batches[0] - weights @ means) / np.sqrt(weights @ variances + 1e-3)
  np.testing.assert_allclose(norm(batches[0], is_training=False), expected, atol=1e-4)


def test_inference_before_training_changes_next_to_nothing(rng):
  inputs = tf.constant(rng.standard_normal([4, 6, 6, 2]), tf.float32)
  np.testing.assert_allclose(blocks.BatchNorm(0.9)(inputs, is_training=False), inputs, rtol=1e-3)
  in_graph = tf.function(blocks.BatchNorm(0.9))
  np.testing.assert_allclose(in_graph(inputs, is_training=False), inputs, rtol=1e-3)


def test_inference_leaves_the_statistics_alone(rng):
  norm, inputs = blocks.BatchNorm(0.9), tf.constant(rng.standard_normal([4, 6, 6, 2]), tf.float32)
  norm(inputs, is_training=True)
  before = [v.numpy() for v in norm.variables]
  norm(3 * inputs, is_training=False)
  for variable, kept in zip(norm.variables, before, strict=True):
    np.testing.assert_array_equal(variable, kept)


def test_training_leaves_the_statistics_alone_if_told_to(rng):
  """In every batch normalisation of a block; the outputs are those of training."""
  block = blocks.ResidualBlock(2, 0.9)
  inputs = tf.constant(rng.standard_normal([4, 6, 6, 2]), tf.float32)
  expected = block(inputs, is_training=True)
  before = [v.numpy() for v in block.variables]
  outputs = block(3 * inputs, is_training=True, update_statistics=False)
  for variable, kept in zip(block.variables, before, strict=True):
    np.testing.assert_array_equal(variable, kept)
  assert np.abs(outputs.numpy().mean((0, 1, 2))).max() < 1e-4 and outputs.shape == expected.shape


def test_a_block_convolves_then_rectifies_then_normalises(rng):
  block = blocks.ConvolutionBlock(blocks.Convolution(3), 0.9)
  inputs = tf.constant(rng.standard_normal([4, 6, 6, 2]), tf.float32)
  outputs = block(inputs, is_training=True)
  expected = blocks.BatchNorm(0.9)(tf.nn.relu(block.convolution(inputs)), is_training=True)
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  np.testing.assert_allclose(outputs.numpy().mean((0, 1, 2)), 0, atol=1e-5)


def test_a_residual_block_normalises_once_after_the_addition(rng):
  block, inputs = (
    blocks.ResidualBlock(2, 0.9),
    tf.constant(rng.standard_normal([4, 6, 6, 2]), tf.float32),
  )
  outputs = block(inputs, is_training=True)
  assert sum(isinstance(part, blocks.BatchNorm) for part in block.submodules) == 3
  norm = lambda tensor: blocks.BatchNorm(0.9)(tensor, is_training=True)
  first = norm(tf.nn.relu(block.blocks[0].convolution(inputs)))
  second = norm(tf.nn.relu(block.blocks[1].convolution(first)))
  expected = norm(inputs + tf.nn.relu(block.convolution(second)))
  np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_convolutions_together_give_what_each_gives(rng):
  inputs = tf.constant(rng.normal(size=[2, 6, 5, 3]), tf.float32)
  convolutions = [blocks.Convolution(4), blocks.Convolution(1)]
  blocks.convolve_together(convolutions, inputs)
  for convolution in convolutions:
    convolution.b.assign(rng.normal(size=convolution.b.shape))
  for convolution, output in zip(convolutions, blocks.convolve_together(convolutions, inputs)):
    np.testing.assert_allclose(output, convolution(inputs), rtol=1e-5, atol=1e-5)
