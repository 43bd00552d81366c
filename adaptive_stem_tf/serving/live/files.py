"""Micrographs in, scans out: the files of a live scan."""

import csv
import importlib
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
import tifffile
from PIL import Image


class Micrograph(NamedTuple):
  """A grey image."""

  image: np.ndarray  # [H, W] float32, intensities as stored
  pixel_size_nm: float | None  # side of a px; None if unknown


class ScanResult(NamedTuple):
  """A scan of P probing positions in a frame of H x W px; intensities are in the detector's units."""

  positions: np.ndarray  # [P, 2] px of the frame (row, column), in order of time
  intensities: np.ndarray  # [P], as measured
  windows: np.ndarray  # [P] int, which window each probe belongs to
  segments: np.ndarray  # [P] int, which segment of its window's scan
  partial: np.ndarray  # [H, W, 2], intensity (0 where not measured) and mask
  completion: np.ndarray  # [H, W]
  truth: np.ndarray | None  # [H, W], the whole frame, where it is known
  origin: tuple[int, ...]  # (row, column) of the frame's first pixel in the image it is part of
  pixel_size_nm: float | None  # None if unknown
  errors: dict[str, np.ndarray] | None  # 10 MSE by window on the `filtered` and the `raw` truth; None if not known
  about: dict[str, Any]  # for the summary


def read(path: str | os.PathLike, frame: int = 0) -> Micrograph:
  """Reads a micrograph: npy, tif, png and jpg; others by RosettaSciIO, if that is installed.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it holds no grey image.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path} does not exist: give the file of a micrograph.")
  try:
    image, size = _decode(path)
  except Exception as error:  # each format's decoder has errors of its own
    raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}): is it a micrograph, and "
                     "complete?") from error
  image = image[frame] if image.ndim == 3 and image.shape[-1] not in (3, 4) else image
  image = image.mean(-1) if image.ndim == 3 else image
  if image.ndim != 2:
    raise ValueError(f"{path} holds an array of shape {list(image.shape)}: a micrograph is an image [H, W].")
  return Micrograph(np.asarray(image, np.float32), size)


def bin_down(image: np.ndarray, binning: int) -> np.ndarray:
  """Averages blocks of `binning` x `binning` px of an image [H, W]; what is left over at the far edges is cut off."""
  rows, columns = (side // binning for side in image.shape)
  blocks = image[: rows * binning, : columns * binning].reshape(rows, binning, columns, binning)
  return blocks.mean((1, 3), dtype=np.float64).astype(np.float32)


def window_corner(shape: tuple[int, ...], size: int, window: tuple[int, int] | None) -> tuple[int, int]:
  """Returns the first row and column of a window of `size` px; of the central one if `window` is None.

  Raises:
    ValueError: if the window is not inside the image.
  """
  last = [side - size for side in shape]
  if min(last) < 0:
    raise ValueError(f"the image has {shape[0]} x {shape[1]} px and the model scans {size} x {size}: give a larger "
                     "one, or less --binning.")
  row, column = window or (last[0] // 2, last[1] // 2)
  if not (0 <= row <= last[0] and 0 <= column <= last[1]):
    raise ValueError(f"window={row},{column} leaves the image of {shape[0]} x {shape[1]} px: its first row must be 0 "
                     f"to {last[0]} and its first column 0 to {last[1]}.")
  return row, column


def write_scan(output_dir: str | os.PathLike, result: ScanResult) -> pathlib.Path:
  """Writes path.csv, partial_scan and completion (.npy and float32 .tif) and scan.json to a folder; returns it."""
  folder = pathlib.Path(output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  _write_path(folder / "path.csv", result)
  measured = np.where(result.partial[..., 1] > 0, result.partial[..., 0], np.nan)
  for name, array, picture in (("partial_scan", result.partial, measured),
                               ("completion", result.completion, result.completion)):
    np.save(folder / f"{name}.npy", array)
    tifffile.imwrite(folder / f"{name}.tif", np.asarray(picture, np.float32))
  errors = {} if result.errors is None else {
      "ten_mse": {name: float(values.mean()) for name, values in result.errors.items()}}
  told = {**result.about, "origin_px": list(result.origin), "frame_px": list(result.completion.shape),
          "pixel_size_nm": result.pixel_size_nm, "probing_positions": len(result.positions),
          "distinct_pixels": int(np.count_nonzero(result.partial[..., 1])), **errors}
  (folder / "scan.json").write_text(json.dumps(told, indent=1))
  return folder


def _write_path(path, result):
  rows, size = result.positions.astype(np.float64) + np.asarray(result.origin), result.pixel_size_nm
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["window", "segment", "probe", "row_px", "column_px"]
                    + ([] if size is None else ["row_nm", "column_nm"]) + ["intensity"])
    for i, (row, column) in enumerate(rows):
      first = np.flatnonzero(result.segments == result.segments[i])[0]
      nm = [] if size is None else [f"{row * size:.7g}", f"{column * size:.7g}"]
      writer.writerow([result.windows[i], result.segments[i], i - first, f"{row:.4f}", f"{column:.4f}", *nm,
                       f"{result.intensities[i]:.7g}"])


def _decode(path):
  """Returns an array, and the side of a px in nm if the file says it."""
  suffix = path.suffix.lower()
  if suffix == ".npy":
    return np.load(path, allow_pickle=False), None
  if suffix in (".tif", ".tiff"):
    try:
      return tifffile.imread(path), None
    except ValueError as error:
      if "imagecodecs" not in str(error):  # compressions that tifffile leaves to it, Pillow reads
        raise
  if suffix in (".tif", ".tiff", ".png", ".jpg", ".jpeg"):
    with Image.open(path) as image:
      return np.asarray(image), None
  signal = importlib.import_module(f"rsciio.{_PLUGINS[suffix]}").file_reader(str(path))[0]
  scale = signal["axes"][-1]
  return signal["data"], float(scale["scale"]) if scale["units"] == "nm" else None


_PLUGINS = {".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".ser": "tia", ".emd": "emd"}
