"""Checks that the files of an exported model are those that were exported; needs no TensorFlow.

A flipped bit in weights changes results without an error: 196 of 400 damaged LiteRT models ran.
So the files of a model are compared with the digests in its manifest before it is loaded.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

GRAPH = "saved_model.pb"
VARIABLES = "variables/variables"  # of a SavedModel: a checkpoint
FOLDER = "assets.extra"  # of a SavedModel
MANIFEST = "manifest.json"
CONFIG = "config.json"
_AGAIN = "export the model again, to the next version."


class DamagedModelError(ValueError):
  """A model's files are not those that were exported."""


def is_exported(folder: str | os.PathLike) -> bool:
  """Returns whether a folder holds a SavedModel."""
  return (pathlib.Path(folder) / GRAPH).is_file()


def iteration(saved_model: pathlib.Path) -> int | None:
  """Returns the iteration of training that a model was exported at; None if it is not recorded."""
  try:
    return json.loads((saved_model / FOLDER / MANIFEST).read_text())["iteration"]
  except (OSError, ValueError, KeyError, TypeError):
    return None


def check(saved_model: pathlib.Path) -> None:
  """Refuses a model whose files are damaged.

  Raises:
    DamagedModelError: saying which file, and what to do.
  """
  problem = damage(saved_model)
  if problem:
    raise DamagedModelError(problem)


def damage(saved_model: pathlib.Path) -> str | None:
  """Returns what is wrong with the files of a model, as a sentence.

  Args:
    saved_model: NAME/VERSION.

  Returns:
    None if nothing is, or there is no manifest.
  """
  manifest = saved_model / FOLDER / MANIFEST
  if not manifest.is_file():
    return None
  try:
    digests = json.loads(manifest.read_text())
    files, configuration = dict(digests["files_sha256"]), str(digests["config_sha256"])
  except (ValueError, KeyError, TypeError):
    return f"{manifest} is damaged: {_AGAIN}"
  for name, digest in files.items():
    file = saved_model / name
    if not file.is_file():
      return f"{file} is missing: {_AGAIN}"
    if file_digest(file) != digest:
      return f"{file} is damaged (its SHA-256 is not the manifest's): {_AGAIN}"
  config = saved_model / FOLDER / CONFIG
  try:
    intact = digest_of(json.loads(config.read_text())) == configuration
  except FileNotFoundError:
    return f"{config} is missing: {_AGAIN}"
  except ValueError:
    intact = False
  return None if intact else f"{config} is damaged (its SHA-256 is not the manifest's): {_AGAIN}"


def file_digest(file: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  return hashlib.sha256(file.read_bytes()).hexdigest()


def digest_of(values: dict[str, Any]) -> str:
  """Returns the SHA-256 of a configuration: of its JSON with sorted keys and no spaces."""
  return hashlib.sha256(
    json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
  ).hexdigest()
