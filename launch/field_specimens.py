"""The fields that scans are compared on: files of micrographs, prepared sets, or simulated ones."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.compare_fields import specimen
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.micrographs import (
  field_folder,
  field_preparation,
  field_set,
  preparation,
  whole_fields,
)
from datasets.simulated_stem import whole_fields as simulated_fields
from launch import data

_INDEX = "fields.json"


def read(
  patterns: list[str],
  size: int,
  split: str | None,
  rows: str = "",
  progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[FieldSpecimen]:
  """Reads whole fields from files.

  Args:
    patterns: of files; a .npz with its .json beside it, or a folder of fields, is a set that
      launch.prepare wrote, a .npy of an array [N, S, S, 1] is N crops as they are, split as
      everywhere (launch.data).
    size: longer side of a field at most; larger micrographs are binned. px.
    split: train or test, as a fields.json assigns them; None for every file.
    rows: number of rows of each file that are kept, or a JSON file of these numbers; empty for the
      fields.json in a file's folder, if there is one.
    progress: wraps the files while they are read.

  Raises:
    ValueError: if no file belongs to the split.
    FileNotFoundError, MicrographError: for files that are missing or hold no micrograph.
  """
  sets = [pattern for pattern in patterns if field_folder.is_set(pattern)]
  patterns = [pattern for pattern in patterns if pattern not in sets]
  specimens: list[Any] = [one for place in sets for one in _of_set(pathlib.Path(place), split)]
  indices: dict[pathlib.Path, Any] = {}
  for path in progress([path for path in preparation.find(patterns) if _is_picture(path)]):
    place = pathlib.Path(path)
    if place.suffix == ".npz" and place.with_suffix(".json").is_file():
      specimens += _of_set(place, split)
      continue
    if place.suffix == ".npy" and _dimensions(path) == 4:
      specimens += _of_crops(path, split)
      continue
    index = indices.setdefault(place.parent, _index(place.parent, rows))
    if split in (None, index.split(path)):
      field = whole_fields.read(path, whole_fields.FieldReading(size), index.rows(path)).field
      kind = str(index.provenance(path).get("modality") or "")
      specimens.append(specimen.make(place.name, field, kind=kind))
  if not specimens:
    raise ValueError(
      f"no field of split={split} is among {', '.join(patterns)}: splits come from the "
      f"{_INDEX} in a file's folder; give --split=all."
    )
  return specimens


def simulate(count: int, seed: int, size: int, kinds: Sequence[str] = ()) -> list[FieldSpecimen]:
  """Draws simulated fields, whose noiseless truth is known.

  Args:
    count: number of fields.
    seed: of all of them.
    size: side of each, px.
    kinds: of specimens, which take turns, so that each is drawn equally often; empty for kinds at
      random, as often as in training.
  """
  kinds_of = lambda i: [kinds[i % len(kinds)]] if kinds else simulated_fields.KINDS
  fields = (simulated_fields.draw_field((seed, i), size, kinds_of(i)) for i in range(count))
  return [
    specimen.make(
      f"simulated_{seed}_{i}", field.image[..., 0], kind=field.kind, truth=field.truth[..., 0]
    )
    for i, field in enumerate(fields)
  ]


def _is_picture(path):
  return os.path.splitext(path)[1].lower() not in ("", ".json", ".md", ".txt")


def _dimensions(path):
  try:
    return np.load(path, mmap_mode="r", allow_pickle=False).ndim
  except (ValueError, EOFError, OSError):
    return 0  # the reader of micrographs says what is wrong


def _of_crops(path, split):
  """Returns crops, each scaled by its own range as in training on crops, and their files."""
  side = np.load(path, mmap_mode="r", allow_pickle=False).shape[1]
  part = data.load_part(config.Data(images=path), side, split or "all")
  count = len(part.images)
  sources, kinds = part.sources or [""] * count, part.kinds or [""] * count
  return [
    specimen.make(f"{pathlib.Path(path).name}#{i}", image[..., 0], source, kind)
    for i, (image, source, kind) in enumerate(zip(part.images, sources, kinds))
  ]


def _index(folder, rows):
  beside = folder / _INDEX
  return field_preparation.Index.parse(rows or (str(beside) if beside.is_file() else ""))


def _of_set(place, split):
  fields = field_set.load(place, split)
  return [
    specimen.make(f"{entry['file']}#{i}", field, entry["file"], str(entry.get("modality") or ""))
    for i, (field, entry) in enumerate(zip(fields.fields, fields.entries))
  ]
