"""Measures the training of scanners of whole fields: speed of both phases, memory, checkpoints."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, field_config, input_pipeline
from adaptive_stem_tf.learning import field_agent
from adaptive_stem_tf.learning.field_learner import FieldLearner
from adaptive_stem_tf.profiling import benchmark
from adaptive_stem_tf.training import distribution

_SIDE = 512  # px, of fields; training uses crops of them
_WARM_UP = 1
PHASES = GENERATOR, ALL = ("generator alone", "all networks")


def measure(
  experiment: field_config.FieldExperiment,
  settings: config.RunSettings,
  specimens: int,
  repeats: int,
) -> dict[str, Any]:
  """Measures the training of random fields.

  Args:
    experiment: configuration of the training.
    settings: of the run.
    specimens: number of fields in memory.
    repeats: number of iterations of each phase that are timed, in turn; medians are returned.
  """
  tf.reduce_sum(tf.zeros([8]))  # TensorFlow's own memory
  idle = benchmark.resident_bytes()
  learner = _make(experiment, settings, specimens)
  optimisation = experiment.optimisation
  draws = input_pipeline.draws(
    specimens, optimisation.batch_size, experiment.seed, experiment.data.augment
  )
  first = optimisation.generator_first * optimisation.iterations
  # The number of the iteration says which phase it is of.
  starts = {GENERATOR: 0, ALL: int(np.ceil(first))}
  phases = [name for name in PHASES if first or name == ALL]

  def iterate(name):
    """Trains for one iteration of a phase."""
    learner.iteration.assign(starts[name])
    return learner.step(next(draws))

  for name in phases * _WARM_UP:
    iterate(name)
  traced = learner.traces
  times = [
    [benchmark.seconds(functools.partial(iterate, name)) for name in phases] for _ in range(repeats)
  ]
  seconds = dict(zip(phases, np.median(times, 0).tolist()))
  share = optimisation.generator_first
  total = optimisation.iterations * (
    share * seconds.get(GENERATOR, 0.0) + (1 - share) * seconds[ALL]
  )
  return {
    "seconds_per_iteration": seconds,
    "iterations_per_second": {name: 1 / value for name, value in seconds.items()},
    "hours_in_all": total / 3600,
    "retraces": learner.traces - traced,
    "memory": {
      "idle_gb": idle / 1e9,
      "peak_above_idle_gb": (benchmark.resident_bytes(peak=True) - idle) / 1e9,
    },
    "checkpoint": benchmark.checkpoint_cost(learner),
  }


def _make(experiment, settings, specimens):
  """Returns a learner on random fields."""
  random = np.random.default_rng(experiment.seed)
  side = max(_SIDE, experiment.scan.crop)
  # All fields are views of a few, since drawing gigabytes of random numbers takes long.
  distinct = random.uniform(-1, 1, [8, side, side, 1]).astype(np.float16)
  fields = [distinct[number % len(distinct)] for number in range(specimens)]
  with distribution.scope(settings):
    return FieldLearner(experiment, fields, field_agent.make_networks(experiment), settings.jit)
