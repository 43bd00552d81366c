"""Loads specimens that do not fit into memory: those to train on stay in a file."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import config, input_pipeline, specimen_store, specimens
from launch import provenance

_CHUNK = 1024  # specimens in memory at a time while they are written


class _Source(NamedTuple):
  """Specimens [n, S, S, 1] as they are stored, of real numbers."""

  shape: tuple[int, ...]  # of those to train on, (N, S, S, 1)
  train: Callable[[], Iterable[np.ndarray]]  # their chunks
  validation: np.ndarray
  test: np.ndarray


def load(data: config.Data, image_size: int, store: pathlib.Path) -> input_pipeline.Splits:
  """Loads specimens as `launch.data.load`, but those to train on from a file, as they are indexed.

  Args:
    data: names the specimens.
    image_size: their side, px.
    store: the file; written if it is not there.

  Raises:
    ValueError, FileNotFoundError: if specimens are missing, unreadable or of another size.
    writing.WriteError: if the file cannot be written.
  """
  if data.extra_specimens:
    raise ValueError(
      f"extra_specimens={data.extra_specimens} and images_in=stream contradict each other: put all "
      "specimens into one file or data set, or train in memory."
    )
  source = _of_file(data) if data.images else _of_dataset(data)
  for name, shape in (("training", source.shape), ("test", source.test.shape)):
    input_pipeline.check(name, shape, image_size)
  repairs = [specimens.normalise(images) for images in (source.validation, source.test)]
  if not store.exists():
    repairs.append(specimen_store.keep(store, source.train(), source.shape))
  train = specimen_store.read(store)
  if train.shape != source.shape:
    raise ValueError(
      f"{store} has specimens of shape {list(train.shape)}, and there are {list(source.shape)}: "
      "give the specimens that the run began with, or choose another workdir."
    )
  mended = specimens.Repairs(*map(sum, zip(*repairs)))
  return input_pipeline.Splits(train, source.validation, source.test, mended)


def _of_file(data: config.Data) -> _Source:
  images = input_pipeline.open_images(data.images)
  train, test = input_pipeline.split_file_order(images)
  origin = provenance.read(data.images, len(images))
  sources = origin and origin.sources[: len(train)]
  aside = input_pipeline.set_aside(len(train), data.validation_fraction, sources)
  rows = np.flatnonzero(~aside)

  def chunks():
    """Yields training specimens, some at a time."""
    for start in range(0, len(rows), _CHUNK):
      yield train[rows[start : start + _CHUNK]]

  in_memory = lambda part: np.array(part, np.float32)
  return _Source((len(rows), *train.shape[1:]), chunks, in_memory(train[aside]), in_memory(test))


def _of_dataset(data: config.Data) -> _Source:
  from datasets import load as dataset_loader  # TFDS takes seconds to import

  count, shape = dataset_loader.size(data.dataset, "train")
  kept = count - round(data.validation_fraction * count)
  empty = np.zeros([0, *shape], np.float32)
  return _Source(
    (kept, *shape),
    lambda: dataset_loader.chunks(data.dataset, f"train[:{kept}]", _CHUNK),
    dataset_loader.load_split(data.dataset, f"train[{kept}:]") if kept < count else empty,
    dataset_loader.load_split(data.dataset, "test"),
  )
