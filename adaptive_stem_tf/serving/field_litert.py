"""A scanner of whole fields in LiteRT, for fields of one size.

A folder holds:

  plan.tflite       signature `plan` of the SavedModel, without next_positions
  complete.tflite   signature `complete`

Both use only built-in operations. LiteRT has no assertions: callers check inputs themselves.
"""

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.serving import served_fields
from adaptive_stem_tf.training.field_model import TrainedModel

NAMES = ("complete", "plan")


class _Fast(served_fields.ServedFields):
  """The functions without next_positions, whose varying length LiteRT has no operations for."""

  def plan(self, *inputs, **named):
    """Decides what is measured next."""
    answer = super().plan(*inputs, **named)
    return {name: value for name, value in answer.items() if name != "next_positions"}


def convert(model: TrainedModel, folder: pathlib.Path, side: int) -> None:
  """Writes plan.tflite and complete.tflite.

  Args:
    model: the model to convert.
    folder: made if it is missing.
    side: of the fields, px.
  """
  folder.mkdir(parents=True, exist_ok=True)
  served = _Fast(model)
  for name, function in served.signatures(1, side, NAMES).items():
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], served)
    (folder / f"{name}.tflite").write_bytes(converter.convert())


class FastFields:
  """The files that `convert` wrote, loaded.

  Attributes:
    side: of the fields, px.
  """

  def __init__(self, folder: pathlib.Path, threads: int = 0):
    """Loads the two files.

    Args:
      folder: that holds them.
      threads: number of threads that compute; 0 for one on each core of this process.
    """
    from ai_edge_litert import interpreter  # an optional package

    threads = threads or _cores()
    self._runners: dict[str, Any] = {}
    for name in NAMES:
      one = interpreter.Interpreter(str(folder / f"{name}.tflite"), num_threads=threads)
      self._runners[name] = one.get_signature_runner()
    self.side = int(self._runners["complete"].get_input_details()["mask"]["shape"][1])

  def call(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Calls `plan` or `complete` with arrays, for one field."""
    return self._runners[name](**inputs)


def _cores() -> int:
  """Returns the number of cores that this process may use; of all cores on macOS."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
