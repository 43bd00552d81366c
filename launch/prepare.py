"""Prepares micrographs for training: cuts a folder of files into crops, split by file.

  python -m launch.prepare --input='micrographs/*' --output=crops.npy

Reads npy, tif (8, 16, 32 bit, float), png and jpg; dm3, dm4, emd, ser, mib, hspy and others
by RosettaSciIO (pip install 'adaptive-stem-tf[microscopy]'). Crops that are flat, show
vacuum or nearly equal another are dropped, by the rules at the head of
adaptive_stem_tf/micrographs/crops.py; so is a file that is a copy of another. The first
80 % of the crops train, the rest test, as --images=crops.npy is split everywhere, and no
micrograph is in both. Beside the crops are written:

  crops.json          source file, place, scale and split of each crop
  crops_report.json   of each file: type, pixel size, what was taken of it, crops dropped by rule
  crops.png           a contact sheet
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tqdm
from absl import flags

from adaptive_stem_tf.evaluation import figures
from adaptive_stem_tf.micrographs import contact_sheet, preparation
from adaptive_stem_tf.micrographs.crops import Cutting
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from launch import flags as launch_flags

_INPUT = flags.DEFINE_list(
  "input",
  None,
  "files, folders or patterns of them in quotes: 'a/*.tif,b/**/*.dm4'; of a "
  "folder, every file in it and below",
  required=True,
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "NumPy file to write, [N, size, size, 1]", required=True
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
_STRICT = flags.DEFINE_boolean(
  "strict", False, "stop at the first file that cannot be used, instead of going on"
)
_PROGRESS = flags.DEFINE_boolean("progress", True, "show a progress bar")


def main() -> None:
  """Cuts, splits and writes crops."""
  output = pathlib.Path(_OUTPUT.value)
  if output.suffix != ".npy":
    raise ValueError(
      f"output={output} does not end in .npy: the crops are written as a NumPy file."
    )
  cutting = Cutting(_SIZE.value, _STRIDE.value, _BINNING.value, _MAX_CROPS.value, _SEED.value)
  collection = _collect(preparation.find(_INPUT.value), cutting)
  prepared = collection.prepare()
  output.parent.mkdir(parents=True, exist_ok=True)
  np.save(output, prepared.images)
  output.with_suffix(".json").write_text(json.dumps(prepared.provenance, indent=0))
  report = output.with_name(f"{output.stem}_report.json")
  report.write_text(json.dumps(prepared.report, indent=1))
  figures.save(contact_sheet.draw(collection.files, prepared, cutting), output.with_suffix(".png"))
  print(_summary(prepared))
  print(
    f"Written: {output}, {output.with_suffix('.json').name} (provenance), {report.name} and "
    f"{output.with_suffix('.png').name} (contact sheet)."
  )


def _collect(paths: list[str], cutting: Cutting) -> preparation.Collection:
  """Reads every file and says what became of it."""
  collection = preparation.Collection(cutting)
  for path in tqdm.tqdm(paths, unit="file", disable=not _PROGRESS.value, file=sys.stderr):
    try:
      file = preparation.crops_of(path, cutting, _FRAME.value)
      said = "; ".join((collection.add(file), *file.notes))
    except (MicrographError, OSError) as error:
      if _STRICT.value:
        raise ValueError(f"{error} (--strict stops here.)") from error
      collection.failed[path] = str(error)
      said = f"SKIPPED: {str(error).removeprefix(f'{path}: ')}"
    tqdm.tqdm.write(f"{path}: {said}", file=sys.stdout)
  print(
    f"{len(collection.files)} files read, {len(collection.failed)} skipped, "
    f"{len(collection.copies)} copies left out."
  )
  return collection


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
