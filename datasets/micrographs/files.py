"""The files of the data set, whatever examples they give, and how one process goes through them."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from etils import epath

from adaptive_stem_tf.micrographs import distinct

Example = tuple[str, dict[str, Any]]  # key and features


class Source(NamedTuple):
  """A file of the data set."""

  order: int  # of the file in the data set: training files first
  name: str  # below the folder of micrographs
  split: str


@dataclasses.dataclass(frozen=True)
class Entry:
  """What a report says about a file."""

  source: Source
  error: str  # why it cannot be read
  copy_of: str  # a file, if it is a copy
  reported: dict[str, Any]  # empty of a file that is a copy, or cannot be read


class FileRead(Protocol):
  """What was read from a file, and what of it is kept."""

  @property
  def source(self) -> Source:
    """The file."""


class Reader(Protocol):
  """Reads files and makes their examples; can be sent to Beam's workers.

  Attributes:
    report: name of the file that says what became of every file.
  """

  report: str

  def read(self, source: Source) -> FileRead:
    """Reads a file."""

  def compared_by(self, file: Any) -> Iterator[distinct.FileSignatures]:
    """Yields what a file is compared by, if it can be read."""

  def without(self, file: Any, decisions: Iterable[distinct.Decision]) -> FileRead:
    """Returns a file without what it loses by a decision, if there is one."""

  def examples(self, file: Any) -> Iterator[Example]:
    """Yields the examples of a file."""

  def entry(self, file: Any) -> Entry:
    """Returns what a report says about a file."""

  def summary(
    self, copies: dict[str, str], failed: dict[str, str], reported: list[dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a report.

    Args:
      copies: of which file, by file.
      failed: why, by file.
      reported: of each of the other files.
    """


class OneProcess:
  """Reads one file after the other; holds signatures, not images.

  Splits share no near-duplicates if they are made in the order of their files.

  Args:
    reader: of the files.
    sources: the files of all splits.
    report: file to write the report to, whenever a split is done.
  """

  def __init__(self, reader: Reader, sources: Sequence[Source], report: str):
    self._reader, self._sources, self._report = reader, sources, report
    self._distinct = distinct.Distinct()
    self._entries: list[Entry] = []

  def split(self, name: str) -> Iterator[Example]:
    """Yields the examples of a split."""
    reader = self._reader
    for source in self._sources:
      if source.split != name:
        continue
      file = reader.read(source)
      file = reader.without(file, [self._distinct.add(one) for one in reader.compared_by(file)])
      self._entries.append(reader.entry(file))
      yield from reader.examples(file)
    write_report(reader, self._report, self._entries)


def write_report(reader: Reader, path: str, entries: Iterable[Entry]) -> None:
  """Writes what became of every file, in the files' order."""
  entries = sorted(entries, key=lambda entry: entry.source.order)
  report = reader.summary(
    {entry.source.name: entry.copy_of for entry in entries if entry.copy_of},
    {entry.source.name: entry.error for entry in entries if entry.error},
    [entry.reported for entry in entries if entry.reported],
  )
  epath.Path(path).write_text(json.dumps(report, indent=1))
