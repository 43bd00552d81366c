"""Makes one grey image of real numbers from the array that a file holds."""

from typing import Any, NamedTuple

import numpy as np

_COLOUR_TOLERANCE = 0.01  # of the range of values, by which channels of a grey picture may differ
_FLOAT32_BITS = 2.0**-24  # relative rounding
_CHANNELS = (3, 4)
_NM = {
  "nm": 1.0,
  "pm": 1e-3,
  "a": 0.1,
  "å": 0.1,
  "angstrom": 0.1,
  "um": 1e3,
  "µm": 1e3,
  "μm": 1e3,
  "micron": 1e3,
  "micrometer": 1e3,
  "mm": 1e6,
  "cm": 1e7,
  "m": 1e9,
}


class MicrographError(ValueError):
  """A file holds no micrograph that can be read."""


class Micrograph(NamedTuple):
  """A grey image and what is known of it."""

  image: np.ndarray  # [H, W] float32, intensities as stored; non-finite ones are NaN
  pixel_size_nm: float | None  # side of a px; None if unknown
  dtype: str  # of the values in the file
  notes: tuple[str, ...]  # about the part of the file that was read, and conversions
  colour: str = ""  # for a picture in colour: how much its channels, which were averaged, differ
  # The file's metadata about instrument and time, in HyperSpy's names; None if there are none.
  acquisition: dict[str, Any] | None = None


def from_array(
  array: np.ndarray, pixel_size_nm: float | None = None, notes: tuple[str, ...] = ()
) -> Micrograph:
  """Makes a micrograph of an image [H, W], or of the mean of colour channels [H, W, 3 or 4].

  Non-finite values become NaN. Values that float32 could not tell apart, a small contrast on a
  great offset, are stored without their offset.

  Raises:
    MicrographError: if it is no image, is not of real numbers, or has no finite pixel.
  """
  if array.dtype.kind not in "biuf":
    raise MicrographError(f"it holds {array.dtype}: intensities must be real numbers.")
  dtype = str(array.dtype)
  colour = ""
  if array.ndim == 3 and array.shape[2] in _CHANNELS:
    array, colour = _grey(array)
    notes = (*notes, f"{colour or 'colour with equal channels'}, averaged")
  if array.ndim != 2 or min(array.shape) < 2:
    raise MicrographError(
      f"it holds an array of shape {list(array.shape)}: a micrograph is an image [H, W]."
    )
  image, shifted = _as_float32(array)
  finite = np.isfinite(image)
  if not finite.any():
    raise MicrographError("none of its pixels is finite.")
  if not finite.all():
    notes = (*notes, f"{finite.size - np.count_nonzero(finite)} pixels are NaN or infinite")
    image = np.where(finite, image, np.float32(np.nan))
  return Micrograph(image, pixel_size_nm, dtype, (*notes, *shifted), colour)


def from_frames(
  array: np.ndarray, frame: int, pixel_size_nm: float | None = None, notes: tuple[str, ...] = ()
) -> Micrograph:
  """Makes a micrograph of one frame of a stack [N, H, W] or [N, H, W, 3 or 4], counted from 0.

  Raises:
    MicrographError: if there is no such frame, or it is no micrograph.
  """
  if frame >= len(array):
    raise MicrographError(f"frame={frame} was asked for, and it has {len(array)}: count from 0.")
  if len(array) > 1:
    notes = (*notes, frame_note(frame, len(array)))
  return from_array(array[frame], pixel_size_nm, notes)


def frame_note(frame: int, count: int) -> str:
  """Returns the note that one frame of several was read."""
  return f"a stack of {count} images: frame {frame} is taken (counted from 0)"


def nanometres(
  row_size: float, column_size: float, unit: str
) -> tuple[float | None, tuple[str, ...]]:
  """Returns the side of a pixel in nm, None if it is not known, and notes about it.

  Args:
    row_size: distance of neighbouring rows, in `unit`.
    column_size: distance of neighbouring columns, in `unit`.
    unit: as the file writes it.

  Raises:
    MicrographError: if the unit is reciprocal: the image is a diffraction pattern.
  """
  unit = unit.strip().lower().removeprefix("\\")
  if unit.startswith("1/") or unit.endswith("^-1") or unit in ("mrad", "rad"):
    raise MicrographError(
      f"its pixels are measured in {unit}: it is a diffraction pattern, not a micrograph."
    )
  if unit not in _NM or not (
    np.isfinite([row_size, column_size]).all() and row_size > 0 and column_size > 0
  ):
    return None, ()
  if abs(row_size / column_size - 1) > 0.01:
    return None, (
      f"pixels of {row_size:g} x {column_size:g} {unit} are not square: their size is left out",
    )
  return float(row_size * _NM[unit]), ()


def _grey(array):
  """Returns the mean of the channels, and how much they differ, in words; empty if they agree.

  Raises:
    MicrographError: if the picture is partly transparent.
  """
  channels = array[..., :3].astype(np.float64)
  full = (
    float(np.iinfo(array.dtype).max) if array.dtype.kind in "iu" else float(np.nanmax(channels))
  )
  if array.shape[2] == 4 and not (array[..., 3] == array[..., 3].max()).all():
    raise MicrographError("it is partly transparent: save it without an alpha channel.")
  difference = float(np.nanmax(channels.max(2) - channels.min(2)))
  colour = difference > _COLOUR_TOLERANCE * full
  words = f"in colour (channels differ by up to {difference:g} of {full:g})" if colour else ""
  return channels.mean(2), words


def _as_float32(array):
  """Returns an array as float32, and notes. The minimum is subtracted if rounding would otherwise
  cost contrast.
  """
  finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
  low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
  if max(abs(low), abs(high)) * _FLOAT32_BITS > 1e-4 * (high - low) > 0:
    return (array.astype(np.float64) - low).astype(np.float32), (
      f"{low:g} subtracted from every intensity",
    )
  with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, which is noted
    return array.astype(np.float32), ()
