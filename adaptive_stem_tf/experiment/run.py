"""The training run: scan, add, sample, step, log, checkpoint."""

import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from adaptive_stem_tf import config, input_pipeline
from adaptive_stem_tf.experiment import checkpoint, fixed_path, metrics_writer
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.types import LearnerMetrics

_CONFIG = "config.json"


class NotFiniteError(FloatingPointError):
  """A loss or gradient is not a number, or infinite.

  Attributes:
    iteration: the first that is not finite.
  """

  def __init__(self, message: str, iteration: int):
    super().__init__(message)
    self.iteration = iteration


class WorkdirError(ValueError):
  """The workdir holds another experiment."""


def set_up_tensorflow(run: config.Run) -> None:
  """Fixes threads and determinism; call it before TensorFlow computes anything."""
  threads = run.threads or os.cpu_count() or 1
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  if run.deterministic:
    tf.config.experimental.enable_op_determinism()


def open_workdir(workdir: pathlib.Path, experiment: config.Experiment) -> None:
  """Makes the workdir with its configuration, or checks that it holds the same.

  Raises:
    WorkdirError: if it holds an experiment that differs, naming the fields.
  """
  path = workdir / _CONFIG
  if path.exists():
    differing = read_experiment(workdir).differences(experiment)
    if differing:
      fields = "; ".join(f"{name} is {old!r} there and {new!r} here" for name, (old, new) in differing.items())
      raise WorkdirError(f"{workdir} holds another experiment: {fields}. Choose another workdir, or these values.")
    return
  workdir.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_suffix(".tmp")
  unfinished.write_text(experiment.to_json())
  unfinished.rename(path)


def read_experiment(workdir: str | os.PathLike) -> config.Experiment:
  """Reads the configuration of a run.

  Raises:
    WorkdirError: if the folder holds none, or one that cannot be read.
  """
  path = pathlib.Path(workdir) / _CONFIG
  if not path.is_file():
    raise WorkdirError(f"{workdir} holds no run: {_CONFIG} is missing. Give the --workdir of a training.")
  try:
    return config.Experiment.from_json(path.read_text())
  except (ValueError, TypeError, AttributeError) as error:
    raise WorkdirError(f"{path} cannot be read: {error}") from error


class Run:
  """One experiment in one workdir, resumed if it was begun there."""

  def __init__(self, experiment: config.Experiment, settings: config.Run, splits: input_pipeline.Splits,
               workdir: str | os.PathLike):
    """Builds the learner and restores the newest checkpoint, if any.

    Raises:
      WorkdirError: if the workdir holds another experiment.
      checkpoint.CheckpointError: if it holds only damaged checkpoints.
    """
    self.workdir, self._settings = pathlib.Path(workdir), settings
    open_workdir(self.workdir, experiment)
    path = fixed_path.resolve(experiment.scan, self.workdir, splits.train)
    self.learner = learner_lib.Learner(experiment, tf.constant(splits.train), settings.jit, path)
    self._checkpoints = checkpoint.Checkpoints(self.workdir / "checkpoints", self.learner, settings.keep_checkpoints,
                                                settings.milestone)
    self.started_at = self._checkpoints.restore() or 0
    self._saved_at = self.started_at if self.started_at else None
    self._iterations = experiment.optimisation.iterations
    self._draws = input_pipeline.draws(
        len(splits.train), experiment.optimisation.batch_size, experiment.seed, experiment.data.augment,
        self.started_at)
    self._writer = metrics_writer.MetricsWriter(self.workdir, self.started_at)

  def train(self, picture: Callable[["Run", int], None] | None = None) -> bool:
    """Trains to the end, or until SIGTERM or Ctrl-C, and saves.

    Args:
      picture: called with this run and the iteration whenever pictures are due.

    Returns:
      Whether training reached its last iteration.

    Raises:
      NotFiniteError: if a loss or gradient is not finite; the last good checkpoint stays.
      checkpoint.CheckpointError: if the last checkpoint cannot be written.
    """
    iteration = self.started_at
    try:
      with StopRequest() as stop, tqdm.tqdm(
          total=self._iterations, initial=iteration, unit="it", disable=not self._settings.progress,
          dynamic_ncols=True, mininterval=1.0) as bar:
        for iteration, row in self._rows(self._steps()):
          bar.set_postfix_str(f"10 MSE {row['generator_loss']:.3f}, critic {row['critic_loss']:.3f}, "
                              f"actor {row['actor_loss']:.3f}", refresh=False)
          bar.update(iteration - bar.n)
          done = stop.requested or iteration == self._iterations
          due = self._due(iteration, self._settings.checkpoint_every) or iteration == self._settings.milestone
          if due and not done:
            self._save(iteration)
          if picture and self._settings.picture_every and (self._due(iteration, self._settings.picture_every) or done):
            picture(self, iteration)
          if done:
            break
      if self._saved_at != iteration:
        self._checkpoints.save(iteration)
    finally:
      self._writer.close()
    return iteration == self._iterations

  def show(self, iteration: int, name: str, image) -> None:
    """Shows an image [H, W, 3] uint8 in TensorBoard."""
    self._writer.picture(iteration, name, image)

  def _steps(self) -> Iterator[tuple[int, LearnerMetrics]]:
    """Yields each iteration's number, counted from 1, and metrics."""
    for iteration in range(self.started_at + 1, self._iterations + 1):
      yield iteration, self.learner.step(next(self._draws))

  def _rows(self, steps) -> Iterator[tuple[int, dict[str, float]]]:
    """Logs the mean metrics of every few iterations; yields what it logs."""
    kept: list[tuple[int, LearnerMetrics]] = []
    for iteration, metrics in steps:
      kept.append((iteration, metrics))
      if any(self._due(iteration, every) for every in self._row_periods()) or iteration == self._settings.milestone:
        yield iteration, self._log(kept)
        kept = []

  def _row_periods(self):
    s = self._settings
    return [s.log_every, s.checkpoint_every, self._iterations] + ([s.picture_every] if s.picture_every else [])

  def _log(self, kept) -> dict[str, float]:
    columns = tf.stack([tf.stack(metrics) for _, metrics in kept]).numpy()
    for (iteration, _), values in zip(kept, columns):
      not_finite = [name for name, value in zip(LearnerMetrics._fields, values) if not np.isfinite(value)]
      if not_finite:
        saved = "none was saved yet" if self._saved_at is None else f"the last is of iteration {self._saved_at}"
        raise NotFiniteError(f"{', '.join(not_finite)} of iteration {iteration} is not finite: lower the learning "
                             f"rate, or clip gradients (--clip). Checkpoints are good ({saved}).", iteration)
    row = dict(zip(LearnerMetrics._fields, columns.mean(0).tolist()))
    self._writer.write(kept[-1][0], row)
    return row

  def _save(self, iteration):
    try:
      self._checkpoints.save(iteration)
      self._saved_at = iteration
    except checkpoint.CheckpointError as error:
      logging.warning("Training goes on without it: %s", error)

  @staticmethod
  def _due(iteration, every):
    return iteration % every == 0


class StopRequest:
  """Turns the first SIGTERM or Ctrl-C into a request; the second acts at once."""

  def __init__(self):
    self.requested = False
    self._previous: dict[int, Any] = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._previous = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
    return self

  def __exit__(self, *_):
    self._restore()

  def _request(self, *_):
    self.requested = True
    logging.warning("Stopping at the next row of metrics, to save. Once more to stop at once.")
    self._restore()

  def _restore(self):
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}
