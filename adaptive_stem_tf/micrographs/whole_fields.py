"""Whole micrographs as fields: without information bars, binned, percentiles at -1 and 1."""

import dataclasses
import os
from typing import NamedTuple

import numpy as np
from skimage import transform

from adaptive_stem_tf.micrographs import readers
from adaptive_stem_tf.micrographs.micrograph import MicrographError

PERCENTILES = 0.1, 99.9  # that become -1 and 1: a few hot pixels should not set the contrast
SMALLEST = 96  # px


@dataclasses.dataclass(frozen=True)
class FieldReading:
  """How a field is made of a micrograph.

  Raises:
    ValueError: if the largest side is too small.
  """

  size: int = 512  # px, the longer side at most; a larger micrograph is binned
  square: bool = False  # whether only the central square is taken

  def __post_init__(self):
    if self.size < SMALLEST:
      raise ValueError(
        f"size={self.size}: a field has at least {SMALLEST} px along its longer side."
      )


class WholeField(NamedTuple):
  """A field and where it comes from."""

  field: np.ndarray  # [H, W] float32 in [-1, 1]
  pixel_size_nm: float | None  # side of a px of the field; None if unknown
  binning: float  # px of the file per px of the field, along each axis
  shape: tuple[int, int]  # of the file, px
  dtype: str  # of the values in the file
  notes: tuple[str, ...]  # what was taken of the file, and what was converted


def read(
  path: str | os.PathLike,
  reading: FieldReading = FieldReading(),  # noqa: B008 - frozen
  rows: int | None = None,
  frame: int = 0,
) -> WholeField:
  """Reads the field in a file of any type that `readers.read` knows, or in a .npz with one array.

  Args:
    path: of the file.
    reading: how a field is made of it.
    rows: the field ends above this row of the file, where an information bar begins; None for all.
    frame: which frame of a stack, from 0.

  Raises:
    FileNotFoundError, MicrographError: as `readers.read`; also for a micrograph that is too small
      or constant, and for rows that it does not have.
    microscope_files.MissingReaderError: if RosettaSciIO is needed and not installed.
  """
  micrograph = readers.read(path, frame)
  try:
    field, binning = from_image(micrograph.image, reading, rows)
  except ValueError as error:
    raise MicrographError(f"{os.fspath(path)}: {error}") from error
  size = micrograph.pixel_size_nm
  height, width = micrograph.image.shape
  notes = micrograph.notes if rows is None else (*micrograph.notes, f"rows 0 to {rows - 1}")
  return WholeField(
    field, None if size is None else size * binning, binning, (height, width), micrograph.dtype,
    notes
  )  # fmt: skip


def from_image(
  image: np.ndarray, reading: FieldReading, rows: int | None = None
) -> tuple[np.ndarray, float]:
  """Makes a field of an image.

  Args:
    image: [H, W], non-finite pixels allowed: they become the median.
    reading: how.
    rows: the field ends above this row; None for all.

  Returns:
    The field [h, w] in [-1, 1], float32, and its binning: px of the image per px of the field.

  Raises:
    ValueError: if the image does not have such rows, is constant, or smaller than 96 px.
  """
  if rows is not None and not 0 < rows <= len(image):
    raise ValueError(f"rows={rows}: the image has {len(image)}; give how many of them to keep.")
  image = np.nan_to_num(np.asarray(image[:rows], np.float32), nan=float(np.nanmedian(image)))
  if reading.square:
    image = _central_square(image)
  binning = max(1.0, max(image.shape) / reading.size)
  shape = tuple(max(1, round(length / binning)) for length in image.shape)
  if min(shape) < SMALLEST:
    raise ValueError(
      f"a field of {shape[0]} x {shape[1]} px is left of it: at least {SMALLEST} x {SMALLEST} are "
      "needed."
    )
  if binning > 1:
    image = transform.resize_local_mean(image, shape)  # averages areas, whole px or not
  return to_unit_range(image), binning


def to_unit_range(image: np.ndarray) -> np.ndarray:
  """Maps the percentiles 0.1 and 99.9 of an image to -1 and 1, and clips; float32.

  Raises:
    ValueError: if nearly all of the image has one intensity.
  """
  low, high = np.percentile(image, PERCENTILES)
  if not high > low:
    raise ValueError("nearly all of its pixels have the same intensity: there is nothing to see.")
  return np.clip(2 * (image - low) / (high - low) - 1, -1, 1).astype(np.float32)


def _central_square(image):
  side = min(image.shape)
  top, left = ((length - side) // 2 for length in image.shape)
  return image[top : top + side, left : left + side]
