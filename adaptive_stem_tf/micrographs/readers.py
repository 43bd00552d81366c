"""Reads micrograph files: NumPy arrays, TIFF, PNG and JPEG here, microscopes' own formats by
RosettaSciIO.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import tifffile
from etils import epath
from PIL import Image

from adaptive_stem_tf.micrographs import decoding, microscope_files
from adaptive_stem_tf.micrographs.micrograph import (
  Micrograph,
  MicrographError,
  frame_note,
  from_array,
  from_frames,
  nanometres,
)

_MICROSCOPIC = 1e3  # nm: larger pixels in a TIFF's resolution tags are of a printer
_FEI_SCANS = ("Scan", "EScan", "IScan")  # sections of FEI's and Thermo Fisher's tags
_ZEISS_SIZES = ("ap_image_pixel_size", "ap_pixel_size")  # of the file, else of the screen
_GATAN = (65009, 65010, 65003)  # tags: sizes of a column and of a row, and their unit
_RESOLUTION_UNITS = {3: "cm", 2: "inch"}
_CM_PER_INCH = 2.54


def read(path: str | os.PathLike, frame: int = 0, colour: bool = False) -> Micrograph:
  """Reads the micrograph in a file.

  If the file has several images, the first is read; of a stack, one frame; `notes` of the result
  say so. Colour is accepted if its channels agree. Scans of diffraction patterns and spectra are
  errors.

  Args:
    path: .npy, .npz with one array, .tif, .tiff, .png, .jpg, .jpeg, .bmp, .gif, or a type that
      RosettaSciIO reads (.dm3, .dm4, .emd, .ser, .mib, .hspy, ...).
    frame: which frame of a stack, from 0.
    colour: whether to average channels that differ, for example if a scale bar is in colour.

  Raises:
    FileNotFoundError: if there is no such file.
    MicrographError: if the file is broken, of an unknown type or holds no micrograph.
    microscope_files.MissingReaderError: if RosettaSciIO is needed and not installed.
  """
  place = epath.Path(path)
  if not place.exists():
    raise FileNotFoundError(f"{path} does not exist: give the file of a micrograph.")
  if place.is_dir():
    raise MicrographError(f"{path} is a folder: give the file of a micrograph.")
  try:
    reader = _READERS.get(place.suffix.lower())
    if reader is None:
      return _accepted(microscope_files.read(place, frame), colour)
    with place.open("rb") as file:
      return _accepted(reader(file, frame), colour)
  except MicrographError as error:
    raise MicrographError(f"{path}: {error}") from error
  except microscope_files.MissingReaderError:
    raise
  except MemoryError as error:
    raise MicrographError(f"{path} needs more memory than there is.") from error
  except Exception as error:  # each format's decoder has errors of its own
    raise MicrographError(
      f"{path} cannot be read ({type(error).__name__}: {error}): is the file complete?"
    ) from error


def _accepted(micrograph, colour):
  """Returns a micrograph; one in colour is an error, unless `colour` allows it."""
  if micrograph.colour and not colour:
    raise MicrographError(
      f"it is {micrograph.colour}: a micrograph is grey; save the detector's image, not a coloured "
      "picture of it."
    )
  return micrograph


def sha256(path: str | os.PathLike) -> str:
  """Returns the SHA-256 of a file's bytes, in hexadecimal."""
  digest = hashlib.sha256()
  with epath.Path(path).open("rb") as file:
    while block := file.read(1 << 20):
      digest.update(block)
  return digest.hexdigest()


def _read_npy(file: BinaryIO, frame: int) -> Micrograph:
  """Reads an image [H, W], a colour picture [H, W, 3 or 4] or a stack [N, H, W], each of which may
  have a further axis of length 1 at the end.
  """
  return _from_numpy(decoding.npy(file), frame)


def _from_numpy(array, frame):
  if array.ndim in (3, 4) and array.shape[-1] == 1:
    array = array[..., 0]
  if array.ndim == 3 and array.shape[-1] not in (3, 4):
    return from_frames(array, frame)
  if array.ndim == 4:
    raise MicrographError(
      f"it holds an array of shape {list(array.shape)}, a scan of diffraction patterns perhaps: "
      "save an image [H, W], or a stack of them [N, H, W]."
    )
  return _only_frame(array, frame)


def _read_npz(file: BinaryIO, frame: int) -> Micrograph:
  """Reads the only array of an archive, as `_read_npy`."""
  return _from_numpy(decoding.npz(file), frame)


def _read_picture(file: BinaryIO, frame: int) -> Micrograph:
  """Reads a PNG, JPEG, BMP or GIF of any depth; of an animation, one frame."""
  with _opened_picture(file) as opened:
    count = getattr(opened, "n_frames", 1)
    if count > 1:
      return _read_animation(opened, frame, count)
    picture: Image.Image = opened
    if picture.mode in ("P", "PA"):
      picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    if picture.mode not in ("1", "L", "I", "F", "RGB", "RGBA", "LA", "I;16", "I;16B", "I;16L"):
      raise MicrographError(f"it is a picture of mode {picture.mode}: save it in grey.")
    if picture.mode == "LA":
      picture = picture.convert("RGBA")
    return _only_frame(np.asarray(picture), frame)


@contextlib.contextmanager
def _opened_picture(file):
  """Yields a picture whose size is within the limit; its pixels are not decoded yet."""
  with _pictures_of_any_size(), Image.open(file) as opened:
    decoding.check([*opened.size, len(opened.getbands())], 4 if opened.mode in "IF" else 1)
    yield opened


