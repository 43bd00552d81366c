"""Networks of whole fields: what they start as, sizes, and the critic's law."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields import state as state_lib
from adaptive_stem_tf.networks import field_actor, field_critic, field_generator


def partial_field(rows=64, columns=64, seed=0):
  random = np.random.default_rng(seed)
  mask = (random.random([2, rows, columns, 1]) < 0.1).astype(np.float32)
  return tf.constant(mask * random.normal(size=mask.shape).astype(np.float32)), tf.constant(mask)


def seen(size=8, seed=0):
  random = np.random.default_rng(seed)
  normal = lambda channels: tf.constant(
    random.normal(size=[2, size, size, channels]).astype(np.float32)
  )
  return state_lib.Cells(
    normal(state_lib.FEATURES), normal(1), normal(1), tf.ones([2, size, size, 1])
  )


@pytest.fixture(name="generator", scope="module")
def _generator():
  return field_generator.FieldGenerator(4, 2.5)


def test_a_new_generator_is_the_interpolation(generator):
  completion = generator(*partial_field())
  np.testing.assert_allclose(completion.mean, completion.plain, atol=1e-6)
  alone = generator.plain(*partial_field())
  np.testing.assert_allclose(alone.mean, completion.plain, atol=1e-6)


def test_the_generator_sees_how_noisy_pairs_are():
  made = field_generator.FieldGenerator(4, 2.5)
  random = np.random.default_rng(0)
  mask = np.zeros([2, 64, 64, 1], np.float32)
  mask[:, ::6, ::6] = 1
  mask[:, ::6, 1::12] = 1
  # The same but at pairs, which agree in the first field and differ in the second.
  partial = mask * random.normal(size=[1, 64, 64, 1]).astype(np.float32)
  partial[0, :, 1:] = np.where(
    mask[0, :, 1:] * mask[0, :, :-1], partial[0, :, :-1], partial[0, :, 1:]
  )
  seen_by_unet = []
  made._features = lambda inputs: seen_by_unet.append(inputs) or tf.zeros([2, 32, 32, 4])
  made(tf.constant(partial), tf.constant(mask))
  noisy, known = seen_by_unet[0][..., -2].numpy(), seen_by_unet[0][..., -1].numpy()
  assert (known > 0.7).all()
  assert noisy[0].mean() < noisy[1].mean() - 0.5


def test_the_generator_learns_from_its_first_step_on(generator):
  partial, mask = partial_field()
  with tf.GradientTape() as tape:
    completion = generator(partial, mask)
    loss = tf.reduce_mean(tf.square(completion.mean - partial) + tf.square(completion.log_variance))
  gradients = tape.gradient(loss, generator.trainable_variables)
  moved = [g for g in gradients if g is not None and float(tf.reduce_max(tf.abs(g))) > 0]
  assert moved


@pytest.mark.parametrize(("rows", "columns"), [(96, 64), (97, 131), (40, 200)])
def test_the_generator_completes_fields_of_any_size(generator, rows, columns):
  completion = generator(*partial_field(rows, columns))
  for image in completion:
    assert image.shape == [2, rows, columns, 1]
    assert np.isfinite(image).all()


def test_unknown_sizes_give_what_known_ones_give(generator):
  image = tf.TensorSpec([None, None, None, 1])
  unknown = tf.function(generator, input_signature=[image, image])
  known, any_size = generator(*partial_field(97, 131)), unknown(*partial_field(97, 131))
  for first, second in zip(known, any_size):
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)


def test_contrast_and_level_scale_the_completion(generator):
  partial, mask = partial_field()
  changed = generator(mask * (3.0 * partial + 0.5), mask)
  np.testing.assert_allclose(changed.plain, 3.0 * generator(partial, mask).plain + 0.5, atol=1e-3)


def test_a_new_actor_follows_the_rule_whatever_it_remembers():
  actor, cells = field_actor.FieldActor(4), seen()
  state = actor.initial_state(cells.features)
  for _ in range(2):
    action, state = actor(cells, state)
    np.testing.assert_allclose(action, field_actor.GRADIENT_POWER * cells.gradient, atol=1e-6)
  assert np.abs(state).max() > 0


def test_an_actor_can_answer_to_the_expected_error_and_to_the_field():
  actor, cells = field_actor.FieldActor(4), seen()
  state = actor.initial_state(cells.features)
  actor(cells, state)
  actor.powers.b.assign([-field_actor.GRADIENT_POWER, 1.0])
  action, _ = actor(cells, state)
  uncertainty = cells.uncertainty.numpy()
  expected = uncertainty - uncertainty.mean((1, 2), keepdims=True)
  np.testing.assert_allclose(action, expected, atol=1e-5)


def test_relative_densities_have_a_mean_of_one():
  actions = seen().gradient
  density = np.exp(field_critic.log_density(actions, tf.ones_like(actions)))
  np.testing.assert_allclose(density.mean((1, 2)), 1.0, rtol=1e-5)
  np.testing.assert_allclose(
    np.diff(np.log(density).ravel()[:4]), np.diff(actions.numpy().ravel()[:4]), rtol=1e-4
  )


def law(scale=-3.0, power=1.0, floor=-9.0, size=4):
  fill = lambda value: tf.fill([1, size, size, 1], value)
  return field_critic.ErrorLaw(fill(scale), fill(power), fill(floor))


@pytest.mark.parametrize(("density", "expected"), [(0.0, -3.0), (1.0, -4.0), (20.0, -9.0)])
def test_errors_fall_with_density_down_to_the_floor(density, expected):
  relative = tf.fill([1, 4, 4, 1], density)
  errors = field_critic.log_errors(law(), relative, tf.fill([1, 1, 1, 1], -30.0))
  np.testing.assert_allclose(errors, expected, atol=0.01)


def test_no_cell_is_denser_than_one_position_a_pixel():
  errors = lambda relative: field_critic.log_errors(
    law(), tf.fill([1, 4, 4, 1], relative), tf.fill([1, 1, 1, 1], -2.0)
  )
  np.testing.assert_allclose(errors(5.0), errors(2.0), rtol=1e-6)


def test_the_value_is_the_log_of_the_mean_error_over_the_field():
  errors = tf.constant(np.log([[1.0, 2.0], [3.0, 50.0]]).astype(np.float32)[None, ..., None])
  valid = tf.constant(np.array([[1.0, 1.0], [1.0, 0.0]], np.float32)[None, ..., None])
  np.testing.assert_allclose(field_critic.log_mean_error(errors, valid), [np.log(2.0)], rtol=1e-5)


def test_the_critics_gradient_moves_positions_to_where_errors_are():
  critic, cells = field_critic.FieldCritic(4), seen()
  laws, _ = critic(cells, critic.initial_state(cells.features))
  actions = tf.zeros_like(cells.gradient)
  with tf.GradientTape() as tape:
    tape.watch(actions)
    density = field_critic.log_density(actions, cells.valid)
    errors = field_critic.log_errors(laws, density, tf.fill([2, 1, 1, 1], -3.0))
    value = field_critic.log_mean_error(errors, cells.valid)
  gradient = tape.gradient(value, actions).numpy()
  # A new critic expects the errors that the generator does.
  worst = cells.uncertainty.numpy() > 1.0
  assert gradient[worst].mean() < 0 < gradient[~worst].mean()


def test_the_least_error_is_where_a_search_finds_it():
  random = np.random.default_rng(0)
  maps = [random.normal(size=[1, 1, 2, 1]).astype(np.float32) for _ in range(2)]
  laws = field_critic.ErrorLaw(
    tf.constant(maps[0]), tf.constant(np.exp(maps[1])), tf.fill([1, 1, 2, 1], -30.0)
  )
  valid = tf.ones([1, 1, 2, 1])
  best = np.exp(field_critic.least_error(laws, valid).numpy().ravel())
  assert best.mean() == pytest.approx(1.0, rel=1e-4)
  scale, power = np.exp(maps[0].ravel()), np.exp(maps[1].ravel())
  first = np.linspace(0.01, 1.99, 2000)
  errors = scale[0] * first ** -power[0] + scale[1] * (2 - first) ** -power[1]
  assert best[0] == pytest.approx(first[errors.argmin()], abs=0.01)
