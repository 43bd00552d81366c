"""Checkpoints: everything needed to resume a run, by step, each whole or absent."""

import os
import pathlib
import shutil

import tensorflow as tf
from absl import logging

_PREFIX = "state"
# TensorFlow turns its reader's statuses into Python's errors: a truncated file is an IndexError.
_UNREADABLE = (tf.errors.OpError, ValueError, AssertionError, OSError, LookupError, RuntimeError)


class CheckpointError(RuntimeError):
  """No checkpoint could be saved or restored."""


class Checkpoints:
  """Saves and restores one trackable in `directory/step_<iteration>/`.

  A checkpoint is written beside the others and renamed when it is complete, so a kill or
  a full disk leaves those before it whole. The newest `keep` are kept, and that of the
  iteration `milestone`. Restoring falls back to an older one if the newest is damaged; the
  damaged one goes when the next is saved, so that it does not count as one of the newest.
  """

  def __init__(
    self, directory: str | os.PathLike, trackable: tf.Module, keep: int = 2, milestone: int = 0
  ):
    self._directory = pathlib.Path(directory)
    self._checkpoint = tf.train.Checkpoint(learner=trackable)
    self._keep, self._milestone = keep, milestone
    self._damaged: list[int] = []

  def steps(self) -> list[int]:
    """Returns the iterations that have a checkpoint, oldest first."""
    return sorted(
      int(entry.name[5:]) for entry in self._directory.glob("step_*") if entry.name[5:].isdigit()
    )

  def save(self, step: int) -> pathlib.Path:
    """Writes the checkpoint of iteration `step` and removes those no longer kept.

    Raises:
      CheckpointError: if it cannot be written; earlier checkpoints are untouched.
    """
    final, unfinished = self._path(step), self._directory / "unfinished.tmp"
    try:
      shutil.rmtree(unfinished, ignore_errors=True)
      unfinished.mkdir(parents=True)
      self._checkpoint.write(str(unfinished / _PREFIX))
      _flush(unfinished)
      shutil.rmtree(final, ignore_errors=True)  # of the same step, from before a resume
      unfinished.rename(final)
    except (tf.errors.OpError, OSError) as error:
      shutil.rmtree(unfinished, ignore_errors=True)
      raise CheckpointError(
        f"the checkpoint of iteration {step} could not be written to {self._directory} "
        f"({_message(error)}): free some space; earlier checkpoints are whole."
      ) from error
    self._prune(step)
    return final

  def _prune(self, newest):
    """Removes what is no longer kept, now that iteration `newest` is saved."""
    damaged = [step for step in self._damaged if step != newest]
    counted = [step for step in self.steps() if step not in (*damaged, self._milestone)]
    for step in [*damaged, *counted[: -self._keep]]:
      if step != newest:
        shutil.rmtree(self._path(step), ignore_errors=True)
    self._damaged = []

  def restore(self, step: int | None = None) -> int | None:
    """Restores the checkpoint of iteration `step`, or else the newest that can be read.

    Returns:
      The checkpoint's iteration; None if there is none.

    Raises:
      CheckpointError: if there are such checkpoints and none can be read.
    """
    steps = self.steps() if step is None else [kept for kept in self.steps() if kept == step]
    self._damaged = []
    for step in reversed(steps):
      try:
        status = self._checkpoint.read(str(self._path(step) / _PREFIX))
        status.assert_existing_objects_matched().expect_partial()
        return step
      except _UNREADABLE as error:
        logging.warning(
          "The checkpoint of iteration %d in %s is damaged (%s): trying the one before.",
          step,
          self._directory,
          str(error).splitlines()[0],
        )
        self._damaged.append(step)
    if steps:
      raise CheckpointError(
        f"none of the checkpoints in {self._directory} (iterations {steps}) can be read: "
        "restore the folder from a backup or start in a new workdir."
      )
    return None

  def _path(self, step):
    return self._directory / f"step_{step:09d}"


def read_parts(directory: str | os.PathLike, step: int | None = None, **parts: tf.Module) -> int:
  """Restores some parts of a learner, say its actor and generator, from one checkpoint.

  Args:
    directory: of the checkpoints.
    step: its iteration; None for the newest that can be read.
    **parts: of the learner, by their names there.

  Returns:
    The checkpoint's iteration.

  Raises:
    CheckpointError: if there is none that can be read.
  """
  checkpoints = Checkpoints(directory, tf.train.Checkpoint(**parts))
  restored = checkpoints.restore(step)
  if restored is None:
    which = "" if step is None else f" of iteration {step}"
    raise CheckpointError(
      f"{directory} holds no checkpoint{which}: train first (python -m launch.train "
      "--workdir=...; --milestone keeps a chosen iteration)."
    )
  return restored


def not_finite(module: tf.Module) -> list[str]:
  """Returns the names of a module's variables that hold a NaN or an infinity."""
  floating = [variable for variable in module.variables if variable.dtype.is_floating]
  finite = [tf.reduce_all(tf.math.is_finite(variable)) for variable in floating]
  return [variable.name for variable, good in zip(floating, finite) if not good]


def _message(error):
  """Returns an error's message without TensorFlow's operations and names of temporary files."""
  message = error.message if isinstance(error, tf.errors.OpError) else str(error)
  return message.rpartition("; ")[2].partition(" [Op:")[0]


def _flush(directory):
  """Flushes the folder's files to the disk before they are renamed into place."""
  for file in directory.iterdir():
    with open(file, "rb") as stream:
      os.fsync(stream.fileno())
