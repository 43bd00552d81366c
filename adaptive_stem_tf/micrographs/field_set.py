"""A set of whole fields in one file: fields of any size, and where each comes from.

NAME.npz   one array [H, W] float32 in [-1, 1] for each field: field_00000, field_00001, ...
NAME.json  of each field, in the same order: file, split, stratum, ...
"""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from adaptive_stem_tf import writing

SPLITS = ("train", "test")
_DAMAGES = (KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


class FieldSet(NamedTuple):
  """Fields and where they come from."""

  fields: list[np.ndarray]  # [H, W] float32 in [-1, 1]
  entries: list[dict[str, Any]]  # of each, its file, split, gini, stratum, ...

  @property
  def sources(self) -> list[str]:
    """The file of each field: what intervals and validation sets are made by."""
    return [entry["file"] for entry in self.entries]


def write(path: str | os.PathLike, fields: Sequence[np.ndarray], entries: Sequence[dict]) -> None:
  """Writes a set of fields to PATH, a .npz file, and what is known of them to a .json beside it.

  Raises:
    ValueError: for another suffix.
    writing.WriteError: if they cannot be written; what was there stays.
  """
  place = pathlib.Path(_checked(path))
  with writing.together(place.parent, last=place.name) as unfinished:
    arrays: dict[str, Any] = {f"field_{i:05d}": field for i, field in enumerate(fields)}
    np.savez_compressed(unfinished / place.name, **arrays)
    companion = unfinished / place.with_suffix(".json").name
    companion.write_text(json.dumps(list(entries), indent=0))


def load(path: str | os.PathLike, split: str | None = None) -> FieldSet:
  """Loads a set of fields.

  Args:
    path: .npz file of fields, with its .json beside it.
    split: 'train' or 'test'; None for both.

  Raises:
    FileNotFoundError: if one of the two files is missing.
    ValueError: if they do not belong together, the split is unknown, or it has no field.
  """
  place = _checked(path)
  if split not in (None, *SPLITS):
    raise ValueError(f"split={split!r} is unknown: choose one of {', '.join(SPLITS)}.")
  for file in (place, place.with_suffix(".json")):
    if not file.exists():
      raise FileNotFoundError(
        f"{file} does not exist: python -m launch.prepare --fields writes it and its companion."
      )
  try:
    kept = _read(place, split)
  except _DAMAGES as error:
    raise ValueError(
      f"{place} or its .json is damaged ({type(error).__name__}: {error}): write them again by "
      "python -m launch.prepare --fields."
    ) from error
  if not kept:
    raise ValueError(f"{place} has no field of the split {split}.")
  return FieldSet([field for field, _ in kept], [entry for _, entry in kept])


def _read(place, split):
  """Returns the fields of a split with their entries."""
  entries = json.loads(place.with_suffix(".json").read_text())
  with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
    if len(archive.files) != len(entries):
      raise ValueError(
        f"{place} holds {len(archive.files)} fields and its .json {len(entries)} entries: keep "
        "together what launch.prepare wrote together."
      )
    return [
      (archive[name], entry)
      for name, entry in zip(sorted(archive.files), entries)
      if split in (None, entry["split"])
    ]


def _checked(path):
  place = epath.Path(path)
  if place.suffix != ".npz":
    raise ValueError(
      f"{path} does not end in .npz: fields of several sizes are kept in an archive."
    )
  return place
