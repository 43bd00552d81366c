"""The networks of a trained run for inference: an actor that scans, a generator that completes."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, integrity, intensities, specimens
from adaptive_stem_tf.evaluation import scanning
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning.learner import Learner
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.scan import path_names, paths
from adaptive_stem_tf.training import checkpoint
from adaptive_stem_tf.training import workdir as workdir_lib


class Scans(NamedTuple):
  """Scans of every image, and their completions."""

  actions: np.ndarray  # [N, T, A]; empty for fixed paths
  positions: np.ndarray  # [N, T * n, 2] px, probing positions
  partial: np.ndarray  # [N, S, S, 2]
  completions: np.ndarray  # [N, S, S, 1]


class Model:
  """An actor and a generator, with batch norm in inference mode and no exploration."""

  def __init__(
    self,
    experiment: config.Experiment,
    actor: actor_lib.Actor,
    generator: generator_lib.Generator,
    path: paths.Path,
  ):
    self.experiment, self.actor, self.generator, self.path = experiment, actor, generator, path
    self.network_inputs = intensities.make_network_inputs(experiment.data.normalise)
    self._own = tf.function(self.scan, autograph=False)
    self._along = tf.function(self.scan_along, autograph=False)

  def scan(
    self, images: tf.Tensor, first: tf.Tensor | int = 0
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scans images [B, S, S, 1] along the model's own path; returns the fields of `Scans`.

    Args:
      images: the specimens.
      first: number of the first image within its set. Paths that are drawn at random depend on
        this number, so that batches of a set have different paths.
    """
    return self._completed(scanning.scan_path(self.path, self.observed(images), first))

  def scan_along(
    self, images: tf.Tensor, positions: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scans images [B, S, S, 1] at positions [B, N, 2] px; returns the fields of `Scans`."""
    probes = self.experiment.scan.probes
    return self._completed(scanning.scan_positions(self.observed(images), positions, probes))

  def complete(
    self, partial: tf.Tensor, observations: tf.Tensor, measured: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Completes partial scans; intensities are those of the images that were scanned.

    Args:
      partial: [B, S, S, 2].
      observations: [B, T, n], intensities that were measured.
      measured: [B], number of the segments that the partial scans hold; None for all T.

    Returns:
      Completions [B, S, S, 1].
    """
    ranges = self.network_inputs.range_of(observations, measured)
    return self.network_inputs.complete(self.generator, partial, ranges, is_training=False)

  def scan_all(self, images: np.ndarray) -> Scans:
    """Scans every image [N, S, S, 1] along the model's own path."""
    own = lambda batch, first: self._own(batch, tf.constant(first, tf.int64))
    return Scans(*scanning.in_batches(own, images))

  def scan_all_along(self, images: np.ndarray, positions: np.ndarray) -> Scans:
    """Scans every image [N, S, S, 1] along one path of positions [N, 2] px."""

    def along(batch, _):
      """Scans a batch along the one path."""
      return self._along(batch, tf.broadcast_to(positions, [batch.shape[0], *positions.shape]))

    return Scans(*scanning.in_batches(along, images))

  def _completed(self, scans):
    completions = self.complete(scans.partial, scans.observations)
    return scans.actions, scans.positions, scans.partial, completions

  def observed(self, images: tf.Tensor) -> tf.Tensor:
    """Returns images [B, S, S, 1] as a scan measures them: low-pass filtered if the model was
    trained with `filter_observations`.
    """
    return specimens.as_measured(images, self.experiment.data)


def load(workdir: str | os.PathLike, step: int | None = None) -> tuple[Model, int]:
  """Loads the actor and generator of a run, and the iteration they were saved at.

  Args:
    workdir: of the run.
    step: iteration whose checkpoint is loaded; None for the newest.

  Raises:
    workdir.WorkdirError: if the folder holds no run.
    checkpoint.CheckpointError: if the run has no readable checkpoint.
  """
  model = fresh(workdir_lib.read_experiment(workdir), workdir)
  iteration = checkpoint.read_parts(
    pathlib.Path(workdir) / workdir_lib.CHECKPOINTS,
    step,
    actor=model.actor,
    generator=model.generator,
  )
  return model, iteration


def load_exported(folder: str | os.PathLike) -> tuple[Model, int | None]:
  """Loads the actor and generator of an exported model NAME/VERSION, and the iteration of training
  at which it was exported, None if it does not say.

  Raises:
    ValueError: if it is not a scanner, or scans along a fixed path: an export has the weights only,
      and a fixed path is kept with the run.
    integrity.DamagedModelError: if its files are not those that were exported.
  """
  folder = pathlib.Path(folder)
  integrity.check(folder)
  try:
    text = (folder / integrity.FOLDER / integrity.CONFIG).read_text()
    experiment = config.Experiment.from_json(text)
  except (OSError, ValueError, TypeError, KeyError) as error:
    raise ValueError(
      f"{folder} is no exported scanner ({error}): name one that launch.export wrote of a run of "
      "launch.train, or the run."
    ) from None
  if experiment.scan.path not in path_names.MOVING:
    raise ValueError(
      f"{folder} scans along a fixed path ({experiment.scan.path}), which is kept with its run: "
      "name the run."
    )
  model = fresh(experiment)
  # The names are those under which ServedModel, the module that is exported, keeps the networks.
  networks = tf.train.Checkpoint(actor=model.actor, generator=model.generator)
  networks.read(str(folder / integrity.VARIABLES)).assert_existing_objects_matched()
  return model, integrity.iteration(folder)


def fresh(experiment: config.Experiment, workdir: str | os.PathLike = ".") -> Model:
  """Returns a model with initial weights, to measure speed or to load weights into.

  Args:
    experiment: its configuration.
    workdir: folder that a fixed path was kept in, if the experiment has one.
  """
  weights = initialisers.Weights(experiment.seed)
  actor = agent.make_actor(experiment, weights)
  generator = agent.make_generator(experiment, weights)
  policy = intensities.make_network_inputs(experiment.data.normalise).policy(actor)
  positions = workdir_lib.read_path(experiment.scan, workdir)
  return Model(
    experiment, actor, generator, path_names.make_path(experiment.scan, policy, positions)
  )


def of_learner(learner: Learner) -> Model:
  """Returns the model that a learner trains."""
  return Model(learner.experiment, learner.actor, learner.generator, learner.path)
