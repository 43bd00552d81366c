"""The generator's shape and size."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import blocks
from adaptive_stem_tf.networks import generator as generator_lib


def test_the_papers_generator_has_its_parameters():
  generator = generator_lib.Generator(config.Generator())
  assert generator(tf.zeros([1, 96, 96, 2]), is_training=False).shape == [1, 96, 96, 1]
  convolutions = [
    part
    for part in generator.submodules
    if isinstance(part, (blocks.Convolution, blocks.TransposedConvolution))
  ]
  count = sum(v.shape.num_elements() for part in convolutions for v in part.trainable_variables)
  assert count == 2_408_512
  assert not hasattr(generator.output, "b")


def test_channels_and_blocks_are_chosen():
  generator = generator_lib.Generator(config.Generator(channels=3, blocks=2))
  generator(tf.zeros([1, 8, 8, 2]), is_training=False)
  widths = [layer.convolution.w.shape[-1] for layer in generator.layers]
  assert widths == [3, 6, 12, 12, 12, 12, 6, 3]  # transposed kernels end in their inputs' channels
  assert sum(isinstance(layer, blocks.ResidualBlock) for layer in generator.layers) == 2


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_every_layers_statistics_forget_as_they_are_told_to(rng, decay):
  generator = generator_lib.Generator(
    config.Generator(channels=2, blocks=1, batch_norm_decay=decay)
  )
  first, second = (
    tf.constant(scale * rng.standard_normal([4, 16, 16, 2]), tf.float32) for scale in (1.0, 3.0)
  )
  generator(first, is_training=True)
  trained = generator(second, is_training=True)
  used = generator(second, is_training=False)  # with 0 by the statistics of the last batch alone
  apart = np.std(used - trained) / np.std(trained)  # variances that are kept are unbiased ones
  assert apart < 0.05 if decay == 0 else apart > 0.2


def test_the_mask_matters(rng):
  generator = generator_lib.Generator(config.Generator(channels=2, blocks=0))
  partial = tf.constant(rng.standard_normal([1, 8, 8, 2]), tf.float32)
  for channel in (0, 1):
    changed = partial + tf.one_hot([channel], 2)
    assert np.abs(generator(changed, False) - generator(partial, False)).max() > 1e-4


@pytest.mark.parametrize("is_training", [False, True])
def test_bfloat16_is_close_and_keeps_float32_weights(rng, is_training):
  partial = tf.constant(rng.standard_normal([4, 16, 16, 2]), tf.float32)
  exact = generator_lib.Generator(config.Generator(channels=4, blocks=1))
  rounded = generator_lib.Generator(config.Generator(channels=4, blocks=1, precision="bfloat16"))
  for generator in (exact, rounded):
    generator(partial, is_training=False)
  for ours, theirs in zip(rounded.variables, exact.variables, strict=True):
    ours.assign(theirs)
  completions = rounded(partial, is_training)
  expected = exact(partial, is_training).numpy()
  assert completions.dtype == tf.float32 and {v.dtype for v in rounded.trainable_variables} == {
    tf.float32
  }
  difference = np.abs(completions - expected).mean() / np.abs(expected).mean()
  assert 0 < difference < 0.05
