"""Measures training: speed and its shares, utilisation, memory and checkpoints."""

import os
import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning.learner import Learner
from adaptive_stem_tf.profiling import arithmetic
from adaptive_stem_tf.scan import baselines, path_names
from adaptive_stem_tf.training import checkpoint, distribution, metrics_writer
from adaptive_stem_tf.types import Draw, LearnerMetrics

_PEAK_SIZE = 4096  # side of the matrices whose product shows the machine's peak rate
_WARM_UP = 3  # calls of everything before times are taken: they trace and allocate


def resident_bytes(peak: bool = False) -> int:
  """Returns the memory of this process now, or its peak so far (Linux only)."""
  field = "VmHWM:" if peak else "VmRSS:"
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(field):
      return 1024 * int(line.split()[1])
  raise RuntimeError(f"/proc/self/status has no {field} line: memory is measured on Linux only.")


def measure(
  experiment: config.Experiment, settings: config.RunSettings, specimens: int, rounds: int
) -> dict[str, Any]:
  """Measures the training of random specimens.

  Each round times the parts, whole iterations and the machine's own peak in turn, so that a drift
  of the machine's speed affects all of them; medians are returned.

  Args:
    experiment: configuration of the training.
    settings: of the run.
    specimens: number of images in memory.
    rounds: how often everything is timed.
  """
  tf.reduce_sum(tf.zeros([8]))  # TensorFlow's own memory
  idle = resident_bytes()
  learner, draws = make(experiment, settings, specimens)
  # A part alone runs on one device: only whole iterations are timed with replicas.
  parts = _parts(learner, draws) if settings.distribute == "none" else {}
  peak = _peak_work(experiment.generator.precision)
  with tempfile.TemporaryDirectory() as folder:
    writer = metrics_writer.MetricsWriter(folder)
    iteration = _iteration(learner, draws, writer)
    for _ in range(_WARM_UP):
      for function in (*parts.values(), iteration, peak):
        function()
    traced = learner.traces
    names = [*parts, "iteration", "peak"]
    functions = [*parts.values(), iteration, peak]
    times = np.array([[seconds(function) for function in functions] for _ in range(rounds)])
    writer.close()
  median = dict(zip(names, np.median(times, 0).tolist()))
  work = arithmetic.iteration(learner)
  rate = 2.0 * _PEAK_SIZE**3 / median.pop("peak")
  total = median.pop("iteration")
  shares = {name: part / total for name, part in median.items()}
  if shares:
    shares["everything else"] = 1 - sum(shares.values())
  return {
    "iterations_per_second": 1 / total,
    "seconds_per_iteration": total,
    "shares": shares,
    "work": work._asdict(),
    "peak_flops": rate,
    "utilisation": float(
      np.median(work.total / times[:, -2] / (2.0 * _PEAK_SIZE**3 / times[:, -1]))
    ),
    "retraces": learner.traces - traced,
    "memory": _memory(learner, idle),
    "checkpoint": checkpoint_cost(learner),
  }


def make(
  experiment: config.Experiment, settings: config.RunSettings, specimens: int
) -> tuple[Learner, Iterator[Draw]]:
  """Returns a learner on random images, whose replay is full, and its draws."""
  scan, seed = experiment.scan, experiment.seed
  images = np.random.default_rng(seed).random(
    (specimens, scan.image_size, scan.image_size, 1), np.float32
  )
  images *= 2
  images -= 1
  path = None
  if scan.path not in path_names.MOVING:
    path = baselines.spiral(scan, scan.pitch)
    path = path[None] if scan.path.startswith(path_names.FROM_ACTOR) else path
  with distribution.scope(settings):
    networks = agent.make_networks(experiment)
    learner = Learner(experiment, tf.constant(images), networks, settings.jit, path)
  del images
  if experiment.replay.capacity:
    store = learner.replay
    store.observations.assign(tf.fill(store.observations.shape, 0.5))
    store.added.assign(experiment.replay.capacity)
  return learner, input_pipeline.draws(
    specimens, experiment.optimisation.batch_size, seed, experiment.data.augment
  )


def _parts(learner: Learner, draws) -> dict[str, Callable[[], Any]]:
  """Returns the parts of an iteration as functions to time."""
  draw = next(draws)
  scan = tf.function(lambda: learner.scan(learner.specimens(draw)), autograph=False)
  trajectory = scan()
  exchange = tf.function(lambda: learner.exchange(lambda: trajectory, draw), autograph=False)
  sample = exchange()
  generator = tf.function(
    lambda: learner.complete(
      *learner.generator_pair(sample), learner.network_inputs.range_of(sample.observations)
    ),
    autograph=False,
  )
  completion = generator()
  parts = {"rollout": scan, "replay": exchange, "generator": generator}
  if not learner.path.learns:
    return parts | {
      "updates": tf.function(lambda: learner.update(completion, None), autograph=False)
    }
  recurrent = tf.function(
    lambda: learner.evaluate_actions(sample, completion.reinforcement), autograph=False
  )
  values = recurrent()
  update = tf.function(lambda: learner.update(completion, values), autograph=False)
  return parts | {"recurrent": recurrent, "updates": update}


def _iteration(learner, draws, writer):
  """Returns a function that does one iteration as a run does: data, step, and logging."""

  def iterate():
    """Does one iteration."""
    values = tf.stack(learner.step(next(draws))).numpy().tolist()
    writer.write(int(learner.iteration.numpy()), dict(zip(LearnerMetrics._fields, values)))

  return iterate


def _peak_work(precision):
  matrix = tf.cast(tf.random.stateless_normal([_PEAK_SIZE, _PEAK_SIZE], [1, 2]), precision)
  return tf.function(lambda: tf.linalg.matmul(matrix, matrix))


def seconds(function: Callable[[], Any]) -> float:
  """Returns how long a function takes until its first tensor is computed, s."""
  start = time.perf_counter()
  for tensor in tf.nest.flatten(function()):
    if tf.is_tensor(tensor):
      tensor.numpy()  # waits for it
      break
  return time.perf_counter() - start


def _memory(learner, idle):
  return {
    "idle_gb": idle / 1e9,
    "peak_above_idle_gb": (resident_bytes(peak=True) - idle) / 1e9,
    "specimens_gb": learner.images.shape.num_elements() * 4 / 1e9,
  }


def checkpoint_cost(learner: Any, repeats: int = 3) -> dict[str, float]:
  """Returns the time that saving takes, median of some, and the size of a checkpoint."""
  folder = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
  try:
    checkpoints = checkpoint.Checkpoints(folder, learner, keep=1)
    times = []
    for step in range(repeats):
      start = time.perf_counter()
      path = checkpoints.save(step)
      times.append(time.perf_counter() - start)
    return {
      "seconds": statistics.median(times),
      "megabytes": sum(f.stat().st_size for f in path.iterdir()) / 1e6,
    }
  finally:
    shutil.rmtree(folder)
