"""Writes a scan: its path, what was measured, the completion, a summary and a picture."""

import csv
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tifffile

from adaptive_stem_tf import installation, writing
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.serving import scan_picture
from adaptive_stem_tf.serving.scan_result import ScanResult

# Gatan's private tags, of columns and of rows.
_UNIT_TAGS, _ORIGIN_TAGS, _SIZE_TAGS = (65003, 65004), (65006, 65007), (65009, 65010)


def write_scan(
  output_dir: str | os.PathLike,
  result: ScanResult,
  picture: bool = True,
  also: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes path.csv, partial_scan and completion (.npy and float32 .tif), scan.json and scan.png to
  a folder.

  path.csv has positions in px of the whole image (`origin` is added), and in nm if the size of a
  pixel is known. partial_scan.npy is [H, W, 2], intensity and mask; partial_scan.tif has NaN where
  nothing was measured. The .tif files hold the size of a pixel and the contents of scan.json, for
  ImageJ, HyperSpy and others.

  Args:
    output_dir: made if it does not exist; files of those names are replaced.
    result: the scan.
    picture: whether to draw scan.png.
    also: takes a folder and writes more files there, which move to `output_dir` with the others.

  Returns:
    The folder.

  Raises:
    writing.WriteError: if a file cannot be written; old files stay.
  """
  measured = np.where(result.partial[..., 1] > 0, result.partial[..., 0], np.float32(np.nan))
  about = summary(result)
  with writing.together(output_dir, last="scan.json") as folder:
    _write_path(folder / "path.csv", result)
    np.save(folder / "partial_scan.npy", result.partial)
    np.save(folder / "completion.npy", result.completion)
    for name, image in (("partial_scan", measured), ("completion", result.completion)):
      write_tiff(folder / f"{name}.tif", image, result.pixel_size_nm, result.origin, about)
    (folder / "scan.json").write_text(json.dumps(about, indent=1))
    if also:
      also(folder)
    if picture:
      style.save(scan_picture.draw(result), folder / "scan.png", dpi=180)
  return pathlib.Path(output_dir)


def summary(result: ScanResult) -> dict[str, Any]:
  """Returns the contents of scan.json."""
  distinct = int(np.count_nonzero(result.partial[..., 1]))
  contents = {
    "software": installation.software(),
    **result.about,
    "origin_px": list(result.origin),
    "frame_px": list(result.completion.shape),
    "pixel_size_nm": result.pixel_size_nm,
    "probing_positions": len(result.positions),
    "distinct_pixels": distinct,
    "distinct_pixels_share": distinct / result.completion.size,
  }
  if result.errors is not None:
    contents |= {
      "ten_mse": {name: float(errors.mean()) for name, errors in result.errors.items()},
      "ten_mse_units": (
        "10 * MSE on [-1, 1], the range of each window; filtered: low-pass filtered target"
      ),
      "ten_mse_by_window": {name: errors.tolist() for name, errors in result.errors.items()},
    }
  return contents


def _write_path(file, result):
  rows, size = result.positions.astype(np.float64) + np.asarray(result.origin), result.pixel_size_nm
  probes = _probes(result)
  with file.open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(
      ["window", "segment", "probe", "row_px", "column_px"]
      + ["row_nm", "column_nm"] * (size is not None)
      + ["intensity"]
    )
    for i, (row, column) in enumerate(rows):
      nm = [f"{row * size:.7g}", f"{column * size:.7g}"] if size is not None else []
      writer.writerow(
        [
          result.windows[i],
          result.segments[i],
          probes[i],
          f"{row:.4f}",
          f"{column:.4f}",
          *nm,
          f"{result.intensities[i]:.7g}",
        ]
      )


def _probes(result):
  """Returns the number of each probe within its segment."""
  new = np.flatnonzero(np.diff(result.windows, prepend=-1) | np.diff(result.segments, prepend=-1))
  counts = np.diff(np.append(new, len(result.positions)))
  return np.concatenate([np.arange(count) for count in counts])


def write_tiff(
  file: pathlib.Path,
  image: np.ndarray,
  pixel_size_nm: float | None,
  origin: Sequence[int] = (0, 0),
  about: Mapping[str, Any] | None = None,
) -> None:
  """Writes an image [H, W] as a float32 .tif with the size of its pixels, nm.

  ImageJ reads the size from the resolution; Gatan's software, RosettaSciIO and HyperSpy read it
  from Gatan's tags. ImageJ shows `about` with Image > Show Info; HyperSpy has it as
  `original_metadata.IJMetadata.Info`.

  Args:
    file: the file to write.
    image: intensities.
    pixel_size_nm: None if unknown.
    origin: row and column of its first pixel in the image that it is part of.
    about: of the scan; written as JSON.
  """
  metadata: dict[str, Any] = {} if about is None else {"Info": json.dumps(about, indent=1)}
  known: dict[str, Any] = {}
  if pixel_size_nm is not None:
    metadata["unit"] = "nm"
    known = {
      "resolution": (1 / pixel_size_nm, 1 / pixel_size_nm),
      "extratags": [
        tag
        for unit, first, size, start in zip(_UNIT_TAGS, _ORIGIN_TAGS, _SIZE_TAGS, reversed(origin))
        for tag in (
          (unit, "s", 0, "nm", True),
          (first, "d", 1, float(start * pixel_size_nm), True),
          (size, "d", 1, float(pixel_size_nm), True),
        )
      ],
    }
  tifffile.imwrite(
    file,
    image.astype(np.float32),
    imagej=True,
    metadata=metadata,
    software=installation.software(),
    **known,
  )
