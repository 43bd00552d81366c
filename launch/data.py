"""Loads the specimens that the flags name."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import config, input_pipeline, specimens
from launch import data_stream, provenance


class Part(NamedTuple):
  """One split, and where its images come from."""

  images: np.ndarray  # [N, S, S, 1] in [-1, 1]
  sources: list[str] | None  # [N], the file that each was cut from; None if unknown
  kinds: list[str] | None  # [N], the kind of source; None if unknown


def load(
  data: config.Data, image_size: int, store: pathlib.Path | None = None
) -> input_pipeline.Splits:
  """Loads --images, or else --dataset, normalised and split, and prints how many there are.

  Args:
    data: names the specimens.
    image_size: side of the specimens, px.
    store: file that training specimens are written to, unless it is there, and read from as they
      are indexed; None for all in memory.

  Raises:
    ValueError, FileNotFoundError: if specimens are missing, unreadable or of another size.
    writing.WriteError: if `store` cannot be written.
  """
  if store is not None:
    splits = data_stream.load(data, image_size, store)
    _print_counts(splits, data, image_size)
    return splits
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
  names = list(parts) if split == "all" else [split]
  images = np.concatenate([parts[name] for name in names])
  if not len(images):
    raise ValueError(
      f"split={split} is empty: set --validation_fraction when training, or choose another split."
    )
  if origin is None:
    return Part(images, None, None)
  order = np.concatenate([rows[name] for name in names])
  take = lambda values: [values[row] for row in order]
  return Part(images, take(origin.sources), take(origin.kinds) if origin.kinds else None)


def _load(
  data: config.Data, image_size: int
) -> tuple[input_pipeline.Splits, provenance.Provenance | None]:
  origin = None
  if data.images:
    images = input_pipeline.read_images(data.images)
    origin = provenance.read(data.images, len(images))
    train, test = input_pipeline.split_file_order(images)
  else:
    from datasets import load as dataset_loader  # TFDS takes seconds to import

    train, test = (dataset_loader.load_split(data.dataset, split) for split in ("train", "test"))
  sources = origin and origin.sources[: len(train)]
  splits = input_pipeline.prepare(train, test, image_size, data.validation_fraction, sources)
  _print_counts(splits, data, image_size)
  return splits, origin


def _print_counts(splits: input_pipeline.Splits, data: config.Data, image_size: int) -> None:
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
  data: config.Data, splits: input_pipeline.Splits, origin: provenance.Provenance | None
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
