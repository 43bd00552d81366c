"""What networks see of what was measured."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis.extra import numpy as arrays

from adaptive_stem_tf import intensities
from adaptive_stem_tf.compare import scanning
from adaptive_stem_tf.evaluation import model, stopping
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.scan import environment, rollout, steering
from adaptive_stem_tf.types import ReplaySample
from tests import tiny

BY_FIRST = intensities.make_network_inputs("measured")
AS_IT_IS = intensities.make_network_inputs("image")
# three scans, two segments
SCANS = np.float32([[[2, 6], [4, 10]], [[3, 3], [3, 5]], [[7, 7], [7, 7]]])


def test_ranges_by_hand():
  found = BY_FIRST.range_of(tf.constant(SCANS))
  np.testing.assert_array_equal(found.low, [2, 3, 7])
  np.testing.assert_array_equal(found.high, [6, 5, 7])
  np.testing.assert_array_equal(
    found.to_unit(tf.constant(SCANS)), [[[-1, 1], [0, 3]], [[-1, -1], [-1, 1]], [[0, 0], [0, 0]]]
  )
  np.testing.assert_array_equal(
    found.from_unit(tf.constant([[0.0], [2.0], [0.3]])), [[4], [6], [7]]
  )


def test_what_an_actor_saw_by_hand():
  """The second scan's first segment shows nothing: 0, as long as that is so."""
  np.testing.assert_array_equal(
    BY_FIRST.of_actor(tf.constant(SCANS)), [[[-1, 1], [0, 3]], [[0, 0], [-1, 1]], [[0, 0], [0, 0]]]
  )


def test_only_segments_that_were_scanned_count():
  found = BY_FIRST.range_of(tf.constant(SCANS), tf.constant([1, 1, 2]))
  np.testing.assert_array_equal(found.low, [2, 3, 7])
  np.testing.assert_array_equal(found.high, [6, 3, 7])
  np.testing.assert_array_equal(
    BY_FIRST.range_of(tf.constant(SCANS), tf.constant([2, 2, 1])).high, [6, 5, 7]
  )


def test_a_partial_scan_by_hand():
  partial = tf.constant([[[[6.0, 1], [0, 0]], [[4, 1], [10, 1]]]])
  found = intensities.IntensityRange(tf.constant([2.0]), tf.constant([6.0]))
  np.testing.assert_array_equal(
    BY_FIRST.of_generator(partial, found), [[[[1, 1], [0, 0]], [[0, 1], [3, 1]]]]
  )
  nearest = lambda partial, is_training: partial[..., :1]
  np.testing.assert_array_equal(
    BY_FIRST.complete(nearest, partial, found, False)[..., 0], [[[6, 4], [4, 10]]]
  )


@hypothesis.given(
  arrays.arrays(
    np.float32,
    (3, 5, 2),
    elements=arrays.from_dtype(
      np.dtype(np.float32), min_value=0, max_value=2, allow_subnormal=False
    ).map(np.round),
  )
)
def test_training_sees_what_a_live_scan_shows(scans):
  live, policy = Normalisation("measured").start(3), BY_FIRST.policy(_Mirror())
  state, decided = policy.initial_state(3), BY_FIRST.of_actor(tf.constant(scans))
  for segment in range(5):
    live = live.update(scans[:, segment])
    expected = live.to_unit(scans[:, segment])
    np.testing.assert_allclose(decided[:, segment], expected, atol=1e-6)
    action, state = policy(tf.constant(scans[:, segment]), None, state)
    np.testing.assert_allclose(action, expected, atol=1e-6)
  found = BY_FIRST.range_of(tf.constant(scans))
  np.testing.assert_allclose(found.to_unit(tf.constant(scans)), live.to_unit(scans), atol=1e-6)
  np.testing.assert_allclose(found.from_unit(tf.constant(scans)), live.from_unit(scans), atol=1e-5)


