"""What every network promises: the same outputs eager, traced, compiled, restored and exported."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
import tree

from adaptive_stem_tf.networks import actor, critic, discriminator, distorter, generator, infill
from adaptive_stem_tf.scan import partial_scan
from tests import tiny

SEGMENTS = {"segments": 3}  # a state that goes on from one to the next, and no more to trace
SCAN = tiny.experiment(**SEGMENTS).scan
STEPS, SIZE = SCAN.decisions, 8


class Case(NamedTuple):
  """A network, how it is called, and the shapes of its inputs beyond the batch."""

  make: Callable[[], snt.Module]
  call: Callable
  shapes: tuple[tuple[int, ...], ...]


def scan_step(module, observation, position):
  """Calls an actor twice from its initial state, as a scan does; the memory itself is no output."""
  state = module.initial_state(tf.shape(observation)[0])
  first, state = module(observation, position, state)
  second, _ = module(-observation, position, state)
  return tf.concat([first, second], 1)


def complete(module, partial):
  """Completes partial scans whose mask is 0 or 1."""
  return module(
    tf.concat([partial[..., :1], tf.cast(partial[..., 1:] > 0, tf.float32)], -1), is_training=False
  )


def distort(module, raster, positions):
  """Scans rasters as a distorter does, at positions inside the image."""
  inside = SIZE * tf.sigmoid(positions)
  mask = partial_scan.draw_at(inside[..., 0], inside, SIZE)[..., 1:]
  return module(raster, mask, inside, is_training=False), module.displacements(
    mask, inside, is_training=False
  )


CASES = {
  "generator": Case(
    lambda: generator.Generator(tiny.experiment().generator), complete, ((SIZE, SIZE, 2),)
  ),
  "generator_interpolating": Case(
    lambda: generator.Generator(tiny.experiment(interpolate=True).generator),
    complete,
    ((SIZE, SIZE, 2),),
  ),
  "actor_step_waypoints": Case(
    lambda: actor.Actor(tiny.experiment(steering="waypoints")), scan_step, ((SCAN.probes,), (2,))
  ),
  "nearest_infill": Case(infill.NearestInfill, complete, ((SIZE, SIZE, 2),)),
}
SIZES = tiny.experiment().generator
for kind in ("causal", "warp"):
  CASES[f"distorter_{kind}"] = Case(
    lambda kind=kind: distorter.make_distorter(kind, SIZES, 3.0), distort, ((SIZE, SIZE, 1), (6, 2))
  )
# it displaces nothing
CASES["distorter_residual"] = Case(
  lambda: distorter.make_distorter("residual", SIZES, 3.0),
  lambda module, *inputs: distort(module, *inputs)[0],
  ((SIZE, SIZE, 1), (6, 2)),
)
for sigmoid in (False, True):
  CASES["discriminator_plain" if sigmoid else "discriminator"] = Case(
    lambda sigmoid=sigmoid: discriminator.Discriminator(2, sigmoid),
    lambda module, images: module(images),
    ((2 * SIZE, 2 * SIZE, 3),),
  )
for kind in tiny.CONTROLLERS:
  chosen = tiny.experiment(controller=kind, **SEGMENTS)
  CASES[f"actor_step_{kind}"] = Case(
    lambda chosen=chosen: actor.Actor(chosen), scan_step, ((SCAN.probes,), (2,))
  )
  CASES[f"actor_unroll_{kind}"] = Case(
    lambda chosen=chosen: actor.Actor(chosen),
    lambda module, *inputs: module.unroll(*inputs),
    ((STEPS, SCAN.probes), (STEPS, 2)),
  )
  CASES[f"critic_{kind}"] = Case(
    lambda chosen=chosen: critic.Critic(chosen),
    lambda module, *inputs: module(*inputs),
    ((STEPS, SCAN.probes), (STEPS, 1), (STEPS, 1)),
  )


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request) -> Case:
  """A kind of network."""
  return CASES[request.param]


def inputs_of(case, batch=3, seed=0):
  rng = np.random.default_rng(seed)
  return [tf.constant(rng.standard_normal([batch, *shape]), tf.float32) for shape in case.shapes]


@pytest.fixture(scope="module")
def built(case) -> snt.Module:
  """The network with random variables, statistics included."""
  return randomised(case, 1)


def randomised(case, seed):
  module, rng = case.make(), np.random.default_rng(seed)
  case.call(module, *inputs_of(case))
  for variable in module.variables:
    if variable.dtype.is_floating:  # variances are positive
      sign = 1.0 if "average" in variable.name else rng.choice([-1.0, 1.0], variable.shape)
      variable.assign(sign * rng.uniform(0.1, 0.6, variable.shape))
  return module


@pytest.fixture(scope="module")
def expected(case, built):
  """What the network gives when run eagerly."""
  return case.call(built, *inputs_of(case))


def same(outputs, expected, tolerance=1e-5):
  tree.map_structure(
    lambda a, b: np.testing.assert_allclose(
      a, b, atol=tolerance * max(1.0, float(np.abs(b).max())), rtol=0
    ),
    outputs,
    expected,
  )


def traced(case, module, batch):
  """Returns the network's call as a function of inputs with that batch size, None for any."""
  signature = [tf.TensorSpec([batch, *shape]) for shape in case.shapes]
  return tf.function(lambda *inputs: case.call(module, *inputs), signature, autograph=False)


