"""Runs a SavedModel in this process, with the face of a client or of the fast path."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.serving import contract, extra, stepping
from adaptive_stem_tf.serving.geometry import Geometry

_STATE = "state_"


class LocalModel:
  """A SavedModel.

  Args:
    folder: NAME/VERSION.

  Raises:
    FileNotFoundError: if there is none.
  """

  def __init__(self, folder: str | os.PathLike):
    folder = pathlib.Path(folder)
    if not (folder / "saved_model.pb").is_file():
      raise FileNotFoundError(f"{folder} holds no SavedModel: launch.export writes one.")
    self._loaded = tf.saved_model.load(str(folder))
    self._run = dict(self._loaded.signatures)
    self.geometry: Geometry = stepping.geometry_of(contract.of_protos(extra.read_protos(folder)))

  def start(self, count: int) -> dict[str, np.ndarray]:
    """Starts scans."""
    return _arrays(self._run["start"](scan_id=tf.range(count, dtype=tf.int64)))

  def step(self, observation: np.ndarray, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the next segment, given what was measured at the last answer's positions."""
    state = {name: tf.convert_to_tensor(value) for name, value in answer.items() if name.startswith(_STATE)}
    return _arrays(self._run["step"](observation=tf.convert_to_tensor(observation), **state))

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes partial scans [B, S, S, 2]."""
    return self._run["complete"](partial_scan=tf.convert_to_tensor(partial_scans))["completion"].numpy()


def _arrays(tensors):
  return {name: value.numpy() for name, value in tensors.items()}
