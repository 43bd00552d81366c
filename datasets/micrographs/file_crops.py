"""Crops of the files of the data set: what is read, compared, written and reported of each."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath

from adaptive_stem_tf.micrographs import crops, distinct, micrograph, preparation, readers

from . import files


class CropsRead(NamedTuple):
  """The crops of a file, and what of them is kept."""

  source: files.Source
  crops: preparation.FileCrops | None = None  # None if it cannot be read
  sha256: str = ""
  error: str = ""  # why it cannot be read
  copy_of: str = ""  # a file, if it is a copy and nothing is kept


@dataclasses.dataclass(frozen=True)
class CropReader:
  """Reads files and cuts their crops; can be sent to Beam's workers.

  Attributes:
    folder: of the files.
    cutting: how crops are cut.
  """

  folder: str
  cutting: crops.Cutting
  report = "crops_report.json"

  def read(self, source: files.Source) -> CropsRead:
    """Reads a file."""
    path = epath.Path(self.folder) / source.name
    try:
      file = preparation.crops_of(path, self.cutting)
    except micrograph.MicrographError as error:
      logging.warning("Skipped: %s", error)
      return CropsRead(source, error=str(error))
    blank = np.empty([0, 0], np.float32)  # thumbnails are for contact sheets
    return CropsRead(source, file._replace(path=source.name, thumbnail=blank), readers.sha256(path))

  def examples(self, file: CropsRead) -> Iterator[files.Example]:
    """Yields the crops of a file."""
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

  def compared_by(self, file: CropsRead) -> Iterator[distinct.FileSignatures]:
    """Yields what a file is compared by, if it can be read."""
    if file.crops is not None:
      yield preparation.compared_by(file.crops, file.source.order)

  def without(self, file: CropsRead, decisions: Iterable[distinct.Decision]) -> CropsRead:
    """Returns a file without what it loses by a decision, if there is one."""
    for decision in decisions:
      if file.crops is not None:
        file = file._replace(
          copy_of=decision.copy_of, crops=preparation.without(file.crops, decision.dropped)
        )
    return file

  def entry(self, file: CropsRead) -> files.Entry:
    """Returns what a report says about a file."""
    reported: dict[str, Any] = {}
    if file.crops is not None and not file.copy_of:
      count = len(file.crops.cut.crops)
      reported = preparation.reported(
        file.crops, file.sha256, file.source.split if count else None, count
      )
    return files.Entry(file.source, file.error, file.copy_of, reported)

  def summary(
    self, copies: dict[str, str], failed: dict[str, str], reported: list[dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a report like that of `launch.prepare`; see `files.Reader`."""
    return preparation.report(self.cutting, copies, failed, reported)
