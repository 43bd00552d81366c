"""The workdir of a run: the files that say what was trained, along which path, and how it ended.

Reading a workdir needs no network and no training loop, so everything that works with runs can
import this module.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from absl import logging

from adaptive_stem_tf import config, integrity, writing
from adaptive_stem_tf.scan import path_names
from adaptive_stem_tf.settings import Composite

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"
_PATH = "path.npy"
_INPUTS = "inputs.json"
_DIVERGED = "diverged.json"
_SAME = ("shape", "type", "sha256")  # parts of a digest that must not change
_Kind = TypeVar("_Kind", bound=Composite)


class WorkdirError(ValueError):
  """The workdir holds another experiment, or none."""


class InFiles(NamedTuple):
  """An array that is kept in files, since it may not fit into memory."""

  shape: tuple[int, ...]
  dtype: np.dtype
  parts: Callable[[], Iterable[np.ndarray]]  # its values, one after another
  stamp: str  # differs once the files change


def open_workdir(workdir: pathlib.Path, experiment: Composite) -> None:
  """Makes the workdir with its configuration, or checks that it holds the same.

  Raises:
    WorkdirError: if it holds an experiment that differs, naming the fields.
  """
  file = workdir / CONFIG
  if file.exists():
    differing = read_config(workdir, type(experiment)).differences(experiment)
    if differing:
      fields = "; ".join(
        f"{name} is {old!r} there and {new!r} here" for name, (old, new) in differing.items()
      )
      raise WorkdirError(
        f"{workdir} holds another experiment: {fields}. Choose another workdir, or these values."
      )
    return
  writing.text(file, experiment.to_json())


def read_experiment(workdir: str | os.PathLike) -> config.Experiment:
  """Reads the configuration of the run of an adaptive scanner, or of a generator for another path.

  Raises:
    WorkdirError: if the folder holds none, or one that cannot be read.
  """
  return read_config(workdir, config.Experiment)


def read_config(workdir: str | os.PathLike, kind: type[_Kind]) -> _Kind:
  """Reads the configuration of a run of some kind.

  Raises:
    WorkdirError: if the folder holds none, or one that cannot be read as such.
  """
  file = pathlib.Path(workdir) / CONFIG
  if not file.is_file():
    raise WorkdirError(
      f"{workdir} holds no run: {CONFIG} is missing. Give the --workdir of a training."
    )
  try:
    return kind.from_json(file.read_text())
  except (ValueError, TypeError, AttributeError) as error:
    raise WorkdirError(f"{file} cannot be read: {error}") from error


def read_settings(place: str | os.PathLike) -> dict[str, Any]:
  """Returns the configuration of a run or an exported model as JSON holds it.

  It tells which kind of run this is. It is empty if there is none that can be read.
  """
  folder = pathlib.Path(place)
  if integrity.is_exported(folder):
    folder /= integrity.FOLDER
  try:
    settings = json.loads((folder / CONFIG).read_text())
  except (OSError, ValueError):
    return {}  # reading it as the kind that is expected raises the error
  return settings if isinstance(settings, dict) else {}


def keep_inputs(workdir: str | os.PathLike, **inputs: np.ndarray | InFiles) -> None:
  """Keeps a digest of what a run learns from, or checks that it is what the run began with.

  A replay names specimens by their rows: a run resumed on other specimens would learn from scans of
  one and targets of another.

  Args:
    workdir: of the run.
    **inputs: arrays by their names, say `specimens`. Arrays in files are read when the run begins,
      and when their stamps have changed.

  Raises:
    WorkdirError: if one differs, saying which and how.
  """
  file = pathlib.Path(workdir) / _INPUTS
  kept = json.loads(file.read_text()) if file.is_file() else {}
  if not kept and any((file.parent / CHECKPOINTS).glob("step_*")):
    logging.warning("%s does not say what it was trained on: give the same specimens now.", workdir)
  digests = {name: _digest(array, kept.get(name)) for name, array in inputs.items()}
  differing = [
    f"{name} of shape {kept[name]['shape']} there and {now['shape']} here"
    if kept[name]["shape"] != now["shape"]
    else f"{name} of the same shape {now['shape']} but other contents"
    for name, now in digests.items()
    if name in kept and any(kept[name][part] != now[part] for part in _SAME)
  ]
  if differing:
    raise WorkdirError(
      f"{workdir} was trained on something else: {'; '.join(differing)}. Give it what it began "
      "with, or choose another workdir."
    )
  writing.text(file, json.dumps({**kept, **digests}, indent=1))


def _digest(array: np.ndarray | InFiles, kept: dict[str, Any] | None) -> dict[str, Any]:
  """Returns the digest of an array; `kept` is the one that a workdir holds, if any."""
  about = {"shape": list(array.shape), "type": str(array.dtype)}
  if isinstance(array, np.ndarray):
    return {**about, "sha256": hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()}
  if kept and kept.get("stamp") == array.stamp:
    return kept
  digest = hashlib.sha256()
  for part in array.parts():
    digest.update(np.ascontiguousarray(part, array.dtype).data)
  return {**about, "sha256": digest.hexdigest(), "stamp": array.stamp}


def keep_path(workdir: str | os.PathLike, positions: np.ndarray) -> None:
  """Keeps the probing positions of a run's fixed path in its workdir.

  Args:
    workdir: of the run.
    positions: [T * n, 2] px, or [K, T * n, 2] if several are drawn from.
  """
  file = pathlib.Path(workdir) / _PATH
  with writing.whole(file) as unfinished, open(unfinished, "wb") as stream:
    np.save(stream, positions)


def holds_path(workdir: str | os.PathLike) -> bool:
  """Returns whether a workdir holds the probing positions of a fixed path."""
  return (pathlib.Path(workdir) / _PATH).is_file()


def read_path(scan: config.ScanGeometry, workdir: str | os.PathLike) -> np.ndarray | None:
  """Returns the probing positions that `keep_path` kept; None if the path moves.

  Raises:
    ValueError: if they are missing.
  """
  if scan.path in path_names.MOVING:
    return None
  if not holds_path(workdir):
    raise ValueError(
      f"{workdir} was trained along a fixed path ({scan.path}) but {_PATH} is missing there."
    )
  return np.load(pathlib.Path(workdir) / _PATH)


def record_divergence(workdir: str | os.PathLike, iteration: int, error: str) -> None:
  """Keeps the iteration at which a loss was no longer finite, and the error's message."""
  file = pathlib.Path(workdir) / _DIVERGED
  writing.text(file, json.dumps({"iteration": iteration, "error": error}, indent=1))


def forget_divergence(workdir: str | os.PathLike) -> None:
  """Removes what `record_divergence` kept: the run goes on."""
  (pathlib.Path(workdir) / _DIVERGED).unlink(missing_ok=True)


def diverged_at(workdir: str | os.PathLike) -> int | None:
  """Returns the iteration at which a run met a loss that is not finite; None if it did not."""
  file = pathlib.Path(workdir) / _DIVERGED
  return json.loads(file.read_text())["iteration"] if file.is_file() else None


def is_finished(workdir: str | os.PathLike) -> bool:
  """Returns whether a workdir holds a run that reached its last iteration, or diverged."""
  workdir = pathlib.Path(workdir)
  if not (workdir / CONFIG).is_file():
    return False
  last = read_experiment(workdir).optimisation.iterations
  return diverged_at(workdir) is not None or (workdir / CHECKPOINTS / f"step_{last:09d}").is_dir()
