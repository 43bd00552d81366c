"""Devices that training runs on: one, several of a machine, or those of several machines.

Each device has a replica of the learner (`adaptive_stem_tf.replicas`). Machines are workers, which
TensorFlow's variable TF_CONFIG lists, in the same order on each machine:

  TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'

Each runs the same command, with a workdir that all can reach. The first saves checkpoints, from
which all resume; the others write their other files to folders of their own.
"""

import contextlib
import functools
import json
import os
import pathlib
from collections.abc import Iterator

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config

_CPU_REPLICAS = 2  # on a machine without a GPU, unless `replicas` says another number
# TensorFlow's errors when another worker is gone.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)


class WorkerLostError(RuntimeError):
  """Another worker no longer answers."""


def set_up_tensorflow(run: config.RunSettings) -> None:
  """Fixes threads, determinism and devices; call it before TensorFlow computes anything.

  Raises:
    ValueError: if there are fewer GPUs than `replicas` asks for, or TF_CONFIG does not say which
      worker this is.
  """
  threads = run.threads or os.cpu_count() or 1
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  if run.deterministic:
    tf.config.experimental.enable_op_determinism()
  if run.distribute == "multi_worker":
    _index()  # raises its error before TensorFlow tries to reach the others
    _workers()  # TensorFlow wants this strategy before it computes anything
  if run.distribute != "mirrored":
    return
  gpus = tf.config.list_physical_devices("GPU")
  if gpus and run.replicas > len(gpus):
    raise ValueError(f"replicas={run.replicas}: there are {len(gpus)} GPUs, one for each replica.")
  if not gpus:
    parts = [tf.config.LogicalDeviceConfiguration()] * (run.replicas or _CPU_REPLICAS)
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def scope(run: config.RunSettings) -> contextlib.AbstractContextManager:
  """Returns the scope that a learner is made in, so that it trains as `distribute` says."""
  if run.distribute == "none":
    return contextlib.nullcontext()
  return (_workers() if run.distribute == "multi_worker" else _replicator(run.replicas)).scope()


def own_workdir(run: config.RunSettings, workdir: str | os.PathLike) -> pathlib.Path:
  """Returns the folder that this process writes to: the run's, or another worker's in it."""
  index = _index() if run.distribute == "multi_worker" else 0
  return pathlib.Path(workdir) / f"worker_{index}" if index else pathlib.Path(workdir)


@functools.cache
def _replicator(count: int) -> snt.distribute.Replicator:
  """Returns the strategy of `count` replicas, the same one in a process: it numbers reductions."""
  kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
  devices = [device.name for device in tf.config.list_logical_devices(kind)]
  return snt.distribute.Replicator(devices[: count or len(devices)])


@functools.cache
def _workers() -> "_Workers":
  """Returns the strategy of all workers, the same one in a process."""
  return _Workers()


def _index() -> int:
  """Returns the number of this worker.

  Raises:
    ValueError: if TF_CONFIG does not say it.
  """
  try:
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    if task["type"] != "worker":
      raise ValueError(f"its task is of type {task['type']}")
    return int(task["index"])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      "distribute=multi_worker needs the environment variable TF_CONFIG, "
      '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, but '
      f"it is {os.environ.get('TF_CONFIG', 'missing')} ({error!r})."
    ) from error


class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
  """A strategy of several machines that keeps variables as Sonnet's Replicator does.

  Each replica has its own copy.
  """

  @contextlib.contextmanager
  def scope(self) -> Iterator[None]:
    """Enters the strategy."""
    with super().scope(), tf.variable_creator_scope(_own_copy):
      yield


def _own_copy(next_creator, **keywords):
  """Makes variables that each replica assigns on its own, and that are read from the first."""
  if keywords["synchronization"] == tf.VariableSynchronization.AUTO:
    keywords["synchronization"] = tf.VariableSynchronization.ON_READ
    if keywords["aggregation"] == tf.VariableAggregation.NONE:
      keywords["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
    if keywords["trainable"] is None:
      keywords["trainable"] = True
  return next_creator(**keywords)