class _AnySize:
  """Lifts Pillow's limit of pixels, which 16,384 x 16,384 exceed, while any thread reads a picture.

  The limit is a variable of the whole process. If each thread restored the value that it had met,
  it could restore the lifted one of another thread, and leave it lifted for good.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._readers = 0
    self._limit: int | None = None

  @contextlib.contextmanager
  def __call__(self):
    with self._lock:
      if not self._readers:
        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
      self._readers += 1
    try:
      yield
    finally:
      with self._lock:
        self._readers -= 1
        if not self._readers:
          Image.MAX_IMAGE_PIXELS = self._limit


_pictures_of_any_size = _AnySize()


def _read_animation(picture, frame, count):
  """Reads one frame of several, which may have a palette."""
  if frame >= count:
    raise MicrographError(f"frame={frame} was asked for, and it has {count}: count from 0.")
  picture.seek(frame)
  return from_array(np.asarray(picture.convert("RGB")), notes=(frame_note(frame, count),))


def _read_tiff(file: BinaryIO, frame: int) -> Micrograph:
  """Reads one image of a TIFF's first series."""
  with tifffile.TiffFile(file) as tiff:
    series = tiff.series[0]
    notes = (f"first of {len(tiff.series)} series of images",) if len(tiff.series) > 1 else ()
    size, more = _tiff_pixel_size(tiff)
    decoding.check(series.shape, series.dtype.itemsize)
    try:
      array = series.asarray()
    except ValueError as error:
      if "imagecodecs" not in str(error):
        raise
      array = _decode_with_pillow(file, frame, series, error)
      return from_array(array, size, (*notes, *more))
    axes = series.axes
    last = [axes.index(axis) for axis in "YXS" if axis in axes]
    array = np.moveaxis(array, last, range(-len(last), 0))
    if len(last) == 3 and array.shape[-1] not in (3, 4):
      raise MicrographError(f"it has {array.shape[-1]} samples per pixel: a micrograph has one.")
    return from_frames(array.reshape(-1, *array.shape[-len(last) :]), frame, size, (*notes, *more))


def _decode_with_pillow(file, frame, series, error):
  """Decodes by Pillow a page whose compression tifffile cannot decode without imagecodecs."""
  file.seek(0)
  with _opened_picture(file) as picture:
    picture.seek(frame)
    array = np.asarray(picture)
  if array.dtype == np.int32 and series.dtype == np.uint32:
    array = array.view(np.uint32)
  if array.dtype.itemsize != series.dtype.itemsize or array.dtype.kind != series.dtype.kind:
    raise MicrographError(
      f"its compression needs imagecodecs ({error}): pip install imagecodecs, or save the file "
      "uncompressed."
    ) from error
  return array


def _tiff_pixel_size(tiff) -> tuple[float | None, tuple[str, ...]]:
  """Returns the pixel size from the tags of a microscope, OME or ImageJ, or standard ones."""
  own = _microscope_pixel_size(tiff)
  if own is not None:
    return nanometres(*own)
  if tiff.ome_metadata:
    pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (pixels[0] if isinstance(pixels, list) else pixels)["Pixels"]
    if "PhysicalSizeX" in pixels:
      return nanometres(
        float(pixels.get("PhysicalSizeY", pixels["PhysicalSizeX"])),
        float(pixels["PhysicalSizeX"]),
        pixels.get("PhysicalSizeXUnit", "µm"),
      )
  tags = tiff.pages[0].tags
  if "XResolution" not in tags or "YResolution" not in tags:
    return None, ()
  # px per unit, as fractions
  counts = [tags[name].value for name in ("YResolution", "XResolution")]
  if not all(count[0] and count[1] for count in counts):
    return None, ()
  row, column = (denominator / numerator for numerator, denominator in counts)
  unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
  if unit:
    return nanometres(row, column, unit)
  unit = _RESOLUTION_UNITS.get(
    int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1, ""
  )
  factor = _CM_PER_INCH if unit == "inch" else 1.0
  size, notes = nanometres(row * factor, column * factor, "cm" if unit else "")
  return (size, notes) if size is not None and size < _MICROSCOPIC else (None, ())


def _microscope_pixel_size(tiff):
  """Returns the distance of rows, that of columns and their unit, from the private tags of FEI,
  Thermo Fisher, Zeiss or Gatan; None without such tags.
  """
  for part in _FEI_SCANS:
    scan = (tiff.fei_metadata or {}).get(part) or {}
    if scan.get("PixelWidth"):
      return float(scan.get("PixelHeight") or scan["PixelWidth"]), float(scan["PixelWidth"]), "m"
  for name in _ZEISS_SIZES:
    entry = (tiff.sem_metadata or {}).get(name, ())
    if len(entry) == 3 and entry[1]:  # (name, number, unit)
      return float(entry[1]), float(entry[1]), str(entry[2])
  gatan = [tiff.pages[0].tags.get(code) for code in _GATAN]
  if all(gatan):
    column, row, unit = (tag.value for tag in gatan)
    return float(row), float(column), str(unit)
  return None


def _only_frame(array, frame):
  if frame:
    raise MicrographError(f"frame={frame} was asked for, and it is a single image.")
  return from_array(array)


_READERS: dict[str, Callable[[BinaryIO, int], Micrograph]] = {
  ".npy": _read_npy,
  ".npz": _read_npz,
  ".tif": _read_tiff,
  ".tiff": _read_tiff,
  ".png": _read_picture,
  ".jpg": _read_picture,
  ".jpeg": _read_picture,
  ".bmp": _read_picture,
  ".gif": _read_picture,
}