@pytest.fixture(scope="module")
def of_a_batch(case, built):
  """The network's call, traced for batches of one size."""
  return traced(case, built, 3)


@pytest.fixture(scope="module")
def of_any_batch(case, built):
  """The network's call, traced for batches of any size."""
  return traced(case, built, None)


def test_outputs_and_weights_are_float32_and_finite(built, expected):
  for output in tree.flatten(expected):
    assert output.dtype == tf.float32 and np.isfinite(output).all() and len(output) == 3
    assert np.std(output) > 1e-4  # or the tests below could not fail
  assert {variable.dtype for variable in built.trainable_variables} <= {tf.float32}


def test_graph_equals_eager(case, expected, of_a_batch):
  same(of_a_batch(*inputs_of(case)), expected)


def test_xla_equals_eager(case, expected, of_a_batch):
  compiled = tf.function(lambda *inputs: of_a_batch(*inputs), jit_compile=True, autograph=False)
  same(compiled(*inputs_of(case)), expected)


def test_the_batch_size_may_be_unknown(case, built, expected, of_any_batch):
  same(of_any_batch(*inputs_of(case)), expected)
  same(of_any_batch(*inputs_of(case, 5, seed=2)), case.call(built, *inputs_of(case, 5, seed=2)))


def test_examples_of_a_batch_are_independent(case, built, expected):
  for k in range(3):
    alone = case.call(built, *(part[k : k + 1] for part in inputs_of(case)))
    same(alone, tree.map_structure(lambda part, k=k: part[k : k + 1], expected))


def test_inference_leaves_variables_alone(case, built):
  before = [variable.numpy() for variable in built.variables]
  case.call(built, *inputs_of(case, seed=3))
  for variable, kept in zip(built.variables, before, strict=True):
    np.testing.assert_array_equal(variable, kept)


def test_checkpoint_round_trip(case, built, expected, tmp_path):
  if not built.variables:
    pytest.skip("nothing is learnt")
  tf.train.Checkpoint(network=built).write(str(tmp_path / "state"))
  other = randomised(case, 2)
  with pytest.raises(AssertionError):
    same(case.call(other, *inputs_of(case)), expected)
  tf.train.Checkpoint(network=other).read(str(tmp_path / "state")).assert_consumed()
  same(case.call(other, *inputs_of(case)), expected, 0.0)
  for ours, theirs in zip(other.variables, built.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_saved_model_round_trip(case, built, expected, of_any_batch, tmp_path):
  module = tf.Module()
  module.network, module.call = built, of_any_batch
  tf.saved_model.save(module, str(tmp_path))
  loaded = tf.saved_model.load(str(tmp_path))
  same(loaded.call(*inputs_of(case)), expected)
