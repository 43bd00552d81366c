"""The file of a micrograph that is scanned, and what its flags mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.micrographs import crops, readers
from adaptive_stem_tf.serving import image_scan


class Subject(NamedTuple):
  """A micrograph, ready to be scanned."""

  image: np.ndarray  # [H, W] float32, after binning; finite
  pixel_size_nm: float | None  # side of a px after binning; None if unknown
  about: dict[str, Any]  # for the summary


def read(path: str, frame: int, binning: int, pixel_size_nm: float | None) -> Subject:
  """Reads, bins and mends a micrograph, and prints what was done to it.

  Args:
    path: of the file.
    frame: which frame of a stack, from 0.
    binning: px per side that become one.
    pixel_size_nm: side of a px of the file; None for what the file says.

  Raises:
    ValueError, FileNotFoundError, RuntimeError: as `readers.read`.
  """
  stored = readers.read(path, frame)
  image, mended = image_scan.mend(crops.bin_down(stored.image, binning))
  for note in (
    *stored.notes,
    *([f"{mended} pixels that are not finite are taken as the darkest"] * bool(mended)),
  ):
    print(f"{path}: {note}")
  size = pixel_size_nm or stored.pixel_size_nm
  return Subject(
    image,
    size and size * binning,
    {
      "image": path,
      "frame": frame,
      "binning": binning,
      "image_px": list(image.shape),
      "image_dtype": stored.dtype,
      "pixels_mended": mended,
    },
  )


def window(texts: Sequence[str] | None) -> tuple[int, int] | None:
  """Returns the first row and column that --window gives; None for the centre.

  Raises:
    ValueError: if it is no place.
  """
  if not texts:
    return None
  try:
    row, column = map(int, texts)
  except ValueError:
    raise ValueError(
      f"window={','.join(texts)} is no place: give its first row and column, such as 120,64."
    ) from None
  return row, column