class _Mirror:
  """Acts what it sees."""

  def initial_state(self, batch):
    return tf.zeros([batch, 0])

  def __call__(self, observation, position, state):
    return observation, state


def test_autograph_transforms_both_kinds(caplog):
  """A method that holds nothing but its docstring is not, and TensorFlow asks to report that."""
  for inputs in (AS_IT_IS, BY_FIRST):
    for function in (inputs.policy, inputs.of_actor, inputs.range_of):
      tf.autograph.to_graph(function)
    traced = tf.function(lambda scans, inputs=inputs: inputs.of_actor(scans) + _flat(inputs, scans))
    traced(tf.constant(SCANS))
  assert "could not transform" not in caplog.text


def _flat(inputs, scans):
  return 0.0 if inputs.range_of(scans) is None else inputs.range_of(scans).low[:, None, None]


def test_specimens_that_span_the_range_already_are_left_alone():
  scans, partial = tf.constant(SCANS), tf.ones([1, 2, 2, 2])
  actor, generator = object(), lambda partial, is_training: partial
  assert AS_IT_IS.policy(actor) is actor and AS_IT_IS.of_actor(scans) is scans
  assert (
    AS_IT_IS.range_of(scans) is None
    and AS_IT_IS.complete(generator, partial, None, True) is partial
  )


# In training.

IMAGES = np.concatenate(
  [tiny.images(3), np.where(np.arange(16)[:, None, None] < 13, -0.5, tiny.images(1))]
)
FLAT = 3  # the first segment of this one is


@pytest.fixture(scope="module")
def learner():
  tf.config.run_functions_eagerly(True)
  made = tiny.learner(normalise="measured", noise_sigma=0.0, augment=False, filter_sigma=0.0)
  yield made
  tf.config.run_functions_eagerly(False)


def scanned(learner, images):
  trajectory = learner.scan(tf.constant(images, tf.float32))
  return trajectory, ReplaySample(
    trajectory.observations, trajectory.actions, tiny.draw(), tf.range(4), tf.ones([4])
  )


def test_scans_are_recorded_as_measured(learner):
  trajectory, _ = scanned(learner, IMAGES)
  positions = learner.path.positions(trajectory.actions)
  measured = tf.reshape(
    environment.read(tf.constant(IMAGES, tf.float32), positions), trajectory.observations.shape
  )
  np.testing.assert_array_equal(trajectory.observations, measured)
  assert np.ptp(trajectory.observations[FLAT, 0]) == 0


def test_gain_and_offset_do_not_move_the_beam(learner):
  ours, other = scanned(learner, IMAGES)[0], scanned(learner, 0.5 * IMAGES - 3)[0]
  np.testing.assert_allclose(ours.actions, other.actions, atol=1e-4)
  raw = rollout.rollout(
    learner.actor,
    learner.actor.initial_state(4),
    tf.constant(0.5 * IMAGES - 3, tf.float32),
    learner.experiment.scan,
  )
  assert np.abs(ours.actions - raw.actions).max() > 0.01


def test_learning_sees_what_the_actor_saw(learner):
  """Unrolled over a recorded scan, the actor decides again what it decided."""
  _, sample = scanned(learner, IMAGES)
  starts = steering.segments(sample.actions, learner.experiment.scan).starts
  again = learner.actor.unroll(learner.network_inputs.of_actor(sample.observations), starts)
  np.testing.assert_allclose(again, sample.actions, atol=1e-4)
  assert np.abs(learner.actor.unroll(sample.observations, starts) - sample.actions).max() > 0.01


def test_the_critic_and_the_live_actor_are_given_what_was_seen(learner, monkeypatch):
  _, sample = scanned(learner, IMAGES)
  given = []
  features = learner.actor.features
  monkeypatch.setattr(
    learner.actor, "features", lambda seen, starts: given.append(seen) or features(seen, starts)
  )
  learner.evaluate_actions(sample, tf.zeros([4]))
  decisions = learner.experiment.scan.decisions
  np.testing.assert_array_equal(
    given[0], learner.network_inputs.of_actor(sample.observations)[:, :decisions]
  )


