"""Images to scan: micrographs from files, arrays or signals, with non-finite pixels mended."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.micrographs import crops, information_bar, microscope_files, readers
from adaptive_stem_tf.micrographs.micrograph import Micrograph, MicrographError, from_array
from adaptive_stem_tf.serving import image_scan

_AXIS = ("name", "units", "scale", "offset", "navigate")  # attributes of a signal's axes


class Subject(NamedTuple):
  """A micrograph, ready to be scanned."""

  image: np.ndarray  # [H, W] float32, after binning; finite
  pixel_size_nm: float | None  # side of a px after binning; None if unknown
  about: dict[str, Any]  # for the summary
  notes: tuple[str, ...]  # what was done to it


def of_file(
  file: str | os.PathLike,
  frame: int = 0,
  binning: int = 1,
  pixel_size_nm: float | None = None,
  rows: int | None = None,
) -> Subject:
  """Reads, bins and mends a micrograph; notes what looks like an information bar.

  Args:
    file: of any type that `readers.read` knows.
    frame: number of a frame of a stack, from 0.
    binning: px per side that become one.
    pixel_size_nm: side of a px of the file; None for the size that the file gives.
    rows: number of rows to keep, those above an information bar; None for all.

  Raises:
    ValueError, FileNotFoundError, RuntimeError: as `readers.read`, or if there are not that many
      rows.
  """
  about = {"image": str(file), "frame": frame, "binning": binning, "rows": rows}
  return _mended(_above(readers.read(file, frame), rows), about, binning, pixel_size_nm)


def partial_of_file(
  file: str | os.PathLike, frame: int = 0, pixel_size_nm: float | None = None
) -> Subject:
  """Reads a field of which only some pixels were measured, such as partial_scan.tif of a scan.

  Args:
    file: of any type that `readers.read` knows and that can hold NaN.
    frame: number of a frame of a stack, from 0.
    pixel_size_nm: side of a px; None for the size that the file gives.

  Returns:
    The field, NaN where it was not measured.

  Raises:
    ValueError, FileNotFoundError, RuntimeError: as `readers.read`; if no pixel was measured, or
      every one.
  """
  stored = readers.read(file, frame)
  measured = np.isfinite(stored.image)
  if measured.all():
    raise MicrographError(
      f"{file} has no pixel that was not measured, which are NaN in it: give a partial_scan.tif of "
      "a scan, or scan it as --image."
    )
  about: dict[str, Any] = {"partial": str(file), "frame": frame}
  if stored.acquisition:
    about["instrument"] = {"acquisition": stored.acquisition}
  size = stored.pixel_size_nm if pixel_size_nm is None else pixel_size_nm
  return Subject(stored.image, size, about, stored.notes)


def _above(stored: Micrograph, rows: int | None) -> Micrograph:
  """Keeps the first rows; without a number of rows, notes what looks like an information bar."""
  if rows is None:
    return stored._replace(notes=(*stored.notes, *information_bar.notes(stored.image)))
  if not 0 < rows <= len(stored.image):
    raise MicrographError(f"rows={rows}: the image has {len(stored.image)}; give how many to keep.")
  return stored._replace(image=stored.image[:rows])


def of_array(array: np.ndarray, pixel_size_nm: float | None = None) -> Subject:
  """Mends an image [H, W].

  Raises:
    micrograph.MicrographError: if it is no image of real numbers.
  """
  return _mended(from_array(np.asarray(array)), {"image": "an array"}, 1, pixel_size_nm)


def of_signal(signal: Any, pixel_size_nm: float | None = None) -> Subject:
  """Mends the image of a signal of HyperSpy, or of a dictionary as RosettaSciIO reads it.

  Args:
    signal: has `data` and `axes_manager`, or is a mapping with `data` and `axes`.
    pixel_size_nm: side of a px; None for the size that the axes give.

  Raises:
    micrograph.MicrographError: if it is no image of real numbers.
  """
  read = microscope_files.of_signals([_dictionary(signal)])
  return _mended(read, {"image": "a signal"}, 1, pixel_size_nm)


def of(source: Any, pixel_size_nm: float | None = None) -> Subject:
  """Mends an image from wherever it comes: a file, a signal, or an array."""
  if isinstance(source, str | os.PathLike):
    return of_file(source, pixel_size_nm=pixel_size_nm)
  if isinstance(source, Mapping) or hasattr(source, "axes_manager"):
    return of_signal(source, pixel_size_nm)
  return of_array(source, pixel_size_nm)


def _dictionary(signal):
  """Returns a signal as RosettaSciIO's readers do, whose axes are in the order of the array."""
  if not isinstance(signal, Mapping):
    # HyperSpy lists axes as (x, y), the array has them as [y, x].
    axes = [
      *reversed(signal.axes_manager.navigation_axes),
      *reversed(signal.axes_manager.signal_axes),
    ]
    signal = {
      "data": signal.data,
      "axes": [{name: getattr(axis, name) for name in _AXIS} for axis in axes],
      "metadata": signal.metadata.as_dictionary(),
    }
  if not {"data", "axes"} <= set(signal):
    raise MicrographError("it has no `data` and `axes`: give a signal, an array or a file.")
  return signal


def _mended(
  stored: Micrograph, about: dict[str, Any], binning: int, pixel_size_nm: float | None
) -> Subject:
  image, count = image_scan.mend(crops.bin_down(stored.image, binning))
  size = pixel_size_nm or stored.pixel_size_nm
  if stored.acquisition:
    about = {**about, "instrument": {"acquisition": stored.acquisition}}
  note = f"{count} pixels that are not finite are taken as the darkest"
  return Subject(
    image,
    size and size * binning,
    {**about, "image_px": list(image.shape), "image_dtype": stored.dtype, "pixels_mended": count},
    (*stored.notes, *([note] * bool(count))),
  )
