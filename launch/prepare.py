"""Prepares micrographs for training: cuts a folder of files into crops, split by file.

  python -m launch.prepare --input='micrographs/*' --output=crops.npy

Reads npy, tif (8, 16, 32 bit, float), png and jpg; dm3, dm4, emd, ser, mib, hspy and others
by RosettaSciIO (pip install 'adaptive-stem-tf[microscopy]'). Crops that are flat, show
vacuum or nearly equal another are dropped, by the rules at the head of
adaptive_stem_tf/micrographs/crops.py; so is a file that is a copy of another. The first
80 % of the crops train, the rest test, as --images=crops.npy is split everywhere, and no
micrograph is in both. Beside the crops are written:

  crops.json          source file, place, scale and split of each crop
  crops_report.json   of each file: type, pixel size, the part that was cut, crops dropped by rule
  crops.png           a contact sheet

With --fields whole micrographs are kept instead, for scans of whole fields:

  python -m launch.prepare --fields --input='micrographs/*' --output=fields.npz --rows=rows.json

Information bars are cut off (--rows), micrographs binned until their longer side is at most
--field_size px, and the percentiles 0.1 and 99.9 of intensities mapped to -1 and 1. Four files in
five train, unless --rows says which. Beside the fields are written:

  fields.json         of each field: source file, licence where --rows says it, rows, place,
                      binning, Gini coefficient, stratum and split
  fields_report.json  files that were skipped or left out, and why
  fields.png          a contact sheet

If --output has no suffix, it becomes a folder of these files and of a NumPy file for each field,
float16. It is for fields that do not fit into memory: launch.train_fields --images_in=stream reads
them from the folder while it trains.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tqdm
from absl import flags

from adaptive_stem_tf import writing
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.micrographs import (
  contact_sheet,
  field_folder,
  field_preparation,
  field_set,
  preparation,
  whole_fields,
)
from adaptive_stem_tf.micrographs.crops import Cutting
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from launch import flags as launch_flags

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_INPUT = flags.DEFINE_list(
  "input",
  None,
  "files, folders or patterns of them in quotes: 'a/*.tif,b/**/*.dm4'; of a "
  "folder, every file in it and below",
  required=True,
)
_OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "NumPy file to write, [N, size, size, 1]; with --fields a .npz of arrays [H, W], or a folder",
  required=True,
)
_SIZE = flags.DEFINE_integer(
  "size", Cutting.size, "side of a crop after binning, px", lower_bound=8
)
_STRIDE = flags.DEFINE_integer(
  "stride",
  Cutting.stride,
  "distance of neighbouring crops after binning, px; 0 for the size: no overlap",
  lower_bound=0,
)
_BINNING = flags.DEFINE_integer(
  "binning", Cutting.binning, "px per side that are averaged into one", lower_bound=1
)
_MAX_CROPS = flags.DEFINE_integer(
  "max_crops",
  Cutting.max_crops,
  "crops of one file at most, drawn at random: a "
  "large micrograph should not outweigh the others; 0 for no limit",
  lower_bound=0,
)
_FRAME = flags.DEFINE_integer(
  "frame", 0, "which frame is taken of files that hold a stack, from 0", lower_bound=0
)
_SEED = flags.DEFINE_integer(
  "seed", Cutting.seed, "seed of the split and of the crops drawn", lower_bound=0
)
_FIELDS = flags.DEFINE_boolean("fields", False, "keep whole micrographs instead of crops")
_FIELD_SIZE = flags.DEFINE_integer(
  "field_size",
  whole_fields.FieldReading.size,
  "with --fields: longer side of a field at most, px; larger micrographs are binned",
  lower_bound=whole_fields.SMALLEST,
)
_SQUARE = flags.DEFINE_boolean("square", False, "with --fields: take the central square only")
_PIECES = flags.DEFINE_boolean(
  "pieces",
  False,
  "with --fields: take pieces of --field_size px as well, of the micrograph binned less, down to "
  "its own pixels",
)
_ROWS = flags.DEFINE_string(
  "rows",
  "",
  "with --fields: rows of every file that are kept, above an information bar; or a JSON file: "
  '{"FILE": ROWS, ...}, or a list of objects with file, rows and, where known, split, licence and '
  "source",
)
_STRICT = flags.DEFINE_boolean(
  "strict", False, "stop at the first file that cannot be used, instead of going on"
)
_PROGRESS = flags.DEFINE_boolean("progress", True, "show a progress bar")


def main() -> None:
  """Cuts, splits and writes crops, or whole fields."""
  output = pathlib.Path(_OUTPUT.value)
  suffix = ".npz" if _FIELDS.value else ".npy"
  if output.suffix != suffix and (output.suffix or not _FIELDS.value):
    raise ValueError(
      f"output={output} does not end in {suffix}: "
      + ("fields of several sizes" if _FIELDS.value else "the crops")
      + " are written as a NumPy file of that kind."
    )
  files = preparation.find(_INPUT.value)
  (_write_fields if _FIELDS.value else _write_crops)(files, output)


def _write_crops(files: list[str], output: pathlib.Path) -> None:
  cutting = Cutting(_SIZE.value, _STRIDE.value, _BINNING.value, _MAX_CROPS.value, _SEED.value)
  collection = preparation.Collection(cutting)

  def add(path):
    file = preparation.crops_of(path, cutting, _FRAME.value)
    return "; ".join((collection.add(file), *file.notes))

  _collect(files, collection, add)
  prepared = collection.prepare()
  sheet = contact_sheet.draw(collection.files, prepared, cutting)
  with writing.together(output.parent, last=output.name) as folder:
    np.save(folder / output.name, prepared.images)
    companion = folder / output.with_suffix(".json").name
    companion.write_text(json.dumps(prepared.provenance, indent=0))
    _write_report(folder / output.name, prepared.report, sheet)
  print(_summary(prepared))
  _print_files(output)


def _write_fields(files: list[str], output: pathlib.Path) -> None:
  reading = whole_fields.FieldReading(_FIELD_SIZE.value, _SQUARE.value, _PIECES.value)
  index = field_preparation.Index.parse(_ROWS.value)
  in_folder = not output.suffix
  index_file = output / field_folder.INDEX if in_folder else output
  with writing.together(index_file.parent, last=index_file.name) as folder:
    keep = {"keep": field_folder.Shelf(folder)} if in_folder else {}
    collection = field_preparation.Collection(reading, index, _SEED.value, **keep)
    _collect(files, collection, lambda path: collection.add(path, _FRAME.value))
    prepared = collection.prepare()
    report = {"reading": vars(reading), "copies": collection.copies, "failed": collection.failed}
    if in_folder:
      field_folder.write_index(folder, *prepared)
    else:
      field_set.write(folder / index_file.name, *prepared)
    _write_report(folder / index_file.name, report, contact_sheet.draw_fields(prepared))
  for part in field_set.SPLITS:
    entries = [entry for entry in prepared.entries if entry["split"] == part]
    print(f"{len(entries)} fields of {len({entry['file'] for entry in entries})} files {part}.")
  _print_files(index_file)


def _collect(paths: list[str], collection, add: Callable[[str], str]) -> None:
  """Reads every file, and prints a line about each.

  Args:
    paths: of the files.
    collection: receives them; has lists of files, of copies and of failures.
    add: adds a file, and returns a message about it.
  """
  for path in tqdm.tqdm(paths, unit="file", disable=not _PROGRESS.value, file=sys.stderr):
    try:
      message = add(path)
    except (MicrographError, OSError) as error:
      if _STRICT.value:
        raise ValueError(f"{error} (--strict stops here.)") from error
      collection.failed[path] = str(error)
      message = f"SKIPPED: {str(error).removeprefix(f'{path}: ')}"
    tqdm.tqdm.write(f"{path}: {message}", file=sys.stdout)
  print(
    f"{len(collection.files)} files read, {len(collection.failed)} skipped, "
    f"{len(collection.copies)} copies left out."
  )


def _write_report(output: pathlib.Path, report: dict, sheet: Figure) -> None:
  """Writes the report and the contact sheet beside the output."""
  _report_of(output).write_text(json.dumps(report, indent=1))
  style.save(sheet, output.with_suffix(".png"))


def _report_of(output: pathlib.Path) -> pathlib.Path:
  return output.with_name(f"{output.stem}_report.json")


def _print_files(output: pathlib.Path) -> None:
  """Prints the names of the files that were written."""
  print(
    f"Written: {output}, {output.with_suffix('.json').name} (provenance), "
    f"{_report_of(output).name} and {output.with_suffix('.png').name} (contact sheet)."
  )


def _summary(prepared: preparation.Prepared) -> str:
  lines = []
  for part in ("train", "test"):
    entries = [entry for entry in prepared.provenance if entry["split"] == part]
    lines.append(
      f"{len(entries)} crops of {len({entry['file'] for entry in entries})} files {part}."
    )
  for rule in prepared.report["files"][0]["dropped"]:
    count = sum(file["dropped"][rule] for file in prepared.report["files"])
    if count:
      lines.append(f"{count} crops dropped: {rule}.")
  return "\n".join(lines)


if __name__ == "__main__":
  launch_flags.run(main)
