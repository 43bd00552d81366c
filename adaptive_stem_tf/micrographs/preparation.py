"""Turns micrograph files into one array of crops, split by file, with the provenance of each."""

import glob
import os
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.micrographs import crops, distinct, file_split, readers, signatures
from adaptive_stem_tf.micrographs.micrograph import MicrographError

_THUMBNAIL = 240  # px, at most, of the longer side


class FileCrops(NamedTuple):
  """One micrograph file and its crops."""

  path: str
  shape: tuple[int, int]  # px
  dtype: str
  pixel_size_nm: float | None  # of the file, before binning
  notes: tuple[str, ...]
  cut: crops.Cut
  signature: np.ndarray  # of the whole micrograph
  thumbnail: np.ndarray  # [h, w] float32
  thumbnail_binning: int  # px of the file per px of the thumbnail


class Prepared(NamedTuple):
  """Crops in the order of training and test, and where they come from."""

  images: np.ndarray  # [N, S, S, 1] float32, each scaled to [0, 1]
  provenance: list[dict[str, Any]]  # [N], for the JSON beside the images
  report: dict[str, Any]
  # first row, column (px of the file) and split of each crop, by file
  placed: dict[str, list[tuple[int, int, str]]]


def find(patterns: Sequence[str]) -> list[str]:
  """Returns the files that patterns match, sorted, without hidden ones.

  Args:
    patterns: of files; a folder stands for every file in it and below.

  Raises:
    FileNotFoundError: if a pattern matches no file.
  """
  names: set[str] = set()
  for pattern in patterns:
    place = glob.escape(pattern) if os.path.exists(pattern) else pattern
    place = os.path.join(place, "**") if os.path.isdir(pattern) else place
    files = [file for file in glob.glob(place, recursive=True) if not os.path.isdir(file)]
    if not files:
      raise FileNotFoundError(
        f"{pattern} matches no file: give files of micrographs, a pattern such as "
        "'micrographs/*.tif' (in quotes), or a folder."
      )
    names.update(files)
  return sorted(names)


