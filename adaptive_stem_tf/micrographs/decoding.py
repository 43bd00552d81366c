"""Decodes NumPy files, and limits the size of any array, which is checked before it is decoded.

A header of some hundred bytes can promise terabytes, and a compressed file of a megabyte can hold
gigabytes. The limit admits a field of 16,384 x 16,384 px of 64 bits.
"""

import math
import zipfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from adaptive_stem_tf.micrographs.micrograph import MicrographError

MOST_BYTES = 1 << 31


def check(shape: Sequence[int], item_bytes: int) -> None:
  """Checks that an array is within the limit.

  Raises:
    MicrographError: if it is larger, or its header is damaged.
  """
  if any(side < 0 for side in shape):
    raise MicrographError(f"its header promises an array of shape {list(shape)}: it is damaged.")
  size = math.prod(int(side) for side in shape) * item_bytes
  if size > MOST_BYTES:
    raise MicrographError(
      f"it holds an array of shape {list(shape)}, {size / 1e9:.1f} GB decoded, and at most "
      f"{MOST_BYTES / 1e9:.1f} GB are read: crop it, or save its frames one by one."
    )


def npy(file: IO[bytes]) -> np.ndarray:
  """Reads a .npy; allocates memory for the bytes that follow, not for those that its header says.

  Raises:
    MicrographError: if the array is larger than the limit, its size is not that of the file, or it
      holds objects.
    ValueError: if it is not a .npy.
  """
  version = np.lib.format.read_magic(file)
  readers = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  if version not in readers:
    raise MicrographError(f"it is a .npy of version {version}, which images do not need.")
  shape, in_columns, dtype = readers[version](file)
  if dtype.hasobject:
    raise MicrographError("it holds Python objects, which may run code when they are read.")
  check(shape, dtype.itemsize)
  size = math.prod(shape) * dtype.itemsize
  content = file.read(size + 1)
  if len(content) != size:
    raise MicrographError(
      f"its header promises an array of shape {list(shape)}, {size} bytes, and "
      f"{'fewer' if len(content) < size else 'more'} follow: is the file complete?"
    )
  array = np.frombuffer(content, dtype)
  return array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)


def npz(file: IO[bytes]) -> np.ndarray:
  """Reads the only array of an archive.

  Raises:
    MicrographError: if it holds several, or is damaged.
    ValueError: as `npy`.
  """
  try:
    with zipfile.ZipFile(file) as archive:
      members = archive.infolist()
      if len(members) != 1:
        names = ", ".join(member.filename.removesuffix(".npy") for member in members[:8])
        raise MicrographError(f"it holds {len(members)} arrays ({names}): save one.")
      check([members[0].file_size], 1)
      with archive.open(members[0]) as member:
        return npy(member)
  except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
    raise MicrographError(f"it is a damaged archive ({error}): copy the file again.") from error
