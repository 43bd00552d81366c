"""A run of whole fields is restored as what evaluates it: the soft copies."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.fields.state import FEATURES, Cells
from adaptive_stem_tf.learning import field_agent, field_learner
from adaptive_stem_tf.training import checkpoint, field_model, workdir

SIZES = {
  "generator_channels": 2,
  "policy_channels": 3,
  "capacity": 4,
  "crop": 64,
  "generator_crop": 32,
  "rounds": 2,
}


@pytest.fixture
def learner(tmp_path):
  """A tiny learner whose soft copies differ from its networks, saved in a workdir."""
  experiment = field_config.FieldExperiment().replace(**SIZES)
  networks = field_agent.make_networks(experiment)
  learner = field_learner.FieldLearner(experiment, [np.zeros([64, 64, 1], np.float32)], networks)
  for network in (learner.average_generator, learner.average_actor):
    for number, variable in enumerate(network.trainable_variables):
      variable.assign(tf.random.stateless_normal(variable.shape, [1, number], stddev=0.1))
  workdir.open_workdir(tmp_path, experiment)
  checkpoint.Checkpoints(tmp_path / workdir.CHECKPOINTS, learner).save(3)
  return learner


def test_soft_copies_are_restored(learner, tmp_path, rng):
  model, iteration = field_model.restore(tmp_path)
  assert iteration == 3 and (model.rounds, model.cell) == (2, 8)
  mask = (rng.random([1, 40, 70, 1]) < 0.2).astype(np.float32)
  partial = mask * rng.uniform(-1, 1, mask.shape).astype(np.float32)
  made, wanted = model.complete(partial, mask), learner.average_generator(partial, mask)
  assert made.mean.shape == mask.shape
  for one, other in zip(made, wanted):
    np.testing.assert_array_equal(one, other)
  assert np.abs(made.mean - learner.generator(partial, mask).mean).max() > 1e-4
  level = tf.ones([1, 5, 9, 1])
  cells = Cells(tf.random.stateless_normal([1, 5, 9, FEATURES], [0, 1]), level, level, level)
  state = model.initial_state(1, 5, 9)
  for one, other in zip(model.policy(cells, state), learner.average_actor(cells, state)):
    np.testing.assert_array_equal(one, other)


def test_a_workdir_of_something_else_is_refused(tmp_path):
  with pytest.raises(workdir.WorkdirError, match="holds no run"):
    field_model.restore(tmp_path)
