"""Specimens to train and test on, and the order in which they are drawn (METHOD section 2)."""

import os
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import randomness, specimens
from adaptive_stem_tf.types import Draw, Streamed

_TRAIN_SHARE = 0.8  # of a file of images, in file order
_AHEAD = 8  # batches that are drawn while steps are taken


class Splits(NamedTuple):
  """Normalised specimens, float32 [N, S, S, 1] in [-1, 1], and the repairs that they needed."""

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray
  repairs: specimens.Repairs


def read_images(file: str | os.PathLike) -> np.ndarray:
  """Reads a NumPy file of specimens into a new float32 array [N, S, S, 1] (see `open_images`)."""
  return np.array(open_images(file), np.float32)


def open_images(file: str | os.PathLike) -> np.ndarray:
  """Opens a NumPy file of specimens.

  Args:
    file: of an array [N, S, S, 1] or [N, S, S] of real numbers.

  Returns:
    [N, S, S, 1] as stored, not normalised; the file is read when it is indexed.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it cannot be read as such an array.
  """
  file = pathlib.Path(file)
  if not file.is_file():
    raise FileNotFoundError(
      f"images={file} is not a file: give a NumPy file of specimens [N, S, S, 1]."
    )
  if file.suffix.lower() not in ("", ".npy", ".npz"):
    raise ValueError(
      f"images={file} is no NumPy file: cut micrographs into specimens first, by python -m "
      f"launch.prepare --input={file} --output=crops.npy."
    )
  try:
    stored = np.load(file, mmap_mode="r", allow_pickle=False)
  except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"images={file} cannot be read as a NumPy array ({error}): is the file complete?"
    ) from error
  if not isinstance(stored, np.ndarray):
    raise ValueError(f"images={file} is an archive of several arrays: save one array as .npy.")
  if stored.ndim == 3:
    stored = stored[..., None]
  if stored.ndim != 4 or stored.shape[1] != stored.shape[2] or stored.shape[3] != 1:
    raise ValueError(
      f"images={file} has shape {list(stored.shape)}: specimens are square, [N, S, S, 1] or [N, "
      "S, S]."
    )
  if stored.dtype.kind not in "fiu":
    raise ValueError(f"images={file} holds {stored.dtype}: intensities must be real numbers.")
  return stored


def check(name: str, shape: tuple[int, ...], image_size: int) -> None:
  """Checks the shape [N, S, S, 1] of a split.

  Raises:
    ValueError: if it is empty, or specimens are not as wide as the scan expects.
  """
  if not shape[0]:
    raise ValueError(
      f"the {name} split is empty: more specimens are needed (80 % train, the rest test)."
    )
  if shape[1] != image_size:
    raise ValueError(
      f"the {name} specimens are {shape[1]} px wide and image_size={image_size}: "
      f"set --image_size={shape[1]} or give other images."
    )


def prepare(
  train: np.ndarray,
  test: np.ndarray,
  image_size: int,
  validation_fraction: float,
  sources: Sequence[str] | None = None,
) -> Splits:
  """Normalises specimens in place and sets a validation split aside.

  Args:
    train: float32 [N, S, S, 1], as stored.
    test: float32 [M, S, S, 1], as stored.
    image_size: side that the scan expects, px.
    validation_fraction: share of `train` set aside (see `set_aside`).
    sources: [N], the file each of `train` was cut from; None if unknown.

  Raises:
    ValueError: if specimens have another size, or a split is empty.
  """
  for name, images in (("training", train), ("test", test)):
    check(name, images.shape, image_size)
  each = [specimens.normalise(images) for images in (train, test)]
  repairs = specimens.Repairs(*map(sum, zip(*each)))
  if not validation_fraction:
    return Splits(train, train[:0], test, repairs)  # no copy of a large set
  aside = set_aside(len(train), validation_fraction, sources)
  if aside.all():
    raise ValueError(
      f"validation_fraction={validation_fraction} leaves none of {len(train)} specimens to train "
      "on."
    )
  return Splits(train[~aside], train[aside], test, repairs)