def test_losses_are_of_completions_in_the_specimens_units(learner):
  _, sample = scanned(learner, IMAGES)
  partial, found = (
    learner.path.draw(sample.observations, sample.actions),
    learner.network_inputs.range_of(sample.observations),
  )
  before = [variable.numpy() for variable in learner.generator.variables]
  completion = learner.complete(partial, tf.constant(IMAGES, tf.float32), found)
  for variable, kept in zip(learner.generator.variables, before):
    variable.assign(kept)
  low, high = (limit.numpy()[:, None, None, None] for limit in found)
  seen = np.where(
    high > low, 2 * (partial[..., :1] - low) / np.where(high > low, high - low, 1) - 1, 0
  )
  seen = np.concatenate([seen * partial[..., 1:], partial[..., 1:]], -1)
  made = low + (learner.generator(tf.constant(seen, tf.float32), is_training=True) + 1) / 2 * (
    high - low
  )
  np.testing.assert_allclose(
    completion.losses, 10 * np.mean((made - IMAGES) ** 2, (1, 2, 3)), rtol=1e-4
  )


# In use.


@pytest.mark.parametrize("gain, offset", [(1.0, 0.0), (50.0, 100.0)])
def test_a_model_completes_in_the_units_it_is_shown(learner, gain, offset):
  made = model.of_learner(learner)
  plain, other = (
    made.scan_all(np.float32(IMAGES)),
    made.scan_all(np.float32(gain * IMAGES + offset)),
  )
  np.testing.assert_allclose(other.positions, plain.positions, atol=1e-3)
  np.testing.assert_allclose((other.completions - offset) / gain, plain.completions, atol=1e-4)
  np.testing.assert_allclose(plain.partial[..., :1], IMAGES * plain.partial[..., 1:], atol=1e-6)


def test_a_path_that_is_given_is_shown_by_its_first_segment(learner):
  made, images = model.of_learner(learner), np.float32(IMAGES[:1])
  own = made.scan_all(images)
  along = made.scan_all_along(images, own.positions[0])
  np.testing.assert_allclose(along.completions, own.completions, atol=1e-5)
  assert np.abs(own.completions - learner.generator(own.partial, is_training=False)).max() > 1e-3


def test_a_comparison_completes_as_the_model(learner):
  made, images = model.of_learner(learner), np.float32(IMAGES)
  own = made.scan_all(images)
  scanned_ = scanning.scan_all(learner.path, images, False, "measured")
  np.testing.assert_array_equal(scanned_.partial, own.partial)
  np.testing.assert_allclose(
    scanning.complete_all(made.generator, scanned_), own.completions, atol=1e-5
  )
  begun = scanning.scan_along(images, own.positions[:, :8], 4, "measured")
  np.testing.assert_array_equal(begun.middle[:3], scanned_.middle[:3])
  assert [one.name for one in scanning.conditions((9.0,), "measured")] == [
    "image range",
    "9 electrons per pixel",
  ]


def test_stopping_is_judged_by_what_the_actor_and_the_generator_saw():
  tf.config.run_functions_eagerly(True)
  made = model.of_learner(tiny.learner(normalise="measured", truncate=True))
  plain, other = (stopping.evaluate(made, np.float32(images)) for images in (IMAGES, 0.5 * IMAGES))
  tf.config.run_functions_eagerly(False)
  for ours, theirs in zip(
    plain, other
  ):  # half the gain: a quarter of the error, but nothing else to see
    assert theirs["predicted_ten_mse"] == pytest.approx(ours["predicted_ten_mse"], abs=1e-4)
    assert theirs["ten_mse"] == pytest.approx(ours["ten_mse"] / 4, rel=1e-3)
