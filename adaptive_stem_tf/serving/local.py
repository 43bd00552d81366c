"""Runs a SavedModel in this process; shares one interface with clients and the fast path."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import integrity
from adaptive_stem_tf.serving import contract, extra, stepping
from adaptive_stem_tf.serving.geometry import Geometry

_STATE = "state_"
_SIGNATURES = ("start", "step", "complete", "scan")


class ModelError(ValueError):
  """The folder does not hold a model that scans."""


def check_folder(folder: pathlib.Path, flag: str = "model") -> None:
  """Checks that a folder holds an exported model whose files are intact, without loading it.

  Args:
    folder: NAME/VERSION.
    flag: by which the user named it, for the error.

  Raises:
    ModelError: if there is no SavedModel in the folder.
    integrity.DamagedModelError: if its files are not those that were exported.
  """
  if integrity.is_exported(folder):
    integrity.check(folder)
    return
  versions = (
    sorted(entry.name for entry in folder.iterdir() if entry.name.isdigit())
    if folder.is_dir()
    else []
  )
  hint = (
    f"give a version of it, such as {folder}/{versions[-1]}"
    if versions
    else ("give a folder NAME/VERSION that `python -m launch.export` wrote")
  )
  wrong = f"holds no {integrity.GRAPH}" if folder.exists() else "does not exist"
  raise ModelError(f"{flag}={folder} {wrong}: {hint}.")


class LocalModel:
  """A SavedModel.

  Args:
    folder: NAME/VERSION.

  Raises:
    ModelError: if there is none, or it lacks a signature that `launch.export` gives.
  """

  def __init__(self, folder: str | os.PathLike):
    folder = pathlib.Path(folder)
    check_folder(folder)
    signatures = contract.of_protos(extra.read_protos(folder))
    missing = [name for name in _SIGNATURES if name not in signatures]
    if missing:
      raise ModelError(
        f"model={folder} has no signature {', '.join(missing)}: export it by `python -m "
        "launch.export`."
      )
    self._loaded = tf.saved_model.load(str(folder))
    self._run = dict(self._loaded.signatures)
    self.geometry: Geometry = stepping.geometry_of(signatures)

  def start(self, count: int) -> dict[str, np.ndarray]:
    """Starts scans."""
    return _arrays(self._run["start"](scan_id=tf.range(count, dtype=tf.int64)))

  def step(self, observation: np.ndarray, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the next segment, from intensities measured at the last answer's positions."""
    state = {
      name: tf.convert_to_tensor(value) for name, value in answer.items() if name.startswith(_STATE)
    }
    return _arrays(self._run["step"](observation=tf.convert_to_tensor(observation), **state))

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes partial scans [B, S, S, 2]."""
    return self._run["complete"](partial_scan=tf.convert_to_tensor(partial_scans))[
      "completion"
    ].numpy()

  def scan(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Scans whole images [B, S, S, 1] at once: path, partial_scan and completion."""
    return _arrays(self._run["scan"](image=tf.convert_to_tensor(images)))


def _arrays(tensors):
  return {name: value.numpy() for name, value in tensors.items()}
