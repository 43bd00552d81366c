"""Loads the specimens that the flags name."""

import json
import pathlib

import numpy as np

from adaptive_stem_tf import config, input_pipeline


def load(data: config.Data, image_size: int) -> input_pipeline.Splits:
  """Loads --images, or else --dataset, normalised and split, and says what was found.

  Raises:
    ValueError, FileNotFoundError: if they are missing, unreadable or of another size.
  """
  if data.images:
    train, test = input_pipeline.split_file_order(input_pipeline.read_images(data.images))
  else:
    from datasets import load as dataset_loader  # TFDS takes seconds to import
    train, test = (dataset_loader.load_split(data.dataset, split) for split in ("train", "test"))
  splits = input_pipeline.prepare(train, test, image_size, data.validation_fraction)
  source = data.images or data.dataset
  counts = f"{len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test"
  print(f"{source}: {counts} specimens of {image_size} x {image_size} px.")
  if splits.repairs.non_finite_pixels:
    print(f"{source}: {splits.repairs.non_finite_pixels} NaN or infinite pixels were replaced by 0.")
  if splits.repairs.constant_images:
    print(f"{source}: {splits.repairs.constant_images} images are constant and were set to 0.")
  return splits


def load_split(data: config.Data, image_size: int, split: str) -> tuple[np.ndarray, list[str] | None]:
  """Loads one split (`train`, `validation`, `test` or `all`) and the source file of each image, None if unknown."""
  splits = load(data, image_size)
  parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
  sources = _sources(data.images, sum(map(len, parts.values()))) if data.images else None
  if split == "all":
    return np.concatenate(list(parts.values())), sources
  first = {"train": 0, "validation": len(splits.train), "test": len(splits.train) + len(splits.validation)}[split]
  images = parts[split]
  if not len(images):
    raise ValueError(f"split={split} is empty: set --validation_fraction when training, or choose another split.")
  return images, sources and sources[first : first + len(images)]


def _sources(path: str, count: int) -> list[str] | None:
  """Reads the source file of each of `count` images from the JSON of provenance beside them, if there is one."""
  provenance = pathlib.Path(path).with_suffix(".json")
  if not provenance.is_file():
    return None
  entries = json.loads(provenance.read_text())
  if not isinstance(entries, list) or not all(isinstance(entry, dict) and "file" in entry for entry in entries):
    raise ValueError(f"{provenance} is not a list of one object with a 'file' per image: repair or remove it.")
  if len(entries) != count:
    raise ValueError(f"{provenance} has {len(entries)} entries and {path} holds {count} images: repair or remove it.")
  return [f"{entry.get('source', '')}/{entry['file']}" for entry in entries]
