"""Reads microscopes' own formats by RosettaSciIO, an optional dependency, which is imported when it
is needed.
"""

import importlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from adaptive_stem_tf.micrographs import decoding
from adaptive_stem_tf.micrographs.micrograph import (
  Micrograph,
  MicrographError,
  from_array,
  from_frames,
  nanometres,
)

# File types for which the error names RosettaSciIO if it is not installed. If it is, its own list
# of types counts.
_SUFFIXES = frozenset(
  (
    "dm3",
    "dm4",
    "emd",
    "ser",
    "emi",
    "mib",
    "hspy",
    "zspy",
    "mrc",
    "mrcz",
    "bcf",
    "blo",
    "nxs",
    "h5",
    "hdf5",
    "prz",
    "unf",
    "tvips",
    "rpl",
    "de5",
  )
)
INSTALL = "pip install 'adaptive-stem-tf[microscopy]', or pip install 'rosettasciio>=0.11'"
_SAFE = (0, 11)  # first version that does not run code from a .prz
_COMPRESSED = frozenset(("hspy", "emd", "nxs", "h5", "hdf5"))  # arrays may be larger than files


class MissingReaderError(RuntimeError):
  """A file needs RosettaSciIO, which is not installed."""


def read(path: epath.Path, frame: int) -> Micrograph:
  """Reads the first image of a file, or one frame of the first stack of images.

  Args:
    path: of the file.
    frame: which frame of a stack, from 0.

  Raises:
    MissingReaderError: if RosettaSciIO is not installed.
    MicrographError: if no reader knows the file, or it holds no image.
  """
  readers = _readers(path)
  if "://" not in str(path):
    return of_signals(_signals(readers, str(path)), frame)
  with tempfile.TemporaryDirectory() as folder:  # RosettaSciIO reads local files only
    local = epath.Path(folder) / path.name
    path.copy(local)
    return of_signals(_signals(readers, str(local)), frame)


def _readers(path):
  """Returns the names of RosettaSciIO's modules for files of this type."""
  suffix = path.suffix.lower().removeprefix(".")
  try:
    library = importlib.import_module("rsciio")
    _check_version(library)
    plugins = library.IO_PLUGINS
  except ImportError as error:
    if suffix in _SUFFIXES:
      raise MissingReaderError(
        f"{path} is read by RosettaSciIO, which is not installed: {INSTALL}."
      ) from error
    plugins = []
  readers = [
    plugin["api"]
    for plugin in plugins
    if suffix in {name.lower() for name in plugin["file_extensions"]}
  ]
  if not readers:
    raise MicrographError(
      f"{path.suffix or 'a name without suffix'} is no type of micrograph that is known."
    )
  return readers


def _check_version(library):
  numbers = [int(part) for part in re.findall(r"\d+", library.__version__)[:2]]
  if tuple(numbers) < _SAFE:
    raise MissingReaderError(
      f"RosettaSciIO {library.__version__} is installed, which may run code that a file brings: "
      f"{INSTALL}."
    )


def _check_sizes(path):
  """Checks, in formats that compress, that no array is too large, before it is read."""
  if path.rpartition(".")[2].lower() not in _COMPRESSED:
    return
  library = importlib.import_module("h5py")

  def check(_, item):
    """Checks one array of a file."""
    if isinstance(item, library.Dataset) and item.shape:
      decoding.check(item.shape, item.dtype.itemsize)

  try:
    with library.File(path, "r") as file:
      file.visititems(check)
  except (OSError, RuntimeError, KeyError):
    return  # not HDF5, or damaged: the reader's error says so


def _signals(readers: list[str], path: str) -> list[dict[str, Any]]:
  """Reads a file with the first reader that can: several formats share a suffix."""
  errors, advice = [], "is it complete?"
  for name in readers:
    try:
      _check_sizes(path)
      return importlib.import_module(name).file_reader(path)
    except MicrographError:
      raise
    except Exception as error:  # each format has errors of its own
      errors.append(f"{name.rpartition('.')[2]}: {type(error).__name__}: {error}")
      if isinstance(error, ModuleNotFoundError):
        advice = f"install {error.name} if it is complete."
  raise MicrographError(f"it cannot be read ({'; '.join(errors)}): {advice}")


def of_signals(signals: Sequence[Mapping[str, Any]], frame: int = 0) -> Micrograph:
  """Takes the first signal that is an image, or one frame of the first stack of images.

  Args:
    signals: as RosettaSciIO's readers return them: `data`, `axes` and `metadata` are used.
    frame: which frame of a stack, from 0.

  Raises:
    MicrographError: if there is no image, or no such frame.
  """
  images = [signal for signal in signals if _is_image(signal)]
  if not images:
    shapes = ", ".join(str(list(np.shape(signal["data"]))) for signal in signals) or "nothing"
    raise MicrographError(
      f"it holds no image but {shapes}: spectra and scans of diffraction patterns are no "
      "micrographs; save the image of a detector."
    )
  signal = images[0]
  notes = (f"first of {len(images)} images ({_title(signal)})",) if len(images) > 1 else ()
  axes = _axes_in_order(signal)
  frames = next((i for i, axis in enumerate(axes) if axis.get("navigate")), 0)  # axis of a stack
  row, column = [axis for i, axis in enumerate(axes) if len(axes) == 2 or i != frames]
  unit = str(row.get("units")) if str(row.get("units")) == str(column.get("units")) else ""
  size, more = nanometres(float(row.get("scale", 0)), float(column.get("scale", 0)), unit)
  data = _channels(np.asarray(signal["data"]))
  if len(axes) == 2:
    if frame:
      raise MicrographError(f"frame={frame} was asked for, and it is a single image.")
    micrograph = from_array(data, size, (*notes, *more))
  else:
    micrograph = from_frames(np.moveaxis(data, frames, 0), frame, size, (*notes, *more))
  return micrograph._replace(acquisition=_acquisition(signal))


def _acquisition(signal):
  """Returns metadata of instrument and time, in types of JSON; None if there is none."""
  metadata = signal.get("metadata", {})
  general = metadata.get("General", {})
  acquisition = {name: general[name] for name in ("date", "time", "time_zone") if general.get(name)}
  acquisition |= metadata.get("Acquisition_instrument") or {}
  plain = lambda value: value.item() if isinstance(value, np.generic) else str(value)
  return json.loads(json.dumps(acquisition, default=plain)) or None


def _axes_in_order(signal):
  """Returns the axes of a signal's array, in its order; formats need not number them."""
  numbered = [(axis.get("index_in_array", i), i) for i, axis in enumerate(signal["axes"])]
  return [signal["axes"][i] for _, i in sorted(numbered)]


def _is_image(signal):
  """Returns whether a signal is an image or a stack of images, not spectra or patterns."""
  navigated = sum(bool(axis.get("navigate")) for axis in signal["axes"])
  kind = str(signal.get("metadata", {}).get("Signal", {}).get("signal_type", ""))
  return "diffraction" not in kind and (len(signal["axes"]), navigated) in ((2, 0), (3, 0), (3, 1))


def _channels(data):
  """Returns an array whose last axis has the channels, if they were stored as records."""
  if data.dtype.names is None:
    return data
  return np.stack([data[name] for name in data.dtype.names], -1)


def _title(signal):
  return signal.get("metadata", {}).get("General", {}).get("title") or "untitled"
