"""What all learners share."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import random_ops

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import base, field_agent, field_learner
from adaptive_stem_tf.types import Draw
from tests import tiny


@pytest.mark.parametrize("devices, compiled", [([], ["all"]), (["GPU:0"], ["auto", "all"])])
def test_xla_compiles_steps_that_are_to_be_and_others_on_a_gpu(monkeypatch, devices, compiled):
  monkeypatch.setattr(
    tf.config, "list_physical_devices", lambda kind: devices if kind == "GPU" else ["CPU:0"]
  )
  assert [jit for jit in ("none", "networks", "auto", "all") if base.compiles_all(jit)] == compiled


def test_xla_compiles_all_steps_of_whole_fields_or_none(monkeypatch):
  asked = []
  monkeypatch.setattr(base, "compiled", lambda _, jit: asked.append(jit))
  experiment, field = tiny.field_experiment(), np.zeros([64, 64, 1], np.float32)
  networks = field_agent.make_networks(experiment)
  for jit in ("none", "auto", "all"):
    field_learner.FieldLearner(experiment, [field], networks, jit)
  assert asked == ["none"] * 4 + ["all"] * 2


def test_the_program_of_a_step_needs_no_random_number(monkeypatch):
  """Which deterministic runs refuse."""

  def refuse(*_):
    raise RuntimeError("Random ops require a seed to be set when determinism is enabled.")

  monkeypatch.setattr(random_ops, "random_normal", refuse)
  learner = base.BaseLearner(config.Experiment(), "counting")
  learner.compile_step(lambda *_: learner.iteration.assign_add(1), "all")
  draw = Draw(tf.zeros([4], tf.int32), tf.zeros([4], tf.int32))
  assert "ENTRY" in learner.program(draw)
  learner.compile_step(lambda *_: learner.iteration.assign_add(1), "none")
  with pytest.raises(ValueError, match="jit_compile=True"):
    learner.program(draw)


def test_as_many_variables_are_assigned_as_there_are_values():
  first, second = tf.Variable(0.0), tf.Variable(0.0)
  base.assign([first, second], [tf.constant(2.0), tf.constant(3.0)])
  assert (float(first), float(second)) == (2.0, 3.0)
  with pytest.raises(ValueError):
    base.assign([first], [tf.constant(2.0), tf.constant(3.0)])
