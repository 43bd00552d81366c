"""Devices that training runs on: one, or several with a replica of the learner each."""

import contextlib
import functools
import os

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config

_CPU_REPLICAS = 2  # without a GPU, unless said


def set_up_tensorflow(run: config.RunSettings) -> None:
  """Fixes threads, determinism and devices; call it before TensorFlow computes anything.

  Raises:
    ValueError: if there are not as many GPUs as replicas are asked for.
  """
  threads = run.threads or os.cpu_count() or 1
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  if run.deterministic:
    tf.config.experimental.enable_op_determinism()
  if run.distribute == "none":
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
  return _replicator(run.replicas).scope()


@functools.cache
def _replicator(count: int) -> snt.distribute.Replicator:
  """Returns the strategy of some replicas: one in a process, as its reductions are numbered."""
  kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
  devices = [device.name for device in tf.config.list_logical_devices(kind)]
  return snt.distribute.Replicator(devices[: count or len(devices)])
