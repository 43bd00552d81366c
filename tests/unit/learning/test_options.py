"""What an option does to training: each test fails where its option has no effect."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import losses
from adaptive_stem_tf.types import ReplaySample
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")


def values(module):
  return [variable.numpy().copy() for variable in module.trainable_variables]


def scanned(learner, number=0):
  """Returns scans as if they were replayed."""
  draw = tiny.draw(number)
  trajectory = learner.scan(learner.specimens(draw))
  return ReplaySample(
    trajectory.observations, trajectory.actions, draw, tf.range(tiny.BATCH), tf.ones([tiny.BATCH])
  )


def pair(learner):
  """Returns a partial scan and a target that a generator of these sizes may get."""
  rng = np.random.default_rng(0)
  partial = tf.constant(rng.uniform(-1, 1, [4, tiny.SIZE, tiny.SIZE, 2]), tf.float32)
  return partial, learner.images[:4]


def test_every_iteration_draws_numbers_of_its_own():
  learner = tiny.learner(truncate=True, adding_decay=0.0)
  images = learner.specimens(tiny.draw())
  trajectory, seen = learner.scan(images), []
  for iteration in (0, 1):
    learner.iteration.assign(iteration)
    sample = learner.exchange(lambda: trajectory, tiny.draw())
    fixed = sample._replace(draw=tiny.draw(), observations=trajectory.observations)
    seen.append([learner.scan(images).actions, sample.rows, learner.generator_pair(fixed)[1]])
  for first, second in zip(*seen, strict=True):
    assert (np.abs(first - second) > 1e-4).any()


def test_exploration_decays_to_nothing_at_half_of_training():
  for decays in (False, True):
    learner = tiny.learner(noise_decay=decays, iterations=100)
    images = learner.specimens(tiny.draw())
    greedy = learner.path.scan(images, None, None).actions
    apart = []
    for iteration in (0, 25, 50):
      learner.iteration.assign(iteration)
      apart.append(float(tf.reduce_max(tf.abs(learner.scan(images).actions - greedy))))
    assert min(apart[:2]) > 1e-3 and (apart[2] < 1e-6) == decays
    if decays:
      assert apart[1] < apart[0]


def test_scans_are_added_ever_more_rarely():
  for decay in (0.0, 1 / 3000):
    learner = tiny.learner(adding_decay=decay, iterations=3000)
    scans = learner.scan(learner.specimens(tiny.draw()))
    for iteration in (0, *range(2000, 2030)):
      learner.iteration.assign(iteration)
      learner.exchange(lambda: scans, tiny.draw())  # noqa: B023 - called at once
    added = int(learner.replay.added) // tiny.BATCH
    assert added == 31 if decay == 0 else 1 <= added <= 4


def test_importance_weights_grow_over_training():
  learner = tiny.learner(prioritised=True, priority_beta=0.0, iterations=100, capacity=4)
  scans = learner.scan(learner.specimens(tiny.draw()))
  priorities = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
  learner.exchange(lambda: scans, tiny.draw())
  learner.replay.update_priorities(tf.range(4), tf.constant(priorities))
  learner.replay.add = lambda *_: None  # the priorities stay
  for iteration in (0, 50, 100):
    learner.iteration.assign(iteration)
    sample = learner.exchange(lambda: scans, tiny.draw())
    weights = (4 * priorities / priorities.sum())[sample.rows] ** -(iteration / 100)
    np.testing.assert_allclose(sample.weights, weights / weights.max(), rtol=1e-5)
    assert len(set(sample.rows.numpy())) > 1


def test_priorities_are_mean_squared_errors():
  learner = tiny.learner(prioritised=True)
  metrics = learner.step(tiny.draw())
  sample = learner.replay.sampled.numpy()
  least, greatest = (f(learner.replay.priority.numpy()[sample]) for f in (np.min, np.max))
  assert least <= float(metrics.critic_loss) <= greatest  # of weights 1: their mean


@pytest.mark.parametrize("kind", ["adam", "rmsprop", "sgd"])
def test_generators_are_moved_by_the_optimiser_that_is_named(kind):
  rate = 1e-3
  learner = tiny.learner(
    generator_optimiser=kind, generator_rate=rate, schedule="constant", l2_decay=1.0
  )
  completed, before = learner.complete(*pair(learner)), values(learner.generator)
  learner.update(completed, None)
  by_hand = {
    "adam": lambda g: np.sign(g) * (np.abs(g) > 1e-4),
    "rmsprop": lambda g: g / np.sqrt(0.9 + 0.1 * g**2),
    "sgd": lambda g: g,
  }[kind]
  for old, new, gradient in zip(
    before, values(learner.generator), completed.gradients, strict=True
  ):
    clear = (np.abs(gradient) > 1e-4) | (kind != "adam")  # else epsilon counts
    np.testing.assert_allclose(
      (old - new)[clear], (rate * by_hand(gradient.numpy()))[clear], rtol=1e-2, atol=1e-6
    )


def test_a_sobel_loss_counts_ten_times_its_weight():
  plain, other = tiny.learner(), tiny.learner(sobel_weight=0.1)
  partial, target = pair(plain)
  of_plain, of_other = (learner.complete(partial, target) for learner in (plain, other))
  fresh = tiny.learner()
  with tf.GradientTape() as tape:
    completions = fresh.generator(partial, is_training=True)
    sobel = tf.reduce_sum(0.1 * 10 * losses.sobel_loss(completions, target))
  expected = tape.gradient(sobel, fresh.generator.trainable_variables)
  for ours, theirs, more in zip(of_other.gradients, of_plain.gradients, expected, strict=True):
    scale = max(float(tf.reduce_max(tf.abs(more))), 1e-2)
    np.testing.assert_allclose(ours - theirs, more, atol=2e-3 * scale)


@pytest.mark.parametrize("loss", ["max_region", "quartic"])
def test_the_critic_learns_the_loss_that_is_named(loss):
  learner = tiny.learner(rl_loss=loss)
  partial, target = pair(learner)
  completed = learner.complete(partial, target)
  completions = tiny.learner().generator(partial, is_training=True)
  np.testing.assert_allclose(
    completed.reinforcement, losses.completion_loss(completions, target, loss), rtol=1e-4
  )


def test_a_target_generator_gives_the_losses_that_the_critic_learns():
  learner = tiny.learner(target_generator=True)
  partial, target = pair(learner)
  for weight in learner.target_generator.trainable_variables:
    weight.assign_add(0.1 * tf.ones_like(weight))
  completions = learner.target_generator(partial, is_training=False)
  np.testing.assert_allclose(
    learner.complete(partial, target).reinforcement,
    losses.completion_loss(completions, target),
    rtol=1e-4,
  )


def test_the_generators_clipping_moves_moments_of_its_own():
  learner = tiny.learner(generator_alrc=True)
  before = [float(moment) for moment in learner.generator_moments]
  learner.complete(*pair(learner))
  assert all(float(m) != b for m, b in zip(learner.generator_moments, before, strict=True))
  assert [float(m) for m in learner.loss_moments] == before


def test_gradients_of_critic_and_actor_are_clipped_and_their_norms_are_told_apart():
  threshold, rate = 1e-4, 0.5
  learner = tiny.learner(
    optimiser="sgd", clip="value", clip_threshold=threshold, critic_rate=rate, actor_rate=rate
  )
  completed = learner.complete(*pair(learner))
  recurrent = learner.evaluate_actions(scanned(learner), tf.constant([1.0, 2.0, 0.5, 3.0]))
  before = {name: values(getattr(learner, name)) for name in ("critic", "actor")}
  norms = learner.update(completed, recurrent)
  for name, gradients, norm in (
    ("critic", recurrent.critic_gradients, norms[1]),
    ("actor", recurrent.actor_gradients, norms[2]),
  ):
    assert float(norm) == pytest.approx(float(tf.linalg.global_norm(gradients)), rel=1e-5)
    assert float(norm) > 3 * threshold  # clipping has something to do
    moved = [
      np.abs(new - old).max()
      for new, old in zip(values(getattr(learner, name)), before[name], strict=True)
    ]
    assert max(moved) == pytest.approx(rate * threshold, rel=1e-2)


def test_what_was_cut_off_is_shown_to_nobody():
  learner = tiny.learner(truncate=True, normalise="measured")
  sample, cut = scanned(learner), tf.constant([4, 4, 1, 2])
  partial, _ = learner.generator_pair(sample, cut)
  measured = tf.reduce_sum(partial[..., 1], [1, 2]).numpy()
  whole = tf.reduce_sum(learner.generator_pair(sample)[0][..., 1], [1, 2]).numpy()
  np.testing.assert_array_equal(measured[:2], whole[:2])
  assert measured[2] <= tiny.PROBES < whole[2] and measured[3] <= 2 * tiny.PROBES < whole[3]
