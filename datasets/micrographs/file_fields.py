"""Whole fields of the files of the data set: what is read, compared, written and reported."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from absl import logging
from etils import epath

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import (
  distinct,
  field_preparation,
  micrograph,
  readers,
  whole_fields,
)

from . import files


class FieldRead(NamedTuple):
  """The field of a file, and whether it is kept."""

  source: files.Source
  whole: whole_fields.WholeField | None = None  # None if it cannot be read, or is a copy
  rows: int | None = None  # that the field was taken from; None for all
  sha256: str = ""
  error: str = ""  # why it cannot be read
  copy_of: str = ""  # a file, if it is a copy


@dataclasses.dataclass(frozen=True)
class FieldReader:
  """Reads files as whole fields; can be sent to Beam's workers.

  Attributes:
    folder: of the files.
    reading: how fields are made.
    index: of rows above information bars.
  """

  folder: str
  reading: whole_fields.FieldReading
  index: field_preparation.Index
  report = "fields_report.json"

  def read(self, source: files.Source) -> FieldRead:
    """Reads a file."""
    path, rows = epath.Path(self.folder) / source.name, self.index.rows(source.name)
    try:
      whole = whole_fields.read(path, self.reading, rows)
    except micrograph.MicrographError as error:
      logging.warning("Skipped: %s", error)
      return FieldRead(source, error=str(error))
    return FieldRead(source, whole, rows, readers.sha256(path))

  def compared_by(self, file: FieldRead) -> Iterator[distinct.FileSignatures]:
    """Yields what a file is compared by, if it can be read."""
    if file.whole is not None:
      yield field_preparation.compared_by(file.whole, file.source.name, file.source.order)

  def without(self, file: FieldRead, decisions: Iterable[distinct.Decision]) -> FieldRead:
    """Returns a file without its field if it is a copy."""
    for decision in decisions:
      if decision.copy_of:
        file = file._replace(whole=None, copy_of=decision.copy_of)
    return file

  def examples(self, file: FieldRead) -> Iterator[files.Example]:
    """Yields the example of a file."""
    if file.whole is None:
      return
    gini = strata.gini(file.whole.field)
    yield (
      file.source.name,
      {
        "image": file.whole.field[..., None],
        "file": file.source.name,
        "binning": file.whole.binning,
        "pixel_size_nm": file.whole.pixel_size_nm or 0.0,
        "gini": gini,
        "stratum": strata.stratum(gini),
      },
    )

  def entry(self, file: FieldRead) -> files.Entry:
    """Returns what a report says about a file."""
    reported: dict[str, Any] = {}
    if file.whole is not None:
      reported = {
        "file": file.source.name,
        "sha256": file.sha256,
        "rows": file.rows,
        "split": file.source.split,
        **field_preparation.reported(file.whole),
      }
    return files.Entry(file.source, file.error, file.copy_of, reported)

  def summary(
    self, copies: dict[str, str], failed: dict[str, str], reported: list[dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a report; see `files.Reader`."""
    reading = dataclasses.asdict(self.reading)
    return {"reading": reading, "copies": copies, "failed": failed, "files": reported}
