"""The files that launch.scan scans: one, those of a folder, or those that a pattern matches."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Callable
from typing import Any

from adaptive_stem_tf import writing
from adaptive_stem_tf.micrographs import preparation

Scan = Callable[[str, str], dict[str, Any]]  # file, folder -> content of scan.json

SUMMARY = "scans.csv"
_NOT_IMAGES = ("", ".csv", ".json", ".md", ".txt")  # that lie beside micrographs
_COLUMNS = (
  "file", "folder", "rows_px", "columns_px", "pixel_size_nm", "positions", "ten_mse", "psnr_db",
  "ssim", "warning", "error",
)  # fmt: skip
_MISTAKES = (ValueError, FileNotFoundError, RuntimeError, PermissionError)


def each(image: str, output_dir: str, scan: Scan) -> None:
  """Scans a file into a folder; or several, each into a folder of its own there.

  Args:
    image: a file, a folder, or a pattern of files.
    output_dir: folder for the scan; for several files, it also receives SUMMARY.
    scan: scans one file into a folder.

  Raises:
    FileNotFoundError: if a pattern or a folder matches no file.
    ValueError: if none of several files could be scanned.
    writing.WriteError: if something cannot be written; SUMMARY has a line for each scan before.
  """
  if not os.path.isdir(image) and (os.path.exists(image) or not set(image) & set("*?[")):
    scan(image, output_dir)
    return
  files = [file for file in preparation.find([image]) if _suffix(file) not in _NOT_IMAGES]
  rows, failure = [], None
  try:
    for file, folder in _folders(files, output_dir).items():
      rows.append(_row(scan, file, folder))
  except writing.WriteError as error:  # no file's own mistake: others would find no room, either
    failure = error
  output = pathlib.Path(output_dir) / SUMMARY
  with writing.whole(output) as unfinished, unfinished.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, _COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
  if failure:
    raise failure
  failed = [row["file"] for row in rows if row.get("error")]
  if len(failed) == len(rows):
    raise ValueError(f"none of the {len(rows)} files of {image} could be scanned: see {output}.")
  print(
    f"{len(rows) - len(failed)} of {len(rows)} files were scanned: {output} has a line for each."
  )


def _folders(files: list[str], output_dir: str) -> dict[str, str]:
  """Returns a folder for each file, named by its path below the folder that all share."""
  shared = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files] or ["."])
  names = [os.path.relpath(os.path.abspath(file), shared) for file in files]
  stems = [os.path.splitext(name)[0] for name in names]
  # Files that differ in their suffix alone keep it.
  folders = [name if stems.count(stem) > 1 else stem for name, stem in zip(names, stems)]
  return {file: os.path.join(output_dir, folder) for file, folder in zip(files, folders)}


def _row(scan, file, folder):
  """Scans a file, and returns its line of SUMMARY."""
  row = {"file": file, "folder": folder}
  try:
    summary = scan(file, folder)
  except writing.WriteError:
    raise
  except _MISTAKES as error:
    print(f"{file} is left out: {error}")
    return {**row, "folder": "", "error": str(error)}
  row |= dict(zip(("rows_px", "columns_px"), summary["frame_px"]))
  row |= {"positions": summary["probing_positions"], "warning": _warning(summary)}
  row["pixel_size_nm"] = "" if summary["pixel_size_nm"] is None else summary["pixel_size_nm"]
  if "errors" in summary:
    errors = summary["errors"]["completion"]
    return row | {name: errors[key] for name, key in _OF_FIELDS.items()}
  return row | {name: summary[name]["filtered"] for name in ("ten_mse", "psnr_db", "ssim")}


_OF_FIELDS = {"ten_mse": "ten_mse_filtered", "psnr_db": "psnr_filtered_db", "ssim": "ssim_filtered"}


def _suffix(file):
  return os.path.splitext(file)[1].lower()


def _warning(summary):
  """Returns the warning of a scan of a field, or along a path; empty if there is none."""
  return summary.get("warning") or summary.get("sampling_warning") or ""