def set_aside(count: int, fraction: float, sources: Sequence[str] | None = None) -> np.ndarray:
  """Returns whether each training specimen is for validation, [count] bool (METHOD section 2).

  Whole files are set aside, so that all crops of one micrograph are on one side: starting with the
  file of the last crop and going backwards, each file that still fits into the share. If sources
  are unknown, the last specimens are set aside.

  Args:
    count: of training specimens.
    fraction: share to set aside; 0 for none.
    sources: [count], the file of each; None if unknown.

  Raises:
    ValueError: if no file fits.
  """
  most, aside = round(fraction * count), np.zeros(count, bool)
  if sources is None:
    aside[count - most :] = True
    return aside
  files = np.asarray([str(source) for source in sources])
  for file in dict.fromkeys(files[::-1]):
    if np.count_nonzero(aside) + np.count_nonzero(files == file) <= most:
      aside |= files == file
  if most and not aside.any():
    raise ValueError(
      f"validation_fraction={fraction} of {count} specimens holds no whole source file: raise it."
    )
  return aside


def split_file_order(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Splits images in file order: the first int(0.8 N) train, the rest test."""
  count = int(_TRAIN_SHARE * len(images))
  return images[:count], images[count:]


def draws(
  count: int, batch: int, seed: int, augment: bool, start: int = 0, streamed: Streamed | None = None
) -> Iterator[Draw]:
  """Yields batches of (specimen, transform) without end, in another order each epoch.

  A draw is a pure function of the seed and its number, so the position of the
  pipeline is the iteration: nothing else needs to be checkpointed.

  Args:
    count: number of training specimens.
    batch: B.
    seed: of the order and the transforms.
    augment: whether to draw one of the 8 dihedral transforms, uniformly; else there is none.
    start: iteration to start at.
    streamed: reads the data that come with draws, while steps are taken; None for numbers only.
  """

  def draw(number):
    """Draws one specimen; its number counts from the start of training."""
    order = randomness.stream(seed, randomness.Purpose.ORDER, number // count)  # one order an epoch
    index = tf.random.experimental.index_shuffle(
      number % count, order, tf.constant(count - 1, tf.int64)
    )
    transform = tf.constant(0)
    if augment:
      stream = randomness.stream(seed, randomness.Purpose.TRANSFORM, number)
      transform = tf.random.stateless_uniform([], stream, 0, specimens.TRANSFORMS, tf.int32)
    return Draw(tf.cast(index, tf.int32), transform)

  dataset = tf.data.Dataset.counter(start * batch).map(draw)
  dataset = _untuned(dataset.batch(batch, drop_remainder=True))
  if streamed is not None:
    dataset = _untuned(_with_images(dataset, streamed, start))
  return iter(dataset.prefetch(_AHEAD))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Returns a data set that TensorFlow does not tune.

  There is nothing to tune, and deleting an iterator would wait for the tuning thread, which sleeps
  ten seconds at a time.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)


def _with_images(numbers: tf.data.Dataset, streamed: Streamed, start: int) -> tf.data.Dataset:
  """Adds to draws, from the iteration `start` on, the data that come with them."""
  index, transform, _ = numbers.element_spec

  def read():
    """Yields the draws with their data."""
    for iteration, draw in enumerate(numbers.as_numpy_iterator(), start):
      yield draw.index, draw.transform, streamed.read(iteration, draw)

  signature = (index, transform, streamed.spec)
  return tf.data.Dataset.from_generator(read, output_signature=signature).map(Draw)


def batches(images: np.ndarray, batch: int) -> Iterator[tuple[np.ndarray, int]]:
  """Yields every image once, in order, in batches of a fixed shape.

  The last image fills up the last batch, so that shapes are static.

  Args:
    images: [N, S, S, 1].
    batch: B.

  Yields:
    A batch [B, S, S, 1], and how many of its images are not repetitions.
  """
  for start in range(0, len(images), batch):
    part = images[start : start + batch]
    missing = batch - len(part)
    full = np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part
    yield full, len(part)
