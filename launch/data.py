"""Loads the specimens that the flags name."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import config, input_pipeline, specimens


class Part(NamedTuple):
  """One split, and where its images come from."""

  images: np.ndarray  # [N, S, S, 1] in [-1, 1]
  sources: list[str] | None  # [N], the file that each was cut from; None if unknown
  kinds: list[str] | None  # [N], the kind of source; None if unknown


class _Provenance(NamedTuple):
  sources: list[str]
  kinds: list[str] | None


def load(data: config.Data, image_size: int) -> input_pipeline.Splits:
  """Loads --images, or else --dataset, normalised and split, and says what was found.

  Raises:
    ValueError, FileNotFoundError: if they are missing, unreadable or of another size.
  """
  splits = _load(data, image_size)[0]
  return _with_extra(splits, data) if data.extra_specimens else splits


def load_split(
  data: config.Data, image_size: int, split: str
) -> tuple[np.ndarray, list[str] | None]:
  """Loads one split (`train`, `validation`, `test` or `all`) and the source file of each image,
  None if unknown.
  """
  part = load_part(data, image_size, split)
  return part.images, part.sources


def load_part(data: config.Data, image_size: int, split: str) -> Part:
  """Loads one split (`train`, `validation`, `test` or `all`) and where its images come from.

  Raises:
    ValueError, FileNotFoundError: as `load`; or if the split is empty.
  """
  splits, origin = _load(data, image_size)
  parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
  rows = _rows(data, splits, origin)
  chosen = list(parts) if split == "all" else [split]
  images = np.concatenate([parts[name] for name in chosen])
  if not len(images):
    raise ValueError(
      f"split={split} is empty: set --validation_fraction when training, or choose another split."
    )
  if origin is None:
    return Part(images, None, None)
  order = np.concatenate([rows[name] for name in chosen])
  take = lambda names: [names[row] for row in order]
  return Part(images, take(origin.sources), take(origin.kinds) if origin.kinds else None)


def _load(data: config.Data, image_size: int) -> tuple[input_pipeline.Splits, _Provenance | None]:
  origin = None
  if data.images:
    images = input_pipeline.read_images(data.images)
    origin = _provenance(data.images, len(images))
    train, test = input_pipeline.split_file_order(images)
  else:
    from datasets import load as dataset_loader  # TFDS takes seconds to import

    train, test = (dataset_loader.load_split(data.dataset, split) for split in ("train", "test"))
  sources = origin and origin.sources[: len(train)]
  splits = input_pipeline.prepare(train, test, image_size, data.validation_fraction, sources)
  source = data.images or data.dataset
  counts = (
    f"{len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test"
  )
  print(f"{source}: {counts} specimens of {image_size} x {image_size} px.")
  if splits.repairs.non_finite_pixels:
    print(
      f"{source}: {splits.repairs.non_finite_pixels} NaN or infinite pixels were replaced by 0."
    )
  if splits.repairs.constant_images:
    print(f"{source}: {splits.repairs.constant_images} images are constant and were set to 0.")
  return splits, origin


def _with_extra(splits: input_pipeline.Splits, data: config.Data) -> input_pipeline.Splits:
  """Adds specimens of --dataset to the training split of --images."""
  if not data.images:
    raise ValueError(
      f"extra_specimens={data.extra_specimens} are added to those of --images, which is not given: "
      "leave one out, or give the other."
    )
  from datasets import load as dataset_loader  # TFDS takes seconds to import

  extra = dataset_loader.load_split(data.dataset, f"train[:{data.extra_specimens}]")
  if len(extra) < data.extra_specimens or extra.shape[1:] != splits.train.shape[1:]:
    raise ValueError(
      f"extra_specimens={data.extra_specimens} of {list(splits.train.shape[1:3])} px are not "
      f"there: {data.dataset} has {len(extra)} of {list(extra.shape[1:3])} px."
    )
  specimens.normalise(extra)
  print(f"{data.dataset}: {len(extra)} specimens more to train on.")
  return splits._replace(train=np.concatenate([splits.train, extra]))


def _rows(
  data: config.Data, splits: input_pipeline.Splits, origin: _Provenance | None
) -> dict[str, np.ndarray]:
  """Returns the rows of the file that each split holds."""
  count = len(splits.train) + len(splits.validation)
  aside = input_pipeline.set_aside(
    count, data.validation_fraction, origin and origin.sources[:count]
  )
  return {
    "train": np.flatnonzero(~aside),
    "validation": np.flatnonzero(aside),
    "test": np.arange(count, count + len(splits.test)),
  }


def _provenance(path: str, count: int) -> _Provenance | None:
  """Reads where each of `count` images comes from in the JSON of provenance beside them, if there
  is one.
  """
  provenance = pathlib.Path(path).with_suffix(".json")
  if not provenance.is_file():
    return None
  entries = json.loads(provenance.read_text())
  if not isinstance(entries, list) or not all(
    isinstance(entry, dict) and "file" in entry for entry in entries
  ):
    raise ValueError(
      f"{provenance} is not a list of one object with a 'file' per image: repair or remove it."
    )
  if len(entries) != count:
    raise ValueError(
      f"{provenance} has {len(entries)} entries and {path} holds {count} images: repair or remove "
      "it."
    )
  kinds = [str(entry["kind"]) for entry in entries if "kind" in entry]
  return _Provenance(
    [f"{entry.get('source', '')}/{entry['file']}" for entry in entries],
    kinds if len(kinds) == count else None,
  )
