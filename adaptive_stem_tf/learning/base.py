"""What all learners share: the iteration, its random streams, its compiled step and its moments."""

import warnings
from collections.abc import Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import randomness, replicas
from adaptive_stem_tf.learning import alrc
from adaptive_stem_tf.settings import Composite
from adaptive_stem_tf.types import Draw, Streamed


class BaseLearner(snt.Module):
  """A module whose variables are all that training changes, and the step that trains them.

  Made in the scope of a strategy of tf.distribute, it trains on all of its replicas
  (`adaptive_stem_tf.replicas`): draws name the whole batch, of which each computes its share.

  A learner makes its variables, then calls `compile_step` with its data flow, once. The names of
  its attributes are those under which checkpoints keep its variables.

  Attributes:
    experiment: the configuration.
    iteration: number of iterations done, int64.
    streamed: the data that come with draws; None if the learner holds all specimens.
  """

  def __init__(self, experiment: Composite, name: str):
    super().__init__(name=name)
    self.experiment: Any = experiment
    self.streamed: Streamed | None = None
    self.iteration = tf.Variable(0, trainable=False, dtype=tf.int64, name="iteration")

  def compile_step(self, train: Any, jit: str) -> None:
    """Compiles the data flow of an iteration.

    Args:
      train: takes index and transform of a draw, [B] int32 each; returns a NamedTuple of scalars.
      jit: what XLA compiles: `all` or, on a GPU, `auto` all; else nothing (config.RunSettings).
    """
    self._step = compiled(train, jit)

  def step(self, draw: Draw) -> Any:
    """Trains for one iteration.

    Args:
      draw: which specimens to learn from, [B] each.

    Returns:
      The iteration's metrics, a NamedTuple of scalars.
    """
    return self._step(draw.index, draw.transform)

  def program(self, draw: Draw) -> str:
    """Returns the text of the step's program as XLA optimised it for this device, in HLO.

    Raises:
      ValueError: if XLA does not compile the step as a whole.
    """
    compiler = self._step.experimental_get_compiler_ir(draw.index, draw.transform)
    with warnings.catch_warnings():
      # Without a device TensorFlow looks for one by a random number, which deterministic runs
      # refuse; with one it warns.
      warnings.simplefilter("ignore")
      return compiler(stage="optimized_hlo", device_name=tf.zeros([]).device)

  def settle(self) -> None:
    """Makes networks ready for use, before the checkpoints of a milestone and of the end.

    It does nothing unless a learner overrides it.
    """

  @property
  def traces(self) -> int:
    """Number of times that the step was traced: 1 from the first call on."""
    return self._step.experimental_get_tracing_count()

  def stream(self, purpose: randomness.Purpose, ahead: tf.Tensor | int = 0) -> tf.Tensor:
    """Returns the seed [2] of a purpose's random numbers, `ahead` iterations from this one."""
    iteration = self.iteration + tf.cast(ahead, tf.int64)
    return randomness.stream(self.experiment.seed, purpose, iteration)


def compiled(train: Any, jit: str) -> Any:
  """Returns a data flow as a tf.function; for the arguments see `BaseLearner.compile_step`."""
  # XLA cannot compile reductions over replicas.
  whole = replicas.count() == 1 and compiles_all(jit)
  return tf.function(replicas.everywhere(train), jit_compile=whole or None, autograph=False)


def compiles_all(jit: str) -> bool:
  """Returns whether XLA compiles a whole step: with `all`, or with `auto` if there is a GPU."""
  return jit == "all" or (jit == "auto" and bool(tf.config.list_physical_devices("GPU")))


def make_moments() -> alrc.Moments:
  """Returns the variables of the moments of a loss that is clipped (METHOD section 6)."""
  return alrc.Moments(*(tf.Variable(value, trainable=False) for value in alrc.INITIAL_MOMENTS))


def assign(variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]) -> None:
  """Assigns each variable its value."""
  for variable, value in zip(variables, values, strict=True):
    variable.assign(value)
