"""Crops of the files of the data set: what is read, compared, written and reported of each."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath

from adaptive_stem_tf.micrographs import crops, distinct, micrograph, preparation, readers

REPORT = "crops_report.json"


class Source(NamedTuple):
  """A file of the data set."""

  order: int  # of the file in the data set: training files first
  name: str  # below the folder of micrographs
  split: str


class FileRead(NamedTuple):
  """What was read from a file, and what of it is kept."""

  source: Source
  crops: preparation.FileCrops | None = None  # None if it cannot be read
  sha256: str = ""
  error: str = ""  # why it cannot be read
  copy_of: str = ""  # a file, if it is a copy and nothing is kept


@dataclasses.dataclass(frozen=True)
class CropReader:
  """Reads files and cuts their crops; can be sent to Beam's workers."""

  folder: str
  cutting: crops.Cutting

  def read(self, source: Source) -> FileRead:
    """Reads a file."""
    path = epath.Path(self.folder) / source.name
    try:
      file = preparation.crops_of(path, self.cutting)
    except micrograph.MicrographError as error:
      logging.warning("Skipped: %s", error)
      return FileRead(source, error=str(error))
    blank = np.empty([0, 0], np.float32)  # thumbnails are for contact sheets
    return FileRead(source, file._replace(path=source.name, thumbnail=blank), readers.sha256(path))

  def examples(self, file: FileRead) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (key, features) of the crops of a file."""
    if file.crops is None or file.copy_of:
      return
    size = (file.crops.pixel_size_nm or 0.0) * self.cutting.binning
    for crop in file.crops.cut.crops:
      yield (
        f"{file.source.name}:{crop.row}:{crop.column}",
        {
          "image": crop.image[..., None],
          "file": file.source.name,
          "row": crop.row,
          "column": crop.column,
          "pixel_size_nm": size,
        },
      )

  def write_report(self, path: str, entries: Iterable["Entry"]) -> None:
    """Writes what became of every file, as `launch.prepare` reports it, in the files' order."""
    entries = sorted(entries, key=lambda entry: entry.source.order)
    report = preparation.report(
      self.cutting,
      {entry.source.name: entry.copy_of for entry in entries if entry.copy_of},
      {entry.source.name: entry.error for entry in entries if entry.error},
      [entry.reported for entry in entries if entry.reported],
    )
    epath.Path(path).write_text(json.dumps(report, indent=1))


class Entry(NamedTuple):
  """What a report says about a file."""

  source: Source
  error: str
  copy_of: str
  reported: dict[str, Any]  # empty of a file that is a copy, or cannot be read


def compared_by(file: FileRead) -> Iterator[distinct.FileSignatures]:
  """Yields what a file is compared by, if it can be read."""
  if file.crops is not None:
    yield preparation.compared_by(file.crops, file.source.order)


def without(file: FileRead, decisions: Iterable[distinct.Decision]) -> FileRead:
  """Returns a file without what it loses by a decision, if there is one."""
  for decision in decisions:
    if file.crops is not None:
      file = file._replace(
        copy_of=decision.copy_of, crops=preparation.without(file.crops, decision.dropped)
      )
  return file


def entry(file: FileRead) -> Entry:
  """Returns what a report says about a file."""
  reported: dict[str, Any] = {}
  if file.crops is not None and not file.copy_of:
    count = len(file.crops.cut.crops)
    reported = preparation.reported(
      file.crops, file.sha256, file.source.split if count else None, count
    )
  return Entry(file.source, file.error, file.copy_of, reported)


class OneProcess:
  """Reads one file after the other; holds signatures of crops, not crops.

  Splits share no near-duplicates if they are made in the order of their files.

  Args:
    reader: of the files.
    sources: the files of all splits.
    report: file to write the report to, whenever a split is done.
  """

  def __init__(self, reader: CropReader, sources: Sequence[Source], report: str):
    self._reader, self._sources, self._report = reader, sources, report
    self._distinct = distinct.Distinct()
    self._entries: list[Entry] = []

  def split(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (key, features) of the crops of a split."""
    for source in self._sources:
      if source.split != name:
        continue
      file = self._reader.read(source)
      file = without(file, [self._distinct.add(signed) for signed in compared_by(file)])
      self._entries.append(entry(file))
      yield from self._reader.examples(file)
    self._reader.write_report(self._report, self._entries)
