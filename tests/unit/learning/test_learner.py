"""One training iteration."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.learning import alrc, truncation
from adaptive_stem_tf.randomness import Purpose
from adaptive_stem_tf.scan import baselines
from adaptive_stem_tf.types import LearnerMetrics, ReplaySample
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

NETWORKS = ("actor", "critic", "generator", "target_critic")


def values(module):
  return [variable.numpy() for variable in module.variables]


def moved(module, before):
  """Tells whether each variable has changed."""
  return [
    bool((variable.numpy() != kept).any())
    for variable, kept in zip(module.variables, before, strict=True)
  ]


def train(learner, steps):
  return [LearnerMetrics(*map(float, learner.step(tiny.draw(k)))) for k in range(steps)]


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_a_step_trains_every_network(controller):
  learner = tiny.learner(controller=controller, adding_decay=0.0)
  before = {name: values(getattr(learner, name)) for name in NETWORKS}
  metrics = train(learner, 2)
  assert np.isfinite(metrics).all()
  assert int(learner.iteration) == 2
  assert int(learner.replay.added) == 2 * tiny.BATCH
  for name in NETWORKS:
    changed = moved(getattr(learner, name), before[name])
    assert np.mean(changed) > 0.9, name
  assert 0 < metrics[0].coverage < 1 and 0 <= metrics[0].over_edge <= 1
  assert min(metrics[0][-3:]) > 0  # gradients


def test_the_generators_loss_falls():
  spiral = baselines.spiral(tiny.experiment().scan, 4.0)  # no actor, whose training takes longer
  learner = tiny.learner(
    positions=spiral,
    path="spiral",
    iterations=60,
    generator_rate=0.01,
    schedule="constant",
    channels=4,
    blocks=0,
  )
  errors = [metrics.generator_loss for metrics in train(learner, 30)]
  assert np.mean(errors[-5:]) < 0.7 * np.mean(errors[:3])


def test_learners_of_one_seed_are_equal_and_of_two_are_not():
  first, second, other = (tiny.learner(seed=seed, **tiny.SMALLER) for seed in (0, 0, 1))
  for ours, theirs in zip(values(first), values(second), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  assert any(
    (ours != theirs).any()
    for ours, theirs in zip(values(first.actor), values(other.actor), strict=True)
  )
  assert train(first, 3) == train(second, 3)
  for ours, theirs in zip(values(first), values(second), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_targets_start_as_copies_and_move_slowly():
  learner = tiny.learner(target_actor=True, target_generator=True)
  pairs = (
    (learner.critic, learner.target_critic),
    (learner.actor, learner.target_actor),
    (learner.generator, learner.target_generator),
  )
  for network, target in pairs:
    for ours, theirs in zip(values(network), values(target), strict=True):
      np.testing.assert_array_equal(ours, theirs)
  starts = [values(target) for _, target in pairs]
  train(learner, 1)
  for (network, target), start in zip(pairs, starts):
    for ours, theirs, before in zip(
      network.trainable_variables,
      target.trainable_variables,
      [kept for kept, variable in zip(start, target.variables) if variable.trainable],
      strict=True,
    ):
      np.testing.assert_allclose(
        theirs, 0.997**11 * before + (1 - 0.997**11) * ours.numpy(), atol=1e-6
      )


def test_actor_weights_rest_at_rate_0():
  learner = tiny.learner(actor_rate=0.0, **tiny.SMALLER)
  before = {name: values(getattr(learner, name)) for name in ("actor", "critic")}
  train(learner, 2)
  assert not any(moved(learner.actor, before["actor"]))
  assert any(moved(learner.critic, before["critic"]))


def test_generator_weights_decay_and_statistics_do_not():
  pair = [tiny.learner(l2_decay=decay, generator_rate=0.0) for decay in (1.0, 0.9)]
  starts = [values(learner.generator) for learner in pair]
  for learner in pair:
    train(learner, 1)
  for kept, decayed, start in zip(
    pair[0].generator.variables, pair[1].generator.variables, starts[0], strict=True
  ):
    factor = 0.9 if kept.trainable else 1
    np.testing.assert_allclose(decayed, factor * kept.numpy(), rtol=1e-6, err_msg=kept.name)
    if kept.trainable:
      np.testing.assert_array_equal(kept, start)
  for network in ("actor", "critic"):
    for ours, theirs in zip(
      values(getattr(pair[0], network)), values(getattr(pair[1], network)), strict=True
    ):
      np.testing.assert_allclose(ours, theirs, atol=1e-6)


def statistics(learner):
  """Returns the mean of the first layer, and what else there is."""
  first = learner.generator.layers[0].batch_norm.mean.average.numpy()
  others = [
    variable.numpy()
    for variable in learner.variables
    if not any(part in variable.name for part in ("average", "hidden", "counter"))
  ]
  return first, others


def test_batch_statistics_are_measured_anew_of_weights_and_scans_as_they_are():
  learner = tiny.learner(batch_norm_batches=2, batch_norm_decay=0.5, truncate=True)
  train(learner, 2)
  for layer in learner.generator.layers:
    layer.batch_norm.mean.average.assign_add(tf.fill(layer.batch_norm.mean.average.shape, 3.0))
  draws = []
  sample = learner.specimens
  learner.specimens = lambda drawn: draws.append(drawn) or sample(drawn)
  _, before = statistics(learner)
  learner.settle()
  found, after = statistics(learner)
  for ours, theirs in zip(before, after, strict=True):
    np.testing.assert_array_equal(ours, theirs)  # the statistics alone move
  assert len(draws) == 2 and (draws[0].index != draws[1].index).numpy().any()
  assert draws[0].transform.numpy().any()
  means = []
  for number, drawn in enumerate(draws):
    scanned = learner.scan(sample(drawn), number)
    cut = truncation.draw(learner.experiment, learner.stream(Purpose.TRUNCATION, number))
    partial = learner.path.draw(scanned.observations, scanned.actions, cut)
    features = tf.nn.relu(learner.generator.layers[0].convolution(partial))
    means.append(features.numpy().mean((0, 1, 2)))
  assert np.abs(means[0] - means[1]).max() > 1e-4
  np.testing.assert_allclose(found, (means[0] + 2 * means[1]) / 3, rtol=1e-4, atol=1e-6)


def test_moving_statistics_are_kept_if_none_are_to_be_measured():
  learner = tiny.learner()
  train(learner, 1)
  before = values(learner)
  learner.settle()
  assert not any(moved(learner, before))


def test_the_generators_rate_follows_its_schedule():
  learner = tiny.learner(iterations=20, **tiny.SMALLER)  # half period 2
  rates = [metrics.generator_rate for metrics in train(learner, 4)]
  envelope = 3e-3 * 0.75 ** (np.arange(4) / 4)
  np.testing.assert_allclose(rates, envelope * [1, 0.6, 0.2, 0.6], rtol=1e-5)


def test_the_generator_minimises_the_sum_over_the_batch():
  learner = tiny.learner(augment=False)
  partial = tf.constant(np.random.default_rng(0).uniform(-1, 1, [4, 16, 16, 2]), tf.float32)
  target = learner.images[:4]
  before = values(learner.generator)
  completion = learner.complete(partial, target)
  for variable, kept in zip(learner.generator.variables, before):
    variable.assign(kept)
  with tf.GradientTape() as tape:
    total = 10 * tf.reduce_sum(
      tf.reduce_mean(tf.square(learner.generator(partial, True) - target), [1, 2, 3])
    )
  gradients = tape.gradient(total, learner.generator.trainable_variables)
  for ours, theirs in zip(completion.gradients, gradients, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
  assert float(tf.reduce_sum(completion.losses)) == pytest.approx(float(total), rel=1e-5)
  np.testing.assert_array_equal(completion.losses, completion.reinforcement)


@pytest.mark.parametrize(
  "changes, differ",
  [
    ({"sobel_weight": 0.1}, (False, True)),
    ({"generator_loss": "quartic"}, (False, True)),
    ({"rl_loss": "max_region"}, (True, False)),
    ({"generator_alrc": True, "alrc_deviations": 0.1}, (False, True)),
    ({"target_generator": True}, (True, False)),
  ],
)
def test_what_each_loss_option_changes(changes, differ):
  """Options change the loss of reinforcement, or the generator's gradients, as they should, and 10
  MSE never.
  """
  partial = tf.constant(np.random.default_rng(0).uniform(-1, 1, [4, 16, 16, 2]), tf.float32)
  learners = tiny.learner(), tiny.learner(**changes)
  plain, other = (learner.complete(partial, learner.images[:4]) for learner in learners)
  np.testing.assert_allclose(plain.losses, other.losses, rtol=1e-5)
  assert bool((np.abs(plain.reinforcement - other.reinforcement) > 1e-3).any()) == differ[0]
  largest = max(
    float(tf.reduce_max(tf.abs(a - b)))
    for a, b in zip(plain.gradients, other.gradients, strict=True)
  )
  assert (largest > 1e-3) == differ[1]


def test_reinforcement_loss_is_clipped_then_normalised():
  learner, given = tiny.learner(), tf.constant([0.5, 60.0, 1.0, 1.0])
  clipped, moments = alrc.clip(given, alrc.Moments(*map(tf.constant, alrc.INITIAL_MOMENTS)), 3.0)
  expected, mean = alrc.normalise(clipped, tf.constant(alrc.INITIAL_MEAN))
  np.testing.assert_allclose(learner.reinforcement_loss(given), expected)
  np.testing.assert_allclose([*learner.loss_moments, learner.loss_mean], [*moments, mean])
  plain = tiny.learner(alrc=False, normalise_loss=False)
  np.testing.assert_array_equal(plain.reinforcement_loss(given), given)


def test_partial_scans_and_targets_share_their_transform():
  learner = tiny.learner(filter_sigma=0.0)
  draw = tiny.draw(1)
  trajectory = learner.scan(learner.specimens(draw))
  sample = ReplaySample(
    trajectory.observations, trajectory.actions, draw, tf.range(4), tf.ones([4])
  )
  partial, target = learner.generator_pair(sample)
  np.testing.assert_array_equal(partial[..., :1], target * partial[..., 1:])
  assert (partial.numpy() != learner.path.draw(sample.observations, sample.actions).numpy()).any()


def test_targets_are_filtered_and_observations_only_if_asked():
  plain, filtered = (
    tiny.learner(augment=False),
    tiny.learner(augment=False, filter_observations=True),
  )
  images = plain.specimens(tiny.draw())
  smooth = specimens.low_pass(images, filtered.experiment.data.filter_sigma)
  for learner, seen in ((plain, images), (filtered, smooth)):
    trajectory = learner.scan(images)
    sample = ReplaySample(
      trajectory.observations, trajectory.actions, tiny.draw(), tf.range(4), tf.ones([4])
    )
    partial, target = learner.generator_pair(sample)
    np.testing.assert_allclose(partial[..., :1], seen * partial[..., 1:], atol=1e-6)
    np.testing.assert_allclose(target, smooth, atol=1e-6)


def test_exploration_moves_the_scan_and_sigma_0_does_not():
  learner, still = tiny.learner(), tiny.learner(noise_sigma=0.0)
  images = learner.specimens(tiny.draw())
  greedy = learner.path.scan(images, None, tf.zeros([2], tf.int64))
  assert (np.abs(learner.scan(images).actions - greedy.actions) > 1e-4).any()
  np.testing.assert_allclose(still.scan(images).actions, greedy.actions, atol=1e-6)


# Paths without an actor.


@pytest.mark.parametrize("kind", ["spiral", "random_walk"])
def test_other_paths_leave_actor_and_critic_alone(kind):
  positions = baselines.spiral(tiny.experiment().scan, 4.0) if kind == "spiral" else None
  learner = tiny.learner(positions=positions, path=kind)
  before = {name: values(getattr(learner, name)) for name in NETWORKS}
  metrics = train(learner, 2)
  assert not any(
    any(moved(getattr(learner, name), before[name]))
    for name in ("actor", "critic", "target_critic")
  )
  assert any(moved(learner.generator, before["generator"]))
  assert (
    np.isfinite(metrics).all()
    and metrics[0].critic_loss == metrics[0].actor_loss == metrics[0].over_edge == 0
  )


def test_a_fixed_path_needs_its_positions():
  with pytest.raises(ValueError, match="path='spiral' is a fixed path"):
    tiny.learner(path="spiral")


@pytest.mark.parametrize(
  "changes",
  [
    {"capacity": 0},
    {"prioritised": True},
    {"optimiser": "rmsprop", "clip": "running_norm"},
    {"generator_optimiser": "sgd", "generator_rate": 1e-4},
    {"generator_optimiser": "rmsprop"},
    {"projection": 4},
    {"overwrite": "ring", "noise_decay": True, "adding_decay": 0.0},
    {"precision": "bfloat16"},
    {"decision_delay": 1, "target_actor": True},
    {"truncate": True, "target_actor": True},
    {"normalise": "measured", "target_generator": True},
    {"normalise": "measured", "truncate": True},
  ],
)
def test_every_option_trains(changes):
  learner = tiny.learner(**tiny.SMALLER, **changes)
  before = {name: values(getattr(learner, name)) for name in NETWORKS}
  assert np.isfinite(train(learner, 2)).all()
  for name in NETWORKS:
    assert any(moved(getattr(learner, name), before[name])), name


def test_infilling_trains_actor_and_critic_without_a_generator():
  learner = tiny.learner(completion="nearest")
  before = {name: values(getattr(learner, name)) for name in ("actor", "critic")}
  metrics = train(learner, 2)
  assert (
    np.isfinite(metrics).all()
    and metrics[0].generator_gradient == 0
    and metrics[0].generator_loss > 0
  )
  for name in ("actor", "critic"):
    assert any(moved(getattr(learner, name), before[name])), name


def test_priorities_become_squared_errors():
  learner = tiny.learner(prioritised=True)
  train(learner, 1)
  sampled = learner.replay.sampled.numpy()
  assert sampled.any() and not sampled[tiny.BATCH :].any()
  assert (learner.replay.priority.numpy()[sampled] != 1.0).all()
