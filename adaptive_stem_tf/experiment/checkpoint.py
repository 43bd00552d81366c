"""Checkpoints: everything needed to resume a run, by step, each whole or absent."""

import os
import pathlib
import shutil

import tensorflow as tf
from absl import logging

_PREFIX = "state"
_UNREADABLE = (tf.errors.OpError, ValueError, AssertionError, OSError)


class CheckpointError(RuntimeError):
  """No checkpoint could be saved or restored."""


class Checkpoints:
  """Saves and restores one trackable in `directory/step_<iteration>/`.

  A checkpoint is written beside the others and renamed when it is complete, so a kill or
  a full disk leaves those before it whole. The newest `keep` are kept. Restoring falls
  back to an older one if the newest is damaged.
  """

  def __init__(self, directory: str | os.PathLike, trackable: tf.Module, keep: int = 2):
    self._directory = pathlib.Path(directory)
    self._checkpoint = tf.train.Checkpoint(learner=trackable)
    self._keep = keep

  def steps(self) -> list[int]:
    """Returns the iterations that have a checkpoint, oldest first."""
    return sorted(int(path.name[5:]) for path in self._directory.glob("step_*"))

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
      raise CheckpointError(f"the checkpoint of iteration {step} could not be written to {self._directory} ({error}): "
                            "free some space; earlier checkpoints are whole.") from error
    for old in self.steps()[: -self._keep]:
      shutil.rmtree(self._path(old), ignore_errors=True)
    return final

  def restore(self) -> int | None:
    """Restores the newest readable checkpoint; returns its iteration, None if there is none.

    Raises:
      CheckpointError: if there are checkpoints and none can be read.
    """
    steps = self.steps()
    for step in reversed(steps):
      try:
        status = self._checkpoint.read(str(self._path(step) / _PREFIX))
        status.assert_existing_objects_matched().expect_partial()
        return step
      except _UNREADABLE as error:
        logging.warning("The checkpoint of iteration %d in %s is damaged (%s): trying the one before.", step,
                        self._directory, str(error).splitlines()[0])
    if steps:
      raise CheckpointError(f"none of the checkpoints in {self._directory} (iterations {steps}) can be read: "
                            "restore the folder from a backup or start in a new workdir.")
    return None

  def _path(self, step):
    return self._directory / f"step_{step:09d}"


def read_parts(directory: str | os.PathLike, **parts: tf.Module) -> int:
  """Restores some parts of a learner, say its actor and generator, from the newest readable checkpoint.

  Returns:
    The checkpoint's iteration.

  Raises:
    CheckpointError: if there is none that can be read.
  """
  checkpoints = Checkpoints(directory, tf.train.Checkpoint(**parts))
  step = checkpoints.restore()
  if step is None:
    raise CheckpointError(f"{directory} holds no checkpoint: train first (python -m launch.train --workdir=...).")
  return step


def _flush(directory):
  """Asks the system to put the folder's files on the disk before they are renamed into place."""
  for path in directory.iterdir():
    with open(path, "rb") as file:
      os.fsync(file.fileno())
