"""Networks of whole fields, their data flow written out around the layers that they are made of."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import specimens
from adaptive_stem_tf.fields import interpolation, maps, noise
from adaptive_stem_tf.fields import state as state_lib
from adaptive_stem_tf.networks import field_actor, field_critic, field_generator

SIZE, CHANNELS = 4, 3


@pytest.fixture
def cells(rng):
  """What is seen of two fields, the first partly padding."""
  image = lambda channels: tf.constant(rng.normal(size=[2, SIZE, SIZE, channels]), tf.float32)
  valid = np.ones([2, SIZE, SIZE, 1], np.float32)
  valid[0, :, 2:] = [[0.5], [0.0]]
  return state_lib.Cells(image(state_lib.FEATURES), image(1), image(1), tf.constant(valid))


def randomised(network, *inputs):
  """Gives all variables random values, once they are there."""
  network(*inputs)
  random = np.random.default_rng(4)
  for variable in network.trainable_variables:
    variable.assign(random.normal(0, 0.3, variable.shape))
  return network


def joined(*parts):
  return tf.concat(parts, -1)


def mean_over(image, valid):
  return np.sum(image * valid, (1, 2), keepdims=True) / np.sum(valid, (1, 2), keepdims=True)


def body_by_hand(body, cells, state):
  """Returns features and next state."""
  relu, sigmoid = (lambda x: np.maximum(x, 0)), (lambda x: 1 / (1 + np.exp(-x)))
  first = relu(body.first(cells.features))
  gates = sigmoid(body.core.gates(joined(first, state)))
  update, reset = gates[..., :CHANNELS], gates[..., CHANNELS:]
  candidate = np.tanh(body.core.candidate(joined(first, reset * state)))
  state = update * state + (1 - update) * candidate
  second = relu(body.second(joined(first, state)))
  context = mean_over(second, cells.valid) @ body.context.w.numpy() + body.context.b.numpy()
  return relu(second + context + body.third(second)), state


def test_the_actor(cells, rng):
  actor = field_actor.FieldActor(CHANNELS)
  state = actor.initial_state(cells.features)
  assert state.shape == [2, SIZE, SIZE, CHANNELS] and not state.numpy().any()
  randomised(actor, cells, state)
  state = tf.constant(rng.normal(size=state.shape), tf.float32)
  features, following = body_by_hand(actor.body, cells, state)
  powers = mean_over(features, cells.valid) @ actor.powers.w.numpy() + actor.powers.b.numpy()
  level = mean_over(cells.uncertainty, cells.valid)
  expected = (0.5 + powers[..., :1]) * cells.gradient
  expected = expected + powers[..., 1:] * (cells.uncertainty - level) + actor.change(features)
  ours = actor(cells, state)
  np.testing.assert_allclose(ours[0], expected, atol=1e-5)
  np.testing.assert_allclose(ours[1], following, atol=1e-5)


def test_the_critics_law(cells, rng):
  critic = field_critic.FieldCritic(CHANNELS)
  state = tf.constant(rng.normal(size=[2, SIZE, SIZE, CHANNELS]), tf.float32)
  randomised(critic, cells, state)
  critic.law.b.assign([60.0, 0.4, -60.0])
  law, following = critic(cells, state)
  features, expected = body_by_hand(critic.body, cells, state)
  np.testing.assert_allclose(following, expected, atol=1e-5)
  power = np.clip(critic.law(features)[..., 1:2], -8, 8)
  np.testing.assert_allclose(law.scale, cells.uncertainty + 8 - 1, atol=1e-5)  # 8 is the limit
  np.testing.assert_allclose(law.power, np.log1p(np.exp(power + 0.5)), atol=1e-5)
  np.testing.assert_allclose(law.floor, cells.uncertainty - 8 - 2.5, atol=1e-5)


def test_errors_of_uneven_densities(rng):
  image = lambda: rng.normal(size=[2, SIZE, SIZE, 1]).astype(np.float32)
  law = field_critic.ErrorLaw(image(), np.exp(image()), image() - 1)
  relative, coverage = 2 * image(), np.float32([-1.0, -2.0]).reshape(2, 1, 1, 1)
  errors = field_critic.log_errors(law, tf.constant(relative), tf.constant(coverage))
  density = np.minimum(relative, -coverage)
  assert (density < relative).any()
  kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
  shared = [ndimage.convolve(one, kernel, mode="reflect") for one in density[..., 0]]
  density = (density + np.stack(shared)[..., None]) / 2
  expected = np.logaddexp(law.scale - law.power * density, law.floor)
  np.testing.assert_allclose(errors, expected, atol=1e-5)


def test_densities_of_fields_that_are_partly_padding(cells):
  density = np.exp(field_critic.log_density(cells.gradient, cells.valid))
  np.testing.assert_allclose(mean_over(density, cells.valid), 1.0, rtol=1e-5)
  ratio = density / np.exp(cells.gradient)
  np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones_like(ratio), rtol=1e-4)


@pytest.fixture
def partial(rng):
  """A partial field that is no multiple of the coarsest cell, and its mask."""
  mask = np.float32(rng.random([1, 40, 56, 1]) < 0.2)
  columns = np.sin(np.arange(56) / 6)[:, None]
  image = columns + 0.1 * rng.normal(size=mask.shape)
  return tf.constant(image * mask, tf.float32), tf.constant(mask)


def padded(image):
  return tf.pad(image, [[0, 0], [0, -40 % 32], [0, -56 % 32], [0, 0]])


def test_what_the_generator_sees_and_adds(partial, monkeypatch):
  generator = field_generator.FieldGenerator(CHANNELS, 1.5)
  randomised(generator, *partial)
  seen, features_of = [], generator._features
  monkeypatch.setattr(generator, "_features", lambda x: seen.append(x) or features_of(x))
  completion = generator(*partial)
  image, mask = map(padded, partial)
  estimate = interpolation.interpolate(image, mask)
  plain = specimens.low_pass(estimate.twice, 1.5)
  base = maps.to_cells(plain, 2)
  local = lambda cells: maps.neighbourhood(cells, 2).numpy()
  mean = local(base)
  contrast = local(tf.square(base - mean)) + 9e-6
  scale = np.sqrt(contrast)
  residual = mask * (image - plain)
  law = noise.estimate(residual, mask, plain)
  known = law.pairs / (law.pairs + 8)
  noisy = known * np.clip(np.log((law.variance(base) + 1e-7) / contrast), -6, 3) / 3
  wider = lambda pixels: maps.neighbourhood(maps.to_cells(pixels, 2), 4)
  missed = wider(tf.square(residual)) / (wider(mask) + 1e-3)
  fours = lambda pixels: tf.nn.space_to_depth(pixels, 2)
  relative = lambda cells: np.clip((cells - base) / scale, -6, 6)
  inputs = [
    fours(mask), np.clip(fours(residual) / scale, -6, 6), relative(estimate.near),
    relative(estimate.smooth), -relative(mean), base, (estimate.log_density + 3) / 2,
    np.log(missed / contrast + 1e-3) / 3, noisy, known * np.ones_like(base),
  ]  # fmt: skip
  assert float(known[0, 0, 0, 0]) > 0.5
  np.testing.assert_allclose(seen[0], joined(*inputs), rtol=1e-4, atol=1e-4)
  features = features_of(seen[0])
  enlarged = lambda cells: tf.image.resize(cells, mask.shape[1:3], "bilinear")
  correction = enlarged(scale) * tf.nn.depth_to_space(generator.correction(features), 2)
  spread = np.clip(generator.spread(features), -8, 8)
  expected = (
    plain + specimens.low_pass(correction, 1.5),
    specimens.low_pass((np.log(contrast) - 3 + spread).repeat(2, 1).repeat(2, 2), 1.5),
    plain,
    enlarged(estimate.smooth),
  )
  assert np.abs(correction).max() > 0.01 and np.ptp(spread) > 0.1
  for ours, theirs in zip(completion, expected, strict=True):
    np.testing.assert_allclose(ours, theirs[:, :40, :56], rtol=1e-4, atol=1e-4)


def test_the_generators_u_net(rng):
  generator = field_generator.FieldGenerator(CHANNELS, 1.5)
  inputs = tf.constant(rng.normal(size=[1, 16, 24, 5]), tf.float32)
  features = generator._features(inputs)
  kept, here = [], inputs
  for level, pair in enumerate(generator.down):
    first = tf.nn.relu(pair.first(here))
    here = tf.nn.relu(first + pair.second(first))
    kept.append(here)
    assert here.shape == [1, 16 >> level, 24 >> level, CHANNELS * (1, 3, 4, 6)[level]]
  for merge, fine in zip(generator.up, reversed(kept[:-1]), strict=True):
    narrow = merge.narrow(here).numpy().repeat(2, 1).repeat(2, 2)
    coarse = tf.nn.relu(fine + narrow)
    here = tf.nn.relu(coarse + merge.second(coarse))
  np.testing.assert_allclose(features, here, atol=1e-5)


def test_the_interpolation_alone(partial):
  generator = field_generator.FieldGenerator(CHANNELS, 1.5)
  alone, both = generator.plain(*partial), generator(*partial)
  np.testing.assert_allclose(alone.mean, both.plain, atol=1e-6)
  image, mask = map(padded, partial)
  estimate = interpolation.interpolate(image, mask)
  base = maps.to_cells(specimens.low_pass(estimate.twice, 1.5), 2)
  mean = maps.neighbourhood(base, 2)
  contrast = maps.neighbourhood(tf.square(base - mean), 2).numpy() + 9e-6
  expected = (np.log(contrast) - 3).repeat(2, 1).repeat(2, 2)[:, :40, :56]
  np.testing.assert_allclose(alone.log_variance, expected, atol=1e-5)
  smooth = estimate.smooth.numpy().repeat(2, 1).repeat(2, 2)[:, :40, :56]
  np.testing.assert_allclose(alone.smooth, smooth, atol=1e-6)


@pytest.mark.parametrize("shift", [-40.0, 15.0, 40.0])
def test_the_least_error_is_found_whatever_the_scale_of_errors(rng, cells, shift):
  image = lambda: rng.normal(size=[2, SIZE, SIZE, 1]).astype(np.float32)
  law = field_critic.ErrorLaw(3 * image(), np.exp(image()), image())
  found = field_critic.least_error(law, cells.valid)
  shifted = field_critic.least_error(law._replace(scale=law.scale + np.float32(shift)), cells.valid)
  np.testing.assert_allclose(shifted, found, atol=2e-4)
  np.testing.assert_allclose(mean_over(np.exp(found), cells.valid), 1.0, rtol=1e-4)
