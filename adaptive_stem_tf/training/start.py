"""Starts runs: a scanner's workdir, path and learner."""

import os
import pathlib

import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.training import fixed_path, run
from adaptive_stem_tf.training import workdir as workdir_lib


def set_up_tensorflow(run: config.RunSettings) -> None:
  """Fixes threads and determinism; call it before TensorFlow computes anything."""
  threads = run.threads or os.cpu_count() or 1
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  if run.deterministic:
    tf.config.experimental.enable_op_determinism()


def scanner(
  experiment: config.Experiment,
  settings: config.RunSettings,
  splits: input_pipeline.Splits,
  workdir: str | os.PathLike,
) -> run.Run:
  """Returns the run that trains an actor, a critic and a generator in a workdir, resumed if it was
  begun there.

  Raises:
    workdir.WorkdirError: if the workdir holds another experiment, or one of other specimens or of
      another path.
    checkpoint.CheckpointError: if it holds only damaged checkpoints.
  """
  workdir = pathlib.Path(workdir)
  workdir_lib.open_workdir(workdir, experiment)
  workdir_lib.keep_inputs(workdir, specimens=splits.train)
  path = fixed_path.resolve(experiment.scan, workdir, splits.train)
  if path is not None:
    workdir_lib.keep_inputs(workdir, path=path)
  return run.Run(
    learner_lib.Learner(
      experiment, tf.constant(splits.train), agent.make_networks(experiment), settings.jit, path
    ),
    settings,
    workdir,
  )
