"""Training specimens in a file that batches are read from: for sets that do not fit into memory."""

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
    What had to be mended.

  Raises:
    writing.WriteError: if the file cannot be written.
    ValueError: if there are fewer or more specimens, or of another size.
  """
  found, row = specimens.Repairs(0, 0), 0
  with writing.whole(file) as unfinished:
    stored = np.lib.format.open_memmap(unfinished, "w+", np.float32, shape)
    for chunk in chunks:
      images = np.array(chunk, np.float32)
      if images.shape[1:] != shape[1:] or row + len(images) > len(stored):
        raise ValueError(f"{file}: a chunk of shape {list(chunk.shape)} does not fit {shape}.")
      repairs = specimens.normalise(images)
      found = specimens.Repairs(*map(sum, zip(found, repairs)))
      stored[row : row + len(images)] = images
      row += len(images)
    stored.flush()
    if row != len(stored):
      raise ValueError(f"{file}: {row} specimens came of {len(stored)}.")
  return found


def read(file: pathlib.Path) -> np.memmap:
  """Returns the specimens of a file [N, S, S, 1], which are read as they are indexed.

  Raises:
    ValueError: if it holds none.
  """
  stored = np.load(file, mmap_mode="r", allow_pickle=False)
  if not isinstance(stored, np.memmap) or stored.dtype != np.float32 or stored.ndim != 4:
    raise ValueError(f"{file} holds no specimens: remove it, and it is written anew.")
  return stored
