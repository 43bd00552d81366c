"""The training step as a graph: traced once, compiled by XLA as a whole, free of Python."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.learning import field_learner
from adaptive_stem_tf.training import checkpoint
from adaptive_stem_tf.types import CycleMetrics, LearnerMetrics
from tests import tiny

SLOW = pytest.mark.slow


def train(learner, steps=3):
  return np.array([[float(value) for value in learner.step(tiny.draw(k))] for k in range(steps)])


def assert_traced_once_and_free_of_python(learner):
  """Checks the graph of a step that has run."""
  assert learner.traces == 1
  draw = tiny.draw()
  step = learner._step.get_concrete_function(draw.index, draw.transform)
  graph = step.graph.as_graph_def()
  kinds = {
    node.op
    for node in [
      *graph.node,
      *(n for function in graph.library.function for n in function.node_def),
    ]
  }
  assert len(kinds) > 50 and not any("PyFunc" in kind for kind in kinds)
  assert learner.traces == 1


def test_the_step_of_a_correction_is_traced_once_and_holds_no_python():
  learner = tiny.cycle_learner()
  train(learner)
  assert_traced_once_and_free_of_python(learner)


def test_with_measured_ranges_and_waypoints_the_step_is_traced_once():
  changes = {"normalise": "measured", "truncate": True, "steering": "waypoints", "reach": 3.0}
  learner = tiny.learner("auto", **tiny.SMALLER, **changes)
  assert np.isfinite(train(learner)).all() and learner.traces == 1


@pytest.mark.parametrize("jit", ["none", pytest.param("auto", marks=SLOW)])
def test_a_compiled_step_resumes_bit_for_bit_traced_once_and_without_python(tmp_path, jit):
  changes = {**tiny.SMALLER, "prioritised": True, "iterations": 40}
  straight = tiny.learner(jit, adding_decay=1 / 40, **changes)
  train(straight, 2)
  checkpoint.Checkpoints(tmp_path, straight).save(2)
  resumed = tiny.learner(jit, adding_decay=1 / 40, **changes)
  for variable in resumed.variables:
    variable.assign(tf.zeros_like(variable))
  assert checkpoint.Checkpoints(tmp_path, resumed).restore() == 2
  rows = [np.array([learner.step(tiny.draw(k)) for k in (2, 3)]) for learner in (straight, resumed)]
  np.testing.assert_array_equal(*rows)
  for ours, theirs in zip(straight.variables, resumed.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
  for learner in (straight, resumed):
    assert_traced_once_and_free_of_python(learner)


@pytest.fixture
def same_numbers(monkeypatch):
  """XLA makes other floats of the same random bits than TensorFlow's kernels, and folds numbers
  into seeds otherwise: makes both of integers, which agree.
  """
  integers = tf.random.stateless_uniform

  def uniform(shape, seed, minval=0, maxval=None, dtype=tf.float32, **unused):
    del unused
    if dtype.is_integer:
      return integers(shape, seed, minval, maxval, dtype)
    share = tf.cast(integers(shape, seed, 0, 2**20, tf.int32), dtype) / 2**20
    return minval + share * ((1.0 if maxval is None else maxval) - minval)

  monkeypatch.setattr(tf.random, "stateless_uniform", uniform)
  monkeypatch.setattr(
    tf.random, "stateless_normal", lambda shape, seed: 3.46 * (uniform(shape, seed) - 0.5)
  )
  monkeypatch.setattr(
    tf.random.experimental,
    "stateless_fold_in",
    lambda seed, number: tf.stack(
      [integers([], seed, 0, 2**31 - 1, tf.int32), tf.cast(number, tf.int32)]
    ),
  )


@pytest.mark.usefixtures("same_numbers")
@pytest.mark.parametrize(
  "controller", ["lstm", pytest.param("gru", marks=SLOW), pytest.param("dnc", marks=SLOW)]
)
def test_xla_compiles_the_whole_step_to_the_same_numbers(controller):
  changes = {"controller": controller, **tiny.SMALLER}
  plain, compiled = tiny.learner("none", **changes), tiny.learner("all", **changes)
  tf.config.run_functions_eagerly(True)
  expected = train(plain)
  tf.config.run_functions_eagerly(False)
  ours = train(compiled)
  assert compiled.traces == 1
  for name, a, b in zip(LearnerMetrics._fields, ours.T, expected.T, strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5, err_msg=name)
  for variable, other in zip(compiled.replay.variables, plain.replay.variables, strict=True):
    np.testing.assert_allclose(variable, other, atol=1e-4, err_msg=variable.name)


@pytest.mark.slow
@pytest.mark.usefixtures("same_numbers")
@pytest.mark.parametrize("totals", ["printed", "back"])
def test_xla_compiles_the_whole_step_of_a_correction_to_the_same_numbers(totals):
  plain, compiled = (tiny.cycle_learner(jit, totals=totals) for jit in ("none", "all"))
  tf.config.run_functions_eagerly(True)
  expected = train(plain, 5)  # the history is full after two
  tf.config.run_functions_eagerly(False)
  ours = train(compiled, 5)
  assert compiled.traces == 1
  for name, a, b in zip(CycleMetrics._fields, ours.T, expected.T, strict=True):
    np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-5, err_msg=name)
  np.testing.assert_allclose(
    compiled.partial_history.images, plain.partial_history.images, atol=5e-3
  )


@pytest.mark.slow
@pytest.mark.usefixtures("same_numbers")
def test_xla_compiles_both_steps_of_whole_fields_to_the_same_numbers():
  # Two iterations of the generator alone, three of all networks; crops get shot noise.
  changes = {"generator_first": 0.2, "noisy_share": 0.5}
  plain, compiled = (tiny.field_learner(jit, **changes) for jit in ("none", "all"))
  steps = lambda learner: np.array(
    [[float(value) for value in learner.step(tiny.draw(k, count=4, batch=2))] for k in range(5)]
  )
  tf.config.run_functions_eagerly(True)
  expected = steps(plain)
  tf.config.run_functions_eagerly(False)
  ours = steps(compiled)
  assert compiled.traces == 2
  for name, a, b in zip(field_learner.FieldMetrics._fields, ours.T, expected.T, strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4, err_msg=name)
  for variable, other in zip(compiled.variables, plain.variables, strict=True):
    np.testing.assert_allclose(variable, other, rtol=1e-2, atol=5e-3, err_msg=variable.name)
