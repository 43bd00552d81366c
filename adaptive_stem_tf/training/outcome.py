"""Trains a run, and tells how it ended."""

import json
import os
import pathlib
from collections.abc import Callable

from adaptive_stem_tf.training import run

_DIVERGED = "diverged.json"


def train(running: run.Run, picture: Callable[[run.Run, int], None] | None = None) -> bool:
  """Trains a run to its end, or until it is told to stop; `picture` as in `run.Run.train`.

  A learning rate sweep is meant to go too far: it ends normally where its losses are no
  longer finite. Where any run met its first such loss stays in its workdir, until it is resumed.

  Returns:
    Whether training reached its end.

  Raises:
    run.NotFiniteError: if a loss or gradient is not finite, unless in a sweep.
    checkpoint.CheckpointError: if the last checkpoint cannot be written.
  """
  (running.workdir / _DIVERGED).unlink(missing_ok=True)
  try:
    return running.train(picture)
  except run.NotFiniteError as error:
    found = {"iteration": error.iteration, "error": str(error)}
    (running.workdir / _DIVERGED).write_text(json.dumps(found, indent=1))
    if getattr(running.learner.experiment.optimisation, "schedule", None) == "sweep":
      return True
    raise


def diverged_at(workdir: str | os.PathLike) -> int | None:
  """Returns the iteration at which a run met a loss that is not finite; None if it did not."""
  path = pathlib.Path(workdir) / _DIVERGED
  return json.loads(path.read_text())["iteration"] if path.is_file() else None


def is_finished(workdir: str | os.PathLike) -> bool:
  """Returns whether a workdir holds a run that reached its last iteration, or diverged."""
  workdir = pathlib.Path(workdir)
  if not (workdir / "config.json").is_file():
    return False
  last = run.read_experiment(workdir).optimisation.iterations
  return diverged_at(workdir) is not None or (workdir / "checkpoints" / f"step_{last:09d}").is_dir()
