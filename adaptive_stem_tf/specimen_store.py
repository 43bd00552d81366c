"""Arrays in files that are read when they are indexed: for sets that do not fit into memory."""

import pathlib
from collections.abc import Iterable

import numpy as np

from adaptive_stem_tf import specimens, writing


def keep(
  file: pathlib.Path, chunks: Iterable[np.ndarray], shape: tuple[int, ...]
) -> specimens.Repairs:
  """Writes specimens to a NumPy file, normalised, a chunk at a time; whole or not at all.

  Args:
    file: is replaced.
    chunks: [n, S, S, 1] of real numbers each, as stored.
    shape: (N, S, S, 1), of all of them together.

  Returns:
    The repairs that specimens needed.

  Raises:
    writing.WriteError, ValueError: as `write`.
  """
  repairs = [specimens.Repairs(0, 0)]

  def normalised():
    """Yields the chunks, normalised."""
    for chunk in chunks:
      images = np.array(chunk, np.float32)
      repairs.append(specimens.normalise(images))
      yield images

  write(file, normalised(), shape)
  return specimens.Repairs(*map(sum, zip(*repairs)))


def write(
  file: pathlib.Path,
  chunks: Iterable[np.ndarray],
  shape: tuple[int, ...],
  dtype: type[np.floating] = np.float32,
) -> None:
  """Writes an array to a NumPy file, a chunk at a time; whole or not at all.

  Args:
    file: is replaced.
    chunks: [n, ...] each.
    shape: (N, ...), of all of them together.
    dtype: of the array in the file.

  Raises:
    writing.WriteError: if the file cannot be written.
    ValueError: if chunks have fewer or more rows, or rows of another shape.
  """
  row = 0
  with writing.whole(file) as unfinished:
    stored = np.lib.format.open_memmap(unfinished, "w+", dtype, shape)
    for chunk in chunks:
      if chunk.shape[1:] != shape[1:] or row + len(chunk) > len(stored):
        raise ValueError(f"{file}: a chunk of shape {list(chunk.shape)} does not fit {shape}.")
      stored[row : row + len(chunk)] = chunk
      row += len(chunk)
    stored.flush()
    if row != len(stored):
      raise ValueError(f"{file}: {row} specimens came of {len(stored)}.")


def read(file: pathlib.Path, dtype: type[np.floating] = np.float32) -> np.memmap:
  """Returns the specimens of a file [N, S, S, 1], which are read when they are indexed.

  Raises:
    ValueError: if the file does not hold specimens of this type.
  """
  stored = np.load(file, mmap_mode="r", allow_pickle=False)
  if not isinstance(stored, np.memmap) or stored.dtype != dtype or stored.ndim != 4:
    raise ValueError(f"{file} holds no specimens: remove it, and it is written anew.")
  return stored