def crops_of(path: str | os.PathLike, cutting: crops.Cutting, frame: int = 0) -> FileCrops:
  """Reads a file and cuts its crops.

  Args:
    path: of the file.
    cutting: how crops are cut.
    frame: which frame of a stack, from 0.

  Raises:
    FileNotFoundError, MicrographError: as `readers.read`; also for a micrograph that is smaller
      than a crop.
    microscope_files.MissingReaderError: if RosettaSciIO is needed and not installed.
  """
  micrograph = readers.read(path, frame)
  try:
    cut = crops.cut(micrograph.image, cutting)
  except ValueError as error:
    raise MicrographError(f"{os.fspath(path)}: {error}") from error
  whole = np.nan_to_num(micrograph.image, nan=float(np.nanmedian(micrograph.image)))
  binning = max(1, -(-max(whole.shape) // _THUMBNAIL))
  height, width = micrograph.image.shape
  return FileCrops(
    os.fspath(path),
    (height, width),
    micrograph.dtype,
    micrograph.pixel_size_nm,
    micrograph.notes,
    cut,
    signatures.signature(whole),
    crops.bin_down(whole, binning),
    binning,
  )


def compared_by(file: FileCrops, order: int) -> distinct.FileSignatures:
  """Returns what a file is compared by; `order` is its place in the data set."""
  of_crops = [signatures.signature(crop.image) for crop in file.cut.crops]
  stacked = np.stack(of_crops) if of_crops else np.empty([0, 0], np.float32)
  return distinct.FileSignatures(order, file.path, file.shape, file.signature, stacked)


def without(file: FileCrops, dropped: Set[int]) -> FileCrops:
  """Returns a file without some of its crops, which count as near-duplicates."""
  kept = [crop for i, crop in enumerate(file.cut.crops) if i not in dropped]
  counts = dict(file.cut.dropped)
  counts["near-duplicate"] += len(dropped)
  return file._replace(cut=crops.Cut(kept, counts))


def reported(file: FileCrops, sha256: str, split: str | None, num_crops: int) -> dict[str, Any]:
  """Returns what a report says about a file.

  Args:
    file: with the crops that are distinct.
    sha256: of the file.
    split: train or test; None if it gives no crops.
    num_crops: number of its crops in the data set.
  """
  return {
    "file": file.path,
    "sha256": sha256,
    "shape": list(file.shape),
    "dtype": file.dtype,
    "pixel_size_nm": file.pixel_size_nm,
    "notes": list(file.notes),
    "split": split,
    "crops": num_crops,
    "dropped": {**file.cut.dropped, "for the split": len(file.cut.crops) - num_crops},
  }


def report(
  cutting: crops.Cutting,
  copies: Mapping[str, str],
  failed: Mapping[str, str],
  files: Sequence[dict[str, Any]],
) -> dict[str, Any]:
  """Returns what was done to the files of a data set.

  Args:
    cutting: how crops were cut.
    copies: of which file, by file.
    failed: why a file could not be used, by file.
    files: the others (`reported`).
  """
  return {
    "cutting": vars(cutting),
    "rules": crops.__doc__,
    "copies": dict(copies),
    "failed": dict(failed),
    "files": list(files),
  }


class Collection:
  """Crops of many files, without copies of a micrograph and near-duplicates of a crop."""

  def __init__(self, cutting: crops.Cutting):
    self.files: list[FileCrops] = []
    self.failed: dict[str, str] = {}  # why, by file
    self.copies: dict[str, str] = {}  # of which file, by file
    self._cutting, self._distinct = cutting, distinct.Distinct()
    self._count = 0

  def add(self, file: FileCrops) -> str:
    """Adds a file unless it is a copy of one that was added; returns a message about it.

    What is a copy or a near-duplicate says `distinct`.
    """
    decision = self._distinct.add(compared_by(file, self._count))
    self._count += 1
    if decision.copy_of:
      self.copies[file.path] = decision.copy_of
      return f"left out: a copy of {decision.copy_of}"
    self.files.append(without(file, decision.dropped))
    cut = self.files[-1].cut
    return f"{len(cut.crops)} crops" + "".join(
      f", {count} {rule}" for rule, count in cut.dropped.items() if count
    )

  def prepare(self) -> Prepared:
    """Splits the crops that were added by file.

    Raises:
      ValueError: if crops come from fewer than two files.
    """
    used = [file for file in self.files if file.cut.crops]
    division = file_split.split([len(file.cut.crops) for file in used], self._cutting.seed)
    folder = _common_folder([file.path for file in used])
    images, provenance = [], []
    placed: dict[str, list[tuple[int, int, str]]] = {}
    rng = np.random.default_rng(self._cutting.seed)
    for part, numbers in (("train", division.train), ("test", division.test)):
      for number in numbers:
        file = used[number]
        common = _common(file, folder, self._cutting)
        for i in sorted(rng.choice(len(file.cut.crops), division.kept[number], replace=False)):
          crop = file.cut.crops[i]
          image, low, high = _scaled(crop.image)
          images.append(image)
          provenance.append(
            {**common, "y": crop.row, "x": crop.column, "min": low, "max": high, "split": part}
          )
          placed.setdefault(file.path, []).append((crop.row, crop.column, part))
    return Prepared(np.stack(images)[..., None], provenance, self._report(placed), placed)

  def _report(self, placed):
    files = []
    for file in self.files:
      places = placed.get(file.path, [])
      split = places[0][2] if places else None
      files.append(reported(file, readers.sha256(file.path), split, len(places)))
    return report(self._cutting, self.copies, self.failed, files)


def _common_folder(paths):
  if len({os.path.isabs(path) for path in paths}) > 1:
    paths = [os.path.abspath(path) for path in paths]
  return os.path.commonpath([os.path.dirname(path) for path in paths])


def _common(file, folder, cutting):
  """Returns the part of the provenance that all crops of a file share."""
  size = None if file.pixel_size_nm is None else file.pixel_size_nm * cutting.binning
  return {
    "source": folder,
    "file": os.path.relpath(file.path, folder or "."),
    "dtype": file.dtype,
    "notes": "; ".join(file.notes),
    "bin": cutting.binning,
    "pixel_size": "unknown" if size is None else f"{size:.4g} nm",
    "pixel_size_nm": size,
  }


def _scaled(image):
  """Returns a crop scaled to [0, 1], and its minimum and maximum."""
  low, high = float(image.min()), float(image.max())
  scaled = (image.astype(np.float64) - low) / (high - low)
  return scaled.astype(np.float32), low, high
