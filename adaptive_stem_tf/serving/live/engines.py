"""Engines that run an exported model in a live scan: LiteRT if possible, else TensorFlow."""

import os
import pathlib
from typing import NamedTuple

from adaptive_stem_tf import integrity
from adaptive_stem_tf.serving import edge
from adaptive_stem_tf.serving.live.rules import AUTO, ENGINES, LITERT, TENSORFLOW


class Engine(NamedTuple):
  """The engine that runs a model, and why."""

  name: str  # tensorflow or litert
  words: str


def choose(folder: str | os.PathLike, name: str = AUTO) -> Engine:
  """Returns the engine for an exported model.

  Args:
    folder: NAME/VERSION.
    name: `tensorflow`, `litert`, or `auto`: LiteRT where it is installed and the folder holds the
      model's fast path.

  Raises:
    ValueError: if the name is unknown.
  """
  if name not in ENGINES:
    raise ValueError(f"engine={name!r} is unknown: choose {', '.join(ENGINES[:-1])} or {LITERT}.")
  if name == LITERT:
    return Engine(LITERT, "LiteRT")
  if name == TENSORFLOW:
    return Engine(TENSORFLOW, "TensorFlow")
  if not (litert_folder(folder) / "start.npz").is_file():
    why = "the model has no fast path, which launch.export --litert writes"
    return Engine(TENSORFLOW, f"TensorFlow ({why})")
  if edge.Interpreter is None:
    why = "LiteRT, which is faster, is not installed: extra `edge`"
    return Engine(TENSORFLOW, f"TensorFlow ({why})")
  return Engine(LITERT, "LiteRT")


def litert_folder(folder: str | os.PathLike) -> pathlib.Path:
  """Returns where an exported model, NAME/VERSION, has its fast path."""
  return pathlib.Path(folder) / integrity.FOLDER / edge.FOLDER
