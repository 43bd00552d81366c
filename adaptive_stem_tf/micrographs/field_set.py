"""A set of whole fields in one file: fields of any size, and their provenance.

NAME.npz   one array [H, W] float32 in [-1, 1] for each field: field_00000, field_00001, ...
NAME.json  of each field, in the same order: file, split, stratum, ...

Sets that do not fit into memory are folders (`field_folder`).
"""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from adaptive_stem_tf import writing
from adaptive_stem_tf.micrographs import field_folder

SPLITS = ("train", "test")
_DAMAGES = (KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


class FieldSet(NamedTuple):
  """Fields and their provenance."""

  fields: list[Any]  # [H, W] float32 in [-1, 1], or objects that read them from files
  entries: list[dict[str, Any]]  # of each, its file, split, gini, stratum, ...

  @property
  def sources(self) -> list[str]:
    """The file of each field, by which intervals and validation sets are made."""
    return [entry["file"] for entry in self.entries]


def write(path: str | os.PathLike, fields: Sequence[np.ndarray], entries: Sequence[dict]) -> None:
  """Writes a set of fields to PATH, a .npz file, and their entries to a .json beside it.

  Raises:
    ValueError: if the suffix is not .npz.
    writing.WriteError: if they cannot be written; earlier files stay.
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
    path: .npz file of fields, with its .json beside it; or a folder of them (`field_folder`).
    split: 'train' or 'test'; None for both.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the files do not belong together, or the split is unknown or has no field.
  """
  pairs = list(read(path, split))
  return FieldSet([field for field, _ in pairs], [entry for _, entry in pairs])


def read(
  path: str | os.PathLike, split: str | None = None
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
  """Yields the fields of a set with their entries, one in memory at a time; see `load`."""
  if split not in (None, *SPLITS):
    raise ValueError(f"split={split!r} is unknown: choose one of {', '.join(SPLITS)}.")
  of_kind = _of_folder if pathlib.Path(path).is_dir() else _of_archive
  count = 0
  for each in of_kind(path, split):
    count += 1
    yield each
  if not count:
    raise ValueError(f"{path} has no field of the split {split}.")


def _of_folder(path, split):
  for field, entry in zip(*field_folder.load(path, split)):
    yield field.read(), entry


def _of_archive(path, split):
  place = _checked(path)
  for file in (place, place.with_suffix(".json")):
    if not file.exists():
      raise FileNotFoundError(
        f"{file} does not exist: python -m launch.prepare --fields writes it and its companion."
      )
  try:
    entries = json.loads(place.with_suffix(".json").read_text())
    with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      if len(archive.files) != len(entries):
        raise ValueError(
          f"{place} holds {len(archive.files)} fields and its .json {len(entries)} entries: use "
          "files that launch.prepare wrote together."
        )
      for name, entry in zip(sorted(archive.files), entries):
        if split in (None, entry["split"]):
          yield archive[name], entry
  except _DAMAGES as error:
    raise ValueError(
      f"{place} or its .json is damaged ({type(error).__name__}: {error}): write them again by "
      "python -m launch.prepare --fields."
    ) from error


def _checked(path):
  place = epath.Path(path)
  if place.suffix != ".npz":
    raise ValueError(
      f"{path} does not end in .npz: fields of several sizes are kept in an archive."
    )
  return place
