"""A set of whole fields in a folder: a NumPy file for each, from which windows can be read.

FOLDER/fields.json  of each field: array (its file in the folder), file (the micrograph it comes
                    from), split, stratum, ...
FOLDER/*.npy        [H, W] float16 or float32 in [-1, 1]
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import writing

INDEX = "fields.json"


class StoredField:
  """A field in a NumPy file: its shape, and windows of its pixels in float16.

  Attributes:
    file: that holds it.
    shape: (H, W, 1).
  """

  def __init__(self, file: pathlib.Path):
    """Reads the shape.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, or holds something else.
    """
    self.file = file
    self.shape = (*self._open().shape, 1)

  def __getitem__(self, window: Any) -> np.ndarray:
    """Returns the pixels of a window, such as `[rows, columns]`: [h, w, 1] float16."""
    # Opened each time: there may be more fields than a process may have open files.
    return np.array(self._open()[window], np.float16)[..., None]

  def read(self) -> np.ndarray:
    """Returns the field [H, W] as stored.

    Raises:
      ValueError: if a pixel is not in [-1, 1].
    """
    field = np.array(self._open())
    low, high = field.min(), field.max()
    if not (low >= -1 and high <= 1):  # or either is NaN
      raise ValueError(
        f"{self.file} has intensities from {low:.4g} to {high:.4g}: fields are in [-1, 1]. "
        "python -m launch.prepare --fields writes them so."
      )
    return field

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """Returns the field as `read` does, for NumPy."""
    del copy  # the result is always a copy
    return self.read().astype(dtype or np.float16)

  def _open(self):
    try:
      stored = np.load(self.file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
      raise ValueError(f"{self.file} cannot be read as a NumPy array: {error}") from error
    if stored.ndim != 2 or not stored.size or stored.dtype not in (np.float16, np.float32):
      raise ValueError(
        f"{self.file} holds {stored.dtype} of shape {list(stored.shape)}: a field is [H, W], "
        "float16 or float32 in [-1, 1]."
      )
    return stored


class StoredFields(NamedTuple):
  """Fields in files, and their entries in the index."""

  fields: list[StoredField]
  entries: list[dict[str, Any]]  # of each, its array, file, split, ...


def is_set(folder: str | os.PathLike) -> bool:
  """Returns whether a folder holds a set of fields, and not micrographs to be read as such."""
  try:
    entries = json.loads((pathlib.Path(folder) / INDEX).read_text())
    return bool(entries) and all("array" in entry for entry in entries)
  except (OSError, ValueError, TypeError):
    return False


def load(folder: str | os.PathLike, split: str | None = None) -> StoredFields:
  """Loads the index of a folder, and the shapes of its fields.

  Args:
    folder: of a set of fields.
    split: train or test; None for both.

  Raises:
    FileNotFoundError: if the folder has no index, or one of its files is missing.
    ValueError: if the index or a file holds something else.
  """
  place = pathlib.Path(folder)
  if not (place / INDEX).is_file():
    raise FileNotFoundError(
      f"{place / INDEX} does not exist: it names the NumPy file of each field of the folder, and "
      "its split."
    )
  if not is_set(place):
    raise ValueError(
      f'{place / INDEX} is no index of fields: write [{{"array": "a.npy", "file": "a.dm4", '
      '"split": "train"}, ...].'
    )
  entries = json.loads((place / INDEX).read_text())
  unknown = [entry for entry in entries if not {"file", "split"} <= set(entry)]
  if unknown:
    raise ValueError(f"{place / INDEX}: {unknown[0]} does not name its file and its split.")
  entries = [entry for entry in entries if split in (None, entry["split"])]
  return StoredFields([StoredField(place / entry["array"]) for entry in entries], entries)


def write(folder: str | os.PathLike, fields: Iterable[tuple[np.ndarray, dict[str, Any]]]) -> None:
  """Writes fields to a folder, one after another, and their index.

  Args:
    folder: made if it does not exist.
    fields: (pixels [H, W] in [-1, 1], entry) pairs.

  Raises:
    writing.WriteError: if they cannot be written; earlier files stay.
  """
  with writing.together(folder, last=INDEX) as unfinished:
    shelf = Shelf(unfinished)
    stored = [(shelf(field), entry) for field, entry in fields]
    write_index(unfinished, *map(list, zip(*stored)))


class Shelf:
  """Writes fields [H, W] in [-1, 1] to a folder, in float16, which training uses."""

  def __init__(self, folder: pathlib.Path):
    self._folder, self._count = folder, 0

  def __call__(self, field: np.ndarray) -> StoredField:
    """Writes a field, and returns its file."""
    file = self._folder / f"field_{self._count:06d}.npy"
    np.save(file, np.asarray(field, np.float16))
    self._count += 1
    return StoredField(file)


def write_index(
  folder: pathlib.Path, fields: Sequence[Any], entries: Sequence[dict[str, Any]]
) -> None:
  """Writes the index of the fields that a folder holds."""
  index = [{**entry, "array": field.file.name} for field, entry in zip(fields, entries)]
  (folder / INDEX).write_text(json.dumps(index, indent=0))


def stamp(fields: Iterable[StoredField]) -> str:
  """Returns a digest of the names, sizes and times of fields' files, without reading the files."""
  digest = hashlib.sha256()
  for field in fields:
    about = field.file.stat()
    digest.update(f"{field.file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
  return digest.hexdigest()
