"""The training run: draw, step, log, checkpoint, whatever the learner learns."""

import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from adaptive_stem_tf import config, input_pipeline, writing
from adaptive_stem_tf.training import checkpoint, distribution, metrics_writer
from adaptive_stem_tf.training import workdir as workdir_lib
from adaptive_stem_tf.types import Draw, Streamed


class NotFiniteError(FloatingPointError):
  """A loss, a gradient or a variable is not a number, or infinite.

  Attributes:
    iteration: the first that is not finite.
  """

  def __init__(self, message: str, iteration: int):
    super().__init__(message)
    self.iteration = iteration


class Learner(Protocol):
  """What a run trains: a module whose variables are all that training changes."""

  @property
  def experiment(self) -> Any:
    """The configuration: a `settings.Composite` with a section `optimisation` of iterations and
    batch_size.
    """

  @property
  def num_specimens(self) -> int:
    """Number of specimens that draws choose from."""

  @property
  def streamed(self) -> Streamed | None:
    """The data that come with draws; None if the learner holds all specimens."""

  def step(self, draw: Draw) -> Any:
    """Trains for one iteration; returns a NamedTuple of scalars, the same each time."""

  def status(self, row: Mapping[str, float]) -> str:
    """Summarises training in a few words, from the means of some iterations' scalars."""

  def settle(self) -> None:
    """Makes networks ready for use, before the checkpoints of a milestone and of the end."""


