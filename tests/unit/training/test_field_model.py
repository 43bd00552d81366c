"""A run of whole fields is restored as what evaluates it: the soft copies."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import field_config, integrity
from adaptive_stem_tf.fields.state import FEATURES, Cells
from adaptive_stem_tf.learning import field_agent, field_learner
from adaptive_stem_tf.training import checkpoint, field_model, workdir
from tests import exports as exports_lib

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


def test_an_exported_model_has_the_networks_that_were_exported(exports):
  wanted = exports_lib.trained_fields()
  made, iteration = field_model.load(exports(exports_lib.FIELDS))
  assert iteration == exports_lib.ITERATION
  assert made.experiment == wanted.experiment
  for one, other in zip(made.variables, wanted.variables, strict=True):
    np.testing.assert_array_equal(one, other, err_msg=one.name)


def test_a_run_is_loaded_like_an_exported_model(learner, tmp_path):
  made, iteration = field_model.load(tmp_path)
  assert iteration == 3
  assert field_model.read_experiment(tmp_path) == made.experiment
  for name in ("generator", "actor"):
    theirs = getattr(learner, f"average_{name}")
    for one, other in zip(getattr(made, name).variables, theirs.variables, strict=True):
      np.testing.assert_array_equal(one, other, err_msg=one.name)


def test_a_damaged_export_is_refused(exports, tmp_path):
  shutil.copytree(exports(exports_lib.FIELDS), tmp_path / "1")
  weights = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
  weights.write_bytes(weights.read_bytes()[:-1] + b"x")
  with pytest.raises(integrity.DamagedModelError, match="variables.data"):
    field_model.load(tmp_path / "1")


def test_an_exported_model_of_paths_is_no_model_of_fields(exports):
  with pytest.raises(ValueError, match="is not an exported model of whole fields"):
    field_model.read_experiment(exports("lstm"))


def test_a_workdir_of_something_else_is_refused(tmp_path):
  with pytest.raises(workdir.WorkdirError, match="holds no run"):
    field_model.restore(tmp_path)
