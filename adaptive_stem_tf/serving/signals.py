"""Images of scans as signals of RosettaSciIO and HyperSpy, and their .hspy files."""

import importlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptive_stem_tf import writing
from adaptive_stem_tf.micrographs import microscope_files

ABOUT = "adaptive_stem"  # key of a scan's metadata in a signal's original metadata


def of_image(
  image: np.ndarray, title: str, pixel_size_nm: float | None, about: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns an image [H, W] as RosettaSciIO's writers and `hs.signals.Signal2D(**it)` take it.

  Args:
    image: intensities.
    title: of the signal.
    pixel_size_nm: side of a pixel; None if unknown, then axes count pixels.
    about: of the scan, for the signal's original metadata.
  """
  scale, units = (1.0, "px") if pixel_size_nm is None else (pixel_size_nm, "nm")
  axes = [
    {"name": name, "size": size, "scale": scale, "offset": 0.0, "units": units, "navigate": False}
    for name, size in zip(("y", "x"), image.shape)
  ]
  return {
    "data": image,
    "axes": axes,
    "metadata": {"General": {"title": title}, "Signal": {"signal_type": ""}},
    "original_metadata": {ABOUT: dict(about)},
  }


def write_hspy(file: str | os.PathLike, signal: Mapping[str, Any]) -> None:
  """Writes a signal that `of_image` made as HyperSpy's .hspy.

  Raises:
    microscope_files.MissingReaderError: if RosettaSciIO is not installed.
  """
  try:
    writer = importlib.import_module("rsciio.hspy")
  except ImportError as error:
    raise microscope_files.MissingReaderError(
      f"{file} is written by RosettaSciIO, which is not installed: {microscope_files.INSTALL}."
    ) from error
  # HyperSpy's own signals have these keys, and RosettaSciIO reads all of them.
  empty: dict[str, Any] = {"learning_results": {}, "models": {}, "tmp_parameters": {}}
  package = {"package": "", "package_version": ""}
  whole = {**empty, "package_info": package, "attributes": {"_lazy": False}, **signal}
  path = pathlib.Path(file)
  with writing.together(path.parent, last=path.name) as folder:
    writer.file_writer(os.fspath(folder / path.name), whole, show_progressbar=False)