class Run:
  """One experiment in one workdir, resumed if it was begun there."""

  def __init__(
    self,
    learner: Any,
    settings: config.RunSettings,
    workdir: pathlib.Path,
    shared: pathlib.Path | None = None,
  ):
    """Restores the newest checkpoint, if any.

    Args:
      learner: the `Learner` to train, a tf.Module.
      settings: when to log, save and draw, and which checkpoints to keep.
      workdir: holds the learner's configuration (`workdir.open_workdir`).
      shared: the workdir of the worker that saves; None, or the same folder, if this one does.

    Raises:
      checkpoint.CheckpointError: if the workdir holds only damaged checkpoints.
    """
    self.workdir, self.learner, self._settings = workdir, learner, settings
    self._saves = shared in (None, workdir)
    self._checkpoints = checkpoint.Checkpoints(
      (shared or workdir) / "checkpoints",
      self.learner,
      settings.keep_checkpoints,
      settings.milestone,
    )
    self.started_at = self._checkpoints.restore() or 0
    self._saved_at = self.started_at if self.started_at else None
    experiment = learner.experiment
    self._iterations = experiment.optimisation.iterations
    self._draws = input_pipeline.draws(
      learner.num_specimens,
      experiment.optimisation.batch_size,
      experiment.seed,
      experiment.data.augment,
      self.started_at,
      learner.streamed,
    )
    self._writer = metrics_writer.MetricsWriter(self.workdir, self.started_at)

  def train(self, picture: Callable[["Run", int], None] | None = None) -> bool:
    """Trains to the end, or until SIGTERM or Ctrl-C, and saves.

    Args:
      picture: called with this run and the iteration whenever pictures are due; if it fails,
        training goes on.

    Returns:
      Whether training reached its last iteration.

    Raises:
      NotFiniteError: if a loss, a gradient or what is to be saved is not finite; the last good
        checkpoint stays.
      checkpoint.CheckpointError: if the last checkpoint cannot be written.
      writing.WriteError: if rows of metrics.csv cannot be written at the end.
      distribution.WorkerLostError: if another worker no longer answers.
    """
    iteration = self.started_at
    try:
      with (
        StopRequest() as stop,
        tqdm.tqdm(
          total=self._iterations,
          initial=iteration,
          unit="it",
          disable=not self._settings.progress,
          dynamic_ncols=True,
          mininterval=1.0,
        ) as bar,
      ):
        if picture and iteration == self._iterations:  # a kill may have come before its pictures
          self._draw(picture, iteration, True)
        for iteration, row in self._rows(self._steps()):
          bar.set_postfix_str(self.learner.status(row), refresh=False)
          bar.update(iteration - bar.n)
          done = stop.requested or iteration == self._iterations
          self._save(iteration, done)  # before the picture, which may fail
          if picture:
            self._draw(picture, iteration, done)
          if done:
            break
    finally:
      self._writer.close()
    return iteration == self._iterations

  @property
  def columns(self) -> Mapping[str, Sequence[float]]:
    """Contents of metrics.csv so far, by column."""
    return self._writer.columns

  def show(self, iteration: int, name: str, image) -> None:
    """Shows an image [H, W, 3] uint8 in TensorBoard."""
    self._writer.picture(iteration, name, image)

  def _steps(self) -> Iterator[tuple[int, Any]]:
    """Yields each iteration's number, counted from 1, and metrics."""
    for iteration in range(self.started_at + 1, self._iterations + 1):
      try:
        metrics = self.learner.step(next(self._draws))
      except distribution.LOST as error:
        raise distribution.WorkerLostError(
          f"another worker was lost at iteration {iteration}; start all of them again: they resume "
          f"from the last checkpoint ({type(error).__name__})."
        ) from error
      yield iteration, metrics

  def _rows(self, steps) -> Iterator[tuple[int, dict[str, float]]]:
    """Logs the mean metrics of every few iterations, and yields each row with its iteration."""
    unlogged: list[tuple[int, Any]] = []
    for iteration, metrics in steps:
      unlogged.append((iteration, metrics))
      if (
        any(self._due(iteration, every) for every in self._row_periods())
        or iteration == self._settings.milestone
      ):
        yield iteration, self._log(unlogged)
        unlogged = []

  def _row_periods(self):
    """Returns the intervals, in iterations, at which anything is due, and so a row."""
    s = self._settings
    return [s.log_every, s.checkpoint_every, self._iterations] + (
      [s.picture_every] if s.picture_every else []
    )

  def _log(self, unlogged) -> dict[str, float]:
    """Writes the means of (iteration, metrics) pairs as a row, if all are finite; returns it."""
    names = unlogged[0][1]._fields
    # One array [iterations, metrics]: reading each scalar from its device would wait for it.
    columns = tf.stack([tf.stack(metrics) for _, metrics in unlogged]).numpy()
    for (iteration, _), values in zip(unlogged, columns):
      self._stop_at([n for n, value in zip(names, values) if not np.isfinite(value)], iteration)
    row = dict(zip(names, columns.mean(0).tolist()))
    self._writer.write(unlogged[-1][0], row)
    return row

  def _save(self, iteration, last):
    """Saves a checkpoint if one is due.

    A failure to write the last one is an error; after any other, training goes on.
    """
    due = self._due(iteration, self._settings.checkpoint_every)
    if iteration in (self._iterations, self._settings.milestone):
      self.learner.settle()
    elif not (last or due):
      return
    # Weights may be infinite an iteration before a loss is.
    self._stop_at(checkpoint.not_finite(self.learner), iteration)
    if not self._saves:
      return
    try:
      if self._writer.behind:  # a run resumed from this checkpoint would miss rows
        raise checkpoint.CheckpointError(
          f"the checkpoint of iteration {iteration} was not written: {workdir_lib.METRICS} in "
          f"{self.workdir} waits for room. Free some space."
        )
      self._checkpoints.save(iteration)
      self._saved_at = iteration
    except checkpoint.CheckpointError as error:
      if last:
        raise
      logging.warning("Training goes on without it: %s", error)

  def _draw(self, picture, iteration, last):
    every = self._settings.picture_every
    if not every or not self._saves or not (last or self._due(iteration, every)):
      return
    try:
      picture(self, iteration)
    except writing.WriteError as error:
      logging.warning("Training goes on without the pictures of iteration %d: %s", iteration, error)
    except Exception:  # a picture may fail for want of a font, and training should go on
      logging.exception("The pictures of iteration %d failed; training goes on.", iteration)

  def _stop_at(self, names, iteration):
    """Ends training at an iteration if there are any names of values that are not finite."""
    if not names:
      return
    last_saved = (
      "none was saved yet"
      if self._saved_at is None
      else f"the last is of iteration {self._saved_at}"
    )
    raise NotFiniteError(
      f"{', '.join(names)} of iteration {iteration} is not finite: lower the learning "
      f"rate, or clip gradients (--clip). Checkpoints are good ({last_saved}).",
      iteration,
    )

  @staticmethod
  def _due(iteration, every):
    return iteration % every == 0


def train(running: Run, picture: Callable[[Run, int], None] | None = None) -> bool:
  """Trains a run to its end, or until it is told to stop; `picture` as in `Run.train`.

  A learning rate sweep is meant to go too far: it ends normally where its losses are no
  longer finite. The workdir of any run keeps the iteration of the first such loss, until the run
  is resumed.

  Returns:
    Whether training reached its end.

  Raises:
    NotFiniteError: if a loss or gradient is not finite, unless in a sweep.
    checkpoint.CheckpointError: if the last checkpoint cannot be written.
  """
  workdir_lib.forget_divergence(running.workdir)
  try:
    return running.train(picture)
  except NotFiniteError as error:
    workdir_lib.record_divergence(running.workdir, error.iteration, str(error))
    if getattr(running.learner.experiment.optimisation, "schedule", None) == "sweep":
      return True
    raise


class StopRequest:
  """Turns the first SIGTERM or Ctrl-C into a request; the second acts at once."""

  def __init__(self):
    self.requested = False
    self._previous: dict[int, Any] = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._previous = {
        number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)
      }
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
