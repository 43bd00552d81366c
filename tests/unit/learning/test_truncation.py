"""Scans that are cut short in training."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.learning import losses, truncation
from adaptive_stem_tf.types import Draw, ReplaySample
from tests import tiny


def draws(count=40, **changes):
  experiment = tiny.experiment(**changes)
  return np.array(
    [truncation.draw(experiment, tf.constant([0, k], tf.int64)) for k in range(count)]
  )


def test_nothing_is_cut_by_default():
  assert truncation.num_uncut(tiny.experiment()) == 4
  assert truncation.draw(tiny.experiment(), tf.constant([0, 0], tf.int64)) is None


def test_half_of_a_batch_is_cut_after_any_decision():
  cut = draws(truncate=True)
  np.testing.assert_array_equal(cut[:, :2], 4)
  assert set(cut[:, 2:].ravel()) == {1, 2, 3}
  assert truncation.num_uncut(tiny.experiment(truncate=True, batch_size=5)) == 3
  assert set(draws(truncate=True, decision_delay=1)[:, 2:].ravel()) == {1, 2}


def test_weights_of_whole_scans_keep_their_mean():
  none = tf.zeros([4], tf.int32)
  sample = ReplaySample(
    tf.zeros([4, 4, 4]), tf.zeros([4, 4, 1]), Draw(none, none), none, tf.constant([1.0, 3, 5, 7])
  )
  weighted, final = truncation.weighted(sample, tf.constant([0.5, 0.25, 0.1]))
  np.testing.assert_allclose(weighted.weights, [4 / 3, 4, 20 / 3, 0], rtol=1e-6)
  np.testing.assert_allclose(final, [0.5, 0.25, 0.1, 0])


def test_scans_that_are_not_whole_have_no_weight_however_many_they_are():
  none = tf.zeros([7], tf.int32)
  sample = ReplaySample(
    tf.zeros([7, 4, 4]), tf.zeros([7, 4, 1]), Draw(none, none), none, tf.range(1.0, 8.0)
  )
  weighted, final = truncation.weighted(sample, tf.constant([0.5, 0.25]))
  np.testing.assert_allclose(weighted.weights, [3.5, 7, 0, 0, 0, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(final, [0.5, 0.25, 0, 0, 0, 0, 0])


def test_prediction_loss_by_hand():
  predicted = tf.constant([[[1.0], [2.0]], [[3.0], [5.0]]])
  loss = losses.prediction_loss(predicted, tf.constant([2, 1]), tf.constant([2.5, 4.0]))
  assert float(loss) == (0.5**2 + 1.0**2) / 2


def test_the_generator_sees_the_first_segments_only():
  learner = tiny.learner(truncate=True, augment=False, filter_sigma=0.0)
  trajectory = learner.scan(learner.specimens(tiny.draw()))
  sample = ReplaySample(
    trajectory.observations, trajectory.actions, tiny.draw(), tf.range(4), tf.ones([4])
  )
  partial, target = learner.generator_pair(sample, tf.constant([4, 1, 2, 4]))
  whole = learner.path.draw(sample.observations, sample.actions)
  np.testing.assert_array_equal(partial[0], whole[0])
  # The first segment is four pixels of the diagonal from (8, 8).
  assert {tuple(place) for place in np.argwhere(partial[1, ..., 1].numpy())} == {
    (k, k) for k in range(8, 12)
  }
  np.testing.assert_array_equal(partial[..., :1], target * partial[..., 1:])
  assert 4 < partial[2, ..., 1].numpy().sum() <= 8


def test_a_step_trains_the_head(eagerly):
  learner = tiny.learner(truncate=True, decision_delay=1)
  before = [variable.numpy() for variable in learner.actor.error_head.trainable_variables]
  metrics = [learner.step(tiny.draw(k)) for k in range(2)]
  assert np.isfinite(metrics).all()
  moved = [
    (v.numpy() != old).any() for v, old in zip(learner.actor.error_head.trainable_variables, before)
  ]
  assert all(moved)
