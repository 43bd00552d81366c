"""What a trained run is used for: an actor that scans and a generator that completes."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, specimens
from adaptive_stem_tf.experiment import checkpoint, fixed_path, run
from adaptive_stem_tf.learning.learner import Learner
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.scan import environment, partial_scan, paths

_BATCH = 32
_WALK_SEED = (0, 1)  # of random walks


class Scans(NamedTuple):
  """Scans of every image, and their completions."""

  actions: np.ndarray  # [N, T, 1] rad; empty for fixed paths
  positions: np.ndarray  # [N, T * n, 2] px, probing positions
  partial: np.ndarray  # [N, S, S, 2]
  completions: np.ndarray  # [N, S, S, 1]


class Model:
  """An actor and a generator, with batch norm in inference mode and no exploration."""

  def __init__(self, experiment: config.Experiment, actor: actor_lib.Actor, generator: generator_lib.Generator,
               path: paths.Path):
    self.experiment, self.actor, self.generator, self.path = experiment, actor, generator, path
    self._own = tf.function(self.scan, autograph=False)
    self._along = tf.function(self.scan_along, autograph=False)

  def scan(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scans images [B, S, S, 1] along the model's own path; returns the fields of `Scans`."""
    trajectory = self.path.scan(self.observed(images), None, tf.constant(_WALK_SEED, tf.int64))
    partial = self.path.draw(trajectory.observations, trajectory.actions)
    positions = self.path.positions(trajectory.actions)
    return trajectory.actions, positions, partial, self.generator(partial, is_training=False)

  def scan_along(self, images: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scans images [B, S, S, 1] at positions [B, N, 2] px; returns partial scans and completions."""
    partial = partial_scan.draw_at(environment.read(self.observed(images), positions), positions, images.shape[1])
    return partial, self.generator(partial, is_training=False)

  def scan_all(self, images: np.ndarray) -> Scans:
    """Scans every image [N, S, S, 1] along the model's own path."""
    return Scans(*_in_batches(lambda batch: self._own(tf.constant(batch)), images))

  def scan_all_along(self, images: np.ndarray, positions: np.ndarray) -> Scans:
    """Scans every image [N, S, S, 1] along one path of positions [N, 2] px."""
    along = np.broadcast_to(positions, [_BATCH, *positions.shape])
    partial, completions = _in_batches(lambda batch: self._along(tf.constant(batch), tf.constant(along)), images)
    return Scans(np.zeros([len(images), 0, 1], np.float32),
                 np.broadcast_to(positions, [len(images), *positions.shape]), partial, completions)

  def observed(self, images: tf.Tensor) -> tf.Tensor:
    """Returns what a scan measures of images [B, S, S, 1]: low-pass filtered ones with `filter_observations`."""
    data = self.experiment.data
    return specimens.low_pass(images, data.filter_sigma) if data.filter_observations else images


def load(workdir: str | os.PathLike, step: int | None = None) -> tuple[Model, int]:
  """Loads the actor and generator of a run, and the iteration they were saved at.

  Args:
    workdir: of the run.
    step: iteration whose checkpoint is loaded; None for the newest.

  Raises:
    run.WorkdirError: if the folder holds no run.
    checkpoint.CheckpointError: if it holds no readable checkpoint.
  """
  experiment = run.read_experiment(workdir)
  tf.random.set_seed(experiment.seed)  # initial weights are overwritten, but deterministic kernels want a seed
  actor, generator = actor_lib.Actor(experiment), generator_lib.make_generator(experiment.generator)
  path = paths.make_path(experiment.scan, actor, fixed_path.load(experiment.scan, workdir))
  model = Model(experiment, actor, generator, path)
  size = experiment.scan.image_size
  paths.Adaptive(actor, experiment.scan).scan(tf.zeros([1, size, size, 1]), None, None)  # creates variables
  generator(tf.zeros([1, size, size, 2]), is_training=False)
  iteration = checkpoint.read_parts(pathlib.Path(workdir) / "checkpoints", step, actor=actor, generator=generator)
  return model, iteration


def of_learner(learner: Learner) -> Model:
  """Returns the model that a learner trains."""
  return Model(learner.experiment, learner.actor, learner.generator, learner.path)


def _in_batches(function, images):
  """Applies `function` to every image in batches of one size; joins each result."""
  results = []
  for batch, count in input_pipeline.batches(images, _BATCH):
    results.append([part.numpy()[:count] for part in function(batch)])
  return [np.concatenate(parts) for parts in zip(*results)]
