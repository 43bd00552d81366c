"""Starts runs: a scanner's workdir, path and learner."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.training import distribution, fixed_path, run
from adaptive_stem_tf.training import workdir as workdir_lib


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
  shared, workdir = pathlib.Path(workdir), distribution.own_workdir(settings, workdir)
  workdir_lib.open_workdir(workdir, experiment)
  workdir_lib.keep_inputs(workdir, specimens=splits.train)
  path = fixed_path.resolve(experiment.scan, workdir, splits.train)
  if path is not None:
    workdir_lib.keep_inputs(workdir, path=path)
  with distribution.scope(settings):
    networks = agent.make_networks(experiment)
    streams = isinstance(splits.train, np.memmap)
    images = splits.train if streams else tf.constant(splits.train)
    learner = learner_lib.Learner(experiment, images, networks, settings.jit, path)
    return run.Run(learner, settings, workdir, shared)
