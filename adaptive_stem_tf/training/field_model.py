"""Trained scanners of whole fields: a generator that completes, and an actor that decides."""

import os
import pathlib
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from adaptive_stem_tf import field_config, integrity
from adaptive_stem_tf.fields.rounds import Policy
from adaptive_stem_tf.fields.state import FEATURES, Cells, Completion
from adaptive_stem_tf.learning import field_agent
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.training import checkpoint
from adaptive_stem_tf.training import workdir as workdir_lib


class FieldModel(Protocol):
  """A model that scans and completes whole fields of any size."""

  rounds: int  # R, rounds after the survey
  survey: float  # share of the budget that the survey takes
  cell: int  # width of the cells that decisions are made for, px
  pairs: float  # share of the budget that the survey spends beside its own positions

  def complete(self, partial: tf.Tensor, mask: tf.Tensor) -> Completion:
    """Completes partial fields [B, H, W, 1], 0 where the mask [B, H, W, 1] is 0."""

  def policy(self, cells: Cells, state: Any) -> tuple[tf.Tensor, Any]:
    """Returns log weights [B, h, w, 1] for the next round, and the next recurrent state."""

  def initial_state(self, batch: int | tf.Tensor, rows: Any, columns: Any) -> Any:
    """Returns the recurrent state before the first round of fields of rows x columns cells."""


class TrainedModel(tf.Module):
  """The soft copies of a run's networks, which are evaluated and exported."""

  def __init__(self, experiment: field_config.FieldExperiment, name: str = "field_model"):
    super().__init__(name=name)
    self.experiment = experiment
    scan = experiment.scan
    weights = initialisers.Weights(experiment.seed)
    self.rounds, self.survey = scan.rounds, scan.survey
    self.cell, self.pairs = scan.cell, scan.pairs
    self.generator = field_agent.make_generator(experiment, weights)
    self.actor = field_agent.make_actor(experiment, weights)

  def complete(self, partial: tf.Tensor, mask: tf.Tensor) -> Completion:
    """Completes partial fields [B, H, W, 1], 0 where the mask [B, H, W, 1] is 0."""
    return self.generator(partial, mask)

  @property
  def policy(self) -> Policy:
    """Returns the actor, without exploration."""
    return self.actor

  def initial_state(self, batch: int | tf.Tensor, rows: Any, columns: Any) -> tf.Tensor:
    """Returns the recurrent state before the first round of fields of rows x columns cells."""
    return self.actor.initial_state(tf.zeros(tf.stack([batch, rows, columns, FEATURES])))


class Restored(NamedTuple):
  """A model and where it comes from."""

  model: TrainedModel
  iteration: int | None  # of training; None where an exported model does not say


def restore(workdir: str | os.PathLike, step: int | None = None) -> Restored:
  """Restores the soft copies of a run's generator and actor.

  Args:
    workdir: of a training of whole fields.
    step: iteration of the checkpoint; None for the newest that can be read.

  Raises:
    workdir.WorkdirError: if the folder holds no run of whole fields.
    checkpoint.CheckpointError: if it holds no checkpoint that can be read.
  """
  model = TrainedModel(workdir_lib.read_config(workdir, field_config.FieldExperiment))
  iteration = checkpoint.read_parts(
    pathlib.Path(workdir) / workdir_lib.CHECKPOINTS,
    step,
    average_generator=model.generator,
    average_actor=model.actor,
  )
  return Restored(model, iteration)


def read_experiment(place: str | os.PathLike) -> field_config.FieldExperiment:
  """Returns the configuration of a run, or of an exported model NAME/VERSION, of whole fields.

  Raises:
    ValueError: if the folder holds neither.
  """
  folder = pathlib.Path(place)
  if not integrity.is_exported(folder):
    return workdir_lib.read_config(folder, field_config.FieldExperiment)
  try:
    text = (folder / integrity.FOLDER / integrity.CONFIG).read_text()
    return field_config.FieldExperiment.from_json(text)
  except (OSError, ValueError, TypeError, KeyError) as error:
    raise ValueError(
      f"{folder} is not an exported model of whole fields ({error}): name one that launch.export "
      "wrote from a run of launch.train_fields, or the run."
    ) from None


def load(place: str | os.PathLike) -> Restored:
  """Returns the networks of a run, or of an exported model NAME/VERSION.

  Raises:
    ValueError: if the folder holds neither.
    integrity.DamagedModelError: if an exported model's files are not those that were exported.
    checkpoint.CheckpointError: if a run holds no checkpoint that can be read.
  """
  folder = pathlib.Path(place)
  if not integrity.is_exported(folder):
    return restore(folder)
  integrity.check(folder)
  model = TrainedModel(read_experiment(folder))
  # ServedFields, which is exported, keeps the networks under this name.
  networks = tf.train.Checkpoint(generator=model.generator, actor=model.actor)
  reader = tf.train.Checkpoint(model=networks)
  reader.read(str(folder / integrity.VARIABLES)).assert_existing_objects_matched()
  return Restored(model, integrity.iteration(folder))
