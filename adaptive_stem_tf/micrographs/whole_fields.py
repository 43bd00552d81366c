"""Whole micrographs as fields: without information bars, binned, percentiles at -1 and 1."""

import dataclasses
import os
from typing import NamedTuple

import numpy as np
from skimage import transform

from adaptive_stem_tf.micrographs import information_bar, readers
from adaptive_stem_tf.micrographs.micrograph import MicrographError

PERCENTILES = 0.1, 99.9  # become -1 and 1, so that a few hot pixels do not set the contrast
SMALLEST = 96  # px


@dataclasses.dataclass(frozen=True)
class FieldReading:
  """How a field is made of a micrograph.

  Raises:
    ValueError: if `size` is too small.
  """

  size: int = 512  # px, the longer side at most; a larger micrograph is binned
  square: bool = False  # whether only the central square is taken
  # Whether to cut pieces of `size` px, too, from the micrograph at less binning, down to none.
  pieces: bool = False

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
  place: tuple[int, int]  # first row and column in the file, px
  shape: tuple[int, int]  # of the file, px
  dtype: str  # of the values in the file
  notes: tuple[str, ...]  # about the part of the file that was read, and conversions


def read(
  path: str | os.PathLike,
  reading: FieldReading | None = None,
  rows: int | None = None,
  frame: int = 0,
) -> WholeField:
  """Reads the field in a file of any type that `readers.read` knows; colour is averaged.

  Args:
    path: of the file.
    reading: how a field is made from it; None for the defaults.
    rows: the field ends above this row of the file, where an information bar begins; None for all.
    frame: which frame of a stack, from 0.

  Raises:
    FileNotFoundError, MicrographError: as `readers.read`; also for a micrograph that is too small
      or constant, and for rows that it does not have.
    microscope_files.MissingReaderError: if RosettaSciIO is needed and not installed.
  """
  return read_all(path, reading or FieldReading(), rows, frame)[0]


def read_all(
  path: str | os.PathLike, reading: FieldReading, rows: int | None = None, frame: int = 0
) -> list[WholeField]:
  """Reads the field in a file, as `read`, and pieces of it if `reading.pieces`.

  Pieces follow the whole field. They are `reading.size` px long; the first are binned half as much
  as the whole, the next a quarter as much, and so on down to the file's own pixels.
  """
  micrograph = readers.read(path, frame, colour=True)
  size, shape = micrograph.pixel_size_nm, micrograph.image.shape
  cut = information_bar.notes(micrograph.image) if rows is None else (f"rows 0 to {rows - 1}",)
  notes = (*micrograph.notes, *cut)
  try:
    image, (top, left) = _visible(micrograph.image, reading, rows)
    return [
      WholeField(
        field,
        None if size is None else size * binning,
        binning,
        (top + row, left + column),
        shape,
        micrograph.dtype,
        notes,
      )
      for row, column, binning, field in _fields(image, reading)
    ]
  except ValueError as error:
    raise MicrographError(f"{os.fspath(path)}: {error}") from error


def from_image(
  image: np.ndarray, reading: FieldReading | None = None, rows: int | None = None
) -> tuple[np.ndarray, float]:
  """Makes a field from an image.

  Args:
    image: [H, W]; pixels that are not finite become the median.
    reading: how the field is made; None for the defaults.
    rows: the field ends above this row; None for all.

  Returns:
    The field [h, w] in [-1, 1], float32, and its binning: px of the image per px of the field.

  Raises:
    ValueError: if the image does not have such rows, is constant, or smaller than 96 px.
  """
  reading = reading or FieldReading()
  image, _ = _visible(image, reading, rows)
  binning = max(1.0, max(image.shape) / reading.size)
  return to_unit_range(_bin_down(image, binning)), binning


def to_unit_range(image: np.ndarray) -> np.ndarray:
  """Maps the percentiles 0.1 and 99.9 of an image to -1 and 1, and clips; float32.

  Raises:
    ValueError: if nearly all of the image has one intensity.
  """
  low, high = np.percentile(image, PERCENTILES)
  if not high > low:
    raise ValueError("nearly all of its pixels have the same intensity: there is nothing to see.")
  return np.clip(2 * (image - low) / (high - low) - 1, -1, 1).astype(np.float32)


def _visible(image, reading, rows):
  """Returns the part of an image that becomes a field, all finite, and its first row and column."""
  if rows is not None and not 0 < rows <= len(image):
    raise ValueError(f"rows={rows}: the image has {len(image)}; give how many of them to keep.")
  image = np.asarray(image[:rows], np.float32)
  finite = np.isfinite(image)
  image = np.where(finite, image, np.median(image[finite]) if finite.any() else np.float32(np.nan))
  if not reading.square:
    return image, (0, 0)
  side = min(image.shape)
  top, left = ((length - side) // 2 for length in image.shape)
  return image[top : top + side, left : left + side], (top, left)


def _bin_down(image, binning):
  """Averages areas of `binning` px a side, whole px or not, of an image [H, W]."""
  shape = tuple(round(length / binning) for length in image.shape)
  if min(shape) < SMALLEST:
    raise ValueError(
      f"a field of {shape[0]} x {shape[1]} px is left of it: at least {SMALLEST} x {SMALLEST} are "
      "needed."
    )
  return image if shape == image.shape else transform.resize_local_mean(image, shape)


def _fields(image, reading):
  """Yields first row and column, binning and field: of the whole image, then of its pieces."""
  binning = max(1.0, max(image.shape) / reading.size)
  yield 0, 0, binning, to_unit_range(_bin_down(image, binning))
  while reading.pieces and binning > 1:
    binning = max(1.0, binning / 2)
    side = int(reading.size * binning)
    for row in _starts(image.shape[0], side):
      for column in _starts(image.shape[1], side):
        piece = _bin_down(image[row : row + side, column : column + side], binning)
        if np.ptp(np.percentile(piece, PERCENTILES)):  # constant pieces are left out
          yield row, column, binning, to_unit_range(piece)


def _starts(length, side):
  """Returns the places at which pieces of a side begin, the fewest that cover a length."""
  if length <= side:
    return [0]
  return [int(start) for start in np.linspace(0, length - side, -(-length // side))]
