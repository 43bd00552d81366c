"""Turns micrograph files into a set of whole fields, split by file, with the provenance of each."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import distinct, field_set, readers, whole_fields
from adaptive_stem_tf.micrographs.signatures import signature

_TEST_SHARE = 0.2
_PROVENANCE = ("repo", "source", "licence", "modality", "what")  # copied from an index


class Index:
  """Properties of files from a user's list: rows above information bars, split, licence.

  Args:
    entries: properties of each file, by its name without folders.
    rows: number of rows of files without an entry of rows; None for all rows.
  """

  def __init__(self, entries: dict[str, dict[str, Any]] | None = None, rows: int | None = None):
    self._entries, self._rows = entries or {}, rows

  @classmethod
  def parse(cls, text: str) -> "Index":
    """Makes an index of a number of rows, or of a JSON file.

    The file holds rows by name, {"a.tif": 688}, or a list of objects with file, rows, and where
    they are known split (train or test), licence, source, repo, modality and what.

    Raises:
      FileNotFoundError: if the text is no number and no file.
      ValueError: if the file holds something else.
    """
    if not text or text.isdecimal():
      return cls(rows=int(text) if text else None)
    place = epath.Path(text)
    if not place.exists():
      raise FileNotFoundError(f"rows={text} is neither a number of rows nor a JSON file.")
    try:
      content = json.loads(place.read_text())
      if isinstance(content, dict):
        content = [{"file": name, "rows": rows} for name, rows in content.items()]
      return cls({os.path.basename(entry["file"]): dict(entry) for entry in content})
    except (TypeError, KeyError, ValueError) as error:
      raise ValueError(
        f'{text} is no index of files: write {{"FILE": ROWS, ...}}, or a list of objects with file '
        "and rows."
      ) from error

  def rows(self, path: str) -> int | None:
    """Returns the number of rows of a file that are kept; None for all."""
    own = self._of(path).get("rows")
    return self._rows if own is None else int(own)

  def split(self, path: str) -> str | None:
    """Returns the split that a file belongs to; None if the index does not say.

    Raises:
      ValueError: if it is neither train nor test.
    """
    split = self._of(path).get("split")
    if split not in (None, *field_set.SPLITS):
      raise ValueError(f"{path}: its split is {split!r}; it should be train or test.")
    return split

  def provenance(self, path: str) -> dict[str, Any]:
    """Returns the properties of a file for the provenance: source, licence and the like."""
    return {name: value for name, value in self._of(path).items() if name in _PROVENANCE}

  def _of(self, path):
    return self._entries.get(os.path.basename(path), {})


class FileFields(NamedTuple):
  """The fields of one file: the whole of it, and pieces."""

  path: str
  rows: int | None
  fields: list[Any]  # [H, W] each, or as `Collection` keeps them
  entries: list[dict[str, Any]]  # provenance of each


class Collection:
  """Fields of many files, without copies of a micrograph.

  Args:
    reading: how fields are made.
    index: properties of the files.
    seed: of the split of files whose split the index does not say.
    keep: receives each field [H, W], and returns it, or an object that can read it from a file.
  """

  def __init__(
    self,
    reading: whole_fields.FieldReading,
    index: Index,
    seed: int = 0,
    keep: Callable[[np.ndarray], Any] = lambda field: field,
  ):
    self._keep = keep
    self.files: list[FileFields] = []
    self.failed: dict[str, str] = {}  # why, by file
    self.copies: dict[str, str] = {}  # of which file, by file
    self._reading, self._index, self._seed = reading, index, seed
    self._distinct = distinct.Distinct()

  def add(self, path: str, frame: int = 0) -> str:
    """Reads a file and adds its fields, unless it is a copy of one that was added (`distinct`);
    returns a message about it.

    Raises:
      FileNotFoundError, MicrographError, MissingReaderError: as `whole_fields.read`.
    """
    rows = self._index.rows(path)
    fields = whole_fields.read_all(path, self._reading, rows, frame)
    whole = fields[0].field
    decision = self._distinct.add(compared_by(fields[0], path, len(self.files) + len(self.copies)))
    if decision.copy_of:
      self.copies[path] = decision.copy_of
      return f"left out: a copy of {decision.copy_of}"
    entries = list(map(reported, fields))
    stored = [self._keep(field.field) for field in fields]
    self.files.append(FileFields(path, rows, stored, entries))
    height, width = whole.shape
    more = f" and {len(fields) - 1} pieces" if len(fields) > 1 else ""
    return (
      f"{height} x {width} px{more}, {entries[0]['stratum']} (Gini coefficient "
      f"{entries[0]['gini']:.2f})"
    )

  def prepare(self) -> field_set.FieldSet:
    """Splits the fields that were added by file, train before test.

    Raises:
      ValueError: if nothing was added, or there is only one file and its split is not known.
    """
    splits = self._splits()
    folder = _common_folder([file.path for file in self.files])
    entries, fields = [], []
    for split in field_set.SPLITS:
      for file in (file for file in self.files if splits[file.path] == split):
        common = {
          "source": folder,
          "file": os.path.relpath(file.path, folder or "."),
          "sha256": readers.sha256(file.path),
          **self._index.provenance(file.path),
          "rows": file.rows,
          "split": split,
        }
        fields += file.fields
        entries += [{**common, **entry} for entry in file.entries]
    return field_set.FieldSet(fields, entries)

  def _splits(self):
    """Returns the split of each file: that of the index, or drawn so that one file in five is a
    test file, but at least one.
    """
    if not self.files:
      raise ValueError("no field is left: none of the files is a micrograph of 96 px or more.")
    splits = {file.path: self._index.split(file.path) for file in self.files}
    unknown = [path for path, split in splits.items() if split is None]
    if len(unknown) == 1 and len(self.files) == 1:
      raise ValueError(
        "fields come from 1 micrograph: training and test share no micrograph, so at least two are "
        "needed."
      )
    order = np.random.default_rng(self._seed).permutation(len(unknown))
    tests = max(1, round(_TEST_SHARE * len(unknown))) if len(unknown) > 1 else 0
    for number, place in enumerate(order):
      splits[unknown[place]] = "test" if number < tests else "train"
    return splits


def compared_by(field: whole_fields.WholeField, name: str, order: int) -> distinct.FileSignatures:
  """Returns what a file is compared by, of which the whole is a field.

  Args:
    field: the whole.
    name: of the file.
    order: of the file in the data set.
  """
  height, width = field.field.shape
  return distinct.FileSignatures(order, name, (height, width), signature(field.field), None)


def reported(field: whole_fields.WholeField) -> dict[str, Any]:
  """Returns the provenance of one field."""
  g = strata.gini(field.field)
  return {
    "y": field.place[0],
    "x": field.place[1],
    "bin": field.binning,
    "shape": list(field.field.shape),
    "file_shape": list(field.shape),
    "dtype": field.dtype,
    "notes": "; ".join(field.notes),
    "pixel_size_nm": field.pixel_size_nm,
    "gini": g,
    "stratum": strata.stratum(g),
  }


def _common_folder(paths: Sequence[str]) -> str:
  if len({os.path.isabs(path) for path in paths}) > 1:
    paths = [os.path.abspath(path) for path in paths]
  return os.path.commonpath([os.path.dirname(path) for path in paths])
