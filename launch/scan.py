"""Scans a micrograph file with an exported model, and completes it.

  python -m launch.scan --image=FILE --model=savedmodels/NAME/1 --output_dir=OUT

Reads npy, tif, png, jpg, bmp and gif; dm3, dm4, emd, ser and others by RosettaSciIO (pip install
'adaptive-stem-tf[microscopy]'). Needs the SavedModel, not the run it was trained in. A
window of the model's size is scanned (the central one unless --window says which), or all
of the image with --tiles: each tile is a scan of its own, neighbours overlap by --overlap
px or more, are scanned twice there, and are blended linearly. The folder receives

  path.csv                 window, segment, probe, row and column (px; nm where known), intensity
  partial_scan.npy, .tif   what was measured: intensity and mask; NaN where not, in the .tif
  completion.npy, .tif     the completed image, in the file's intensities
  scan.json                10 MSE, PSNR, SSIM, distinct pixels, model, window, command, seconds
  scan.png                 specimen and path, partial scan, completion, error

With --fields the model is one of launch.train_fields and all of the image is one scan, of any
size: a survey, then --rounds that the model decides, with --coverage of the pixels, or as many
positions as --electrons pay for at --electrons_per_pixel. The folder then also receives mask,
uncertainty and interpolation (.npy, .tif), and path.csv has the round of each position.

  python -m launch.scan --fields --image=FILE --model=savedmodels/FIELDS/1 --output_dir=OUT

--partial completes what was measured before, for example by a scan that was stopped: a file with
NaN where nothing was measured, such as partial_scan.tif.

  python -m launch.scan --fields --partial=OUT/partial_scan.tif --output_dir=COMPLETED

--image can also be a folder, or a pattern in quotes ('micrographs/*.dm4'): each file then has a
folder of its own in --output_dir, and scans.csv there has a line for each. A file that cannot be
scanned is named, and the scans of the others go on.

--normalise says which intensities become the model's [-1, 1]: `image` is each window's own
range, as in training, which a microscope cannot know before it has scanned; `measured` is
the range of the first segment, which it can; LOW,HIGH is a calibration.
"""

from __future__ import annotations

import functools

import numpy as np
import tqdm
from absl import flags

from adaptive_stem_tf import intensities
from adaptive_stem_tf.serving import (
  field_outputs,
  field_request,
  field_scan,
  image_scan,
  outputs,
  scanner,
  subject,
)
from adaptive_stem_tf.serving.scan_result import ScanResult
from launch import field_scans, instruments, micrograph_file, scan_files
from launch import flags as launch_flags

_IMAGE = flags.DEFINE_string(
  "image", None, "file of a micrograph, a folder, or a pattern in quotes"
)
_PARTIAL = flags.DEFINE_string(
  "partial",
  None,
  "in place of --image: a file of a field that was measured in part, NaN elsewhere, to complete "
  "it; a folder or a pattern of them",
)
_MODEL = flags.DEFINE_string(
  "model", None, "folder of a SavedModel, NAME/VERSION; by default one that comes with the project"
)
_CORRECTOR = flags.DEFINE_string(
  "corrector",
  "",
  "folder of an exported distortion correction, NAME/VERSION, which "
  "then completes the scan: for scans of the microscope it was trained for",
)
_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for path, images, summary and picture", required=True
)
_WINDOW = flags.DEFINE_list(
  "window",
  None,
  "first row and column of the window, in px after binning: 120,64. Default: the centre",
)
_TILES = flags.DEFINE_boolean("tiles", False, "scan all of the image by tiles")
_OVERLAP = flags.DEFINE_integer(
  "overlap", 12, "px by which neighbouring tiles overlap at least", lower_bound=0
)
_BINNING = flags.DEFINE_integer(
  "binning", 1, "px per side that are averaged into one before the scan", lower_bound=1
)
_FRAME = flags.DEFINE_integer(
  "frame", 0, "which frame is taken of a file that holds a stack, from 0", lower_bound=0
)
_ROWS = flags.DEFINE_integer(
  "rows", None, "rows that are kept, above an information bar; default: all", lower_bound=1
)
_NORMALISE = flags.DEFINE_string(
  "normalise", "image", "which intensities become [-1, 1]: image, measured, or LOW,HIGH"
)
_PIXEL_SIZE = flags.DEFINE_float(
  "pixel_size_nm",
  None,
  "side of a px of the file, nm, if the file does not say it",
  lower_bound=0.0,
)
_PROGRESS = flags.DEFINE_boolean(
  "progress", True, "show a progress bar: of tiles, or of rounds with --fields"
)


def main() -> None:
  """Reads, scans and writes."""
  field_scans.check(("window", "tiles", "overlap", "corrector"))
  normalisation = intensities.Normalisation.parse(_NORMALISE.value)
  _check_source()
  if _PARTIAL.value:
    scan = _completion(normalisation)
  else:
    scan = (_field_scan if field_scans.FLAGS.fields else _window_scan)(normalisation)
  scan_files.each(_PARTIAL.value or _IMAGE.value or "", _OUTPUT.value, scan)


def _check_source() -> None:
  """Checks that the flags name one thing to scan or to complete."""
  image, partial = _IMAGE.value, _PARTIAL.value
  if not (image or partial):
    raise ValueError("nothing to scan: give --image=FILE, or --partial=FILE to complete a scan.")
  if image and partial:
    raise ValueError(f"image={image} and partial={partial} disagree: give one of them.")
  if partial and not field_scans.FLAGS.fields:
    raise ValueError(
      f"partial={partial} and fields=False disagree: only models of whole fields complete what was "
      "measured in any order; give --fields."
    )
  names = ("coverage", "electrons", "electrons_per_pixel", "rounds", "contiguous", "plan_ahead")
  unused = launch_flags.given((*names, "pattern_seed", "binning", "rows")) if partial else {}
  for name, value in unused.items():
    raise ValueError(
      f"{name}={value} and partial={partial} disagree: nothing more is measured; leave --{name} "
      "out."
    )


def _read(file):
  return micrograph_file.read(file, _FRAME.value, _BINNING.value, _PIXEL_SIZE.value, _ROWS.value)


def _window_scan(normalisation: intensities.Normalisation) -> scan_files.Scan:
  """Returns the function that scans a window of a file, or all of it by tiles, into a folder."""
  window = _window()
  load = functools.cache(scanner.Scanner)

  def scan(file, folder):
    """Scans a file, and returns the content of scan.json."""
    began = instruments.now()
    image, size, about, _ = _read(file)
    model = load(field_scans.model_folder(_MODEL.value), _CORRECTOR.value or None)
    corners = (
      image_scan.tile_corners(image.shape, model.size, _OVERLAP.value)
      if _TILES.value
      else [image_scan.window_corner(image.shape, model.size, window)]
    )
    result = image_scan.scan(
      model,
      image,
      corners,
      normalisation,
      size,
      lambda steps: tqdm.tqdm(steps, disable=not (_PROGRESS.value and _TILES.value)),
    )
    about |= {"command": launch_flags.command(), **result.about}
    about["instrument"] = instruments.of_file(file, about, began)
    result = result._replace(about=about)
    outputs.write_scan(folder, result)
    print(_report(result))
    print(
      f"Written: {folder}/path.csv, partial_scan and completion as .npy and .tif, scan.json and "
      "scan.png."
    )
    return outputs.summary(result)

  return scan


def _field_scan(normalisation: intensities.Normalisation) -> scan_files.Scan:
  """Returns the function that scans all of a file as one field, into a folder."""
  load = functools.cache(field_scan.ExportedFields)
  electrons = field_scans.FLAGS.electrons_per_pixel

  def scan(file, folder):
    """Scans a file, and returns the content of scan.json."""
    began = instruments.now()
    image, size, about, _ = _read(file)
    model = load(field_scans.model_folder(_MODEL.value))
    settings = field_scans.settings(model, image.shape)
    scan_of_field = field_scan.scan(
      model,
      settings,
      field_request.intensity_range(normalisation, image),
      field_request.reader(image, electrons, settings.seed),
      progress=lambda numbers: tqdm.tqdm(numbers, "rounds", disable=not _PROGRESS.value),
    )
    about |= {
      "command": launch_flags.command(),
      "model": str(model.folder),
      "normalise": _NORMALISE.value,
      "rounds": settings.rounds,
      "pattern_seed": settings.seed,
      "contiguous": settings.contiguous,
      "plan_ahead": settings.plan_ahead,
      "electrons_per_pixel": electrons,
      "instrument": instruments.of_file(file, about, began),
    }
    result = field_outputs.FieldResult(scan_of_field, image, size, model.filter_sigma, about)
    return field_scans.write(folder, result, print)

  return scan


def _completion(normalisation: intensities.Normalisation) -> scan_files.Scan:
  """Returns the function that completes a file of a field measured in part, into a folder."""
  load = functools.cache(field_scan.ExportedFields)

  def complete(file, folder):
    """Completes a file, and returns the content of scan.json."""
    began = instruments.now()
    partial, size, about, notes = subject.partial_of_file(file, _FRAME.value, _PIXEL_SIZE.value)
    for note in notes:
      print(f"{file}: {note}")
    model = load(field_scans.model_folder(_MODEL.value))
    measured = partial[np.isfinite(partial)]
    completed_scan = field_scan.complete(
      model, partial, field_request.intensity_range(normalisation, measured)
    )
    about |= {
      "command": launch_flags.command(),
      "model": str(model.folder),
      "normalise": _NORMALISE.value,
      "instrument": instruments.of_file(file, about, began),
    }
    result = field_outputs.FieldResult(completed_scan, None, size, model.filter_sigma, about)
    return field_scans.write(folder, result, print)

  return complete


def _window() -> tuple[int, int] | None:
  window = micrograph_file.window(_WINDOW.value)
  if window is not None and _TILES.value:
    raise ValueError(
      f"window={','.join(map(str, window))} and tiles=True disagree: tiles cover all of the image; "
      "leave one out."
    )
  return window


def _report(result: ScanResult) -> str:
  """Returns the sentences about a scan that are printed."""
  summary = outputs.summary(result)
  height, width = summary["frame_px"]
  count, errors = len(summary["windows"]), summary["ten_mse"]
  where = (
    f"{count} tiles over {height} x {width} px"
    if count > 1
    else (f"window of {height} x {width} px at row {result.origin[0]}, column {result.origin[1]}")
  )
  lines = [
    f"{where}: {summary['probing_positions']} probing positions, "
    f"{summary['distinct_pixels_share']:.2%} of its pixels, in {summary['seconds']} s; "
    f"--normalise={summary['normalise']}.",
    f"10 MSE {errors['filtered']:.3f} on the filtered specimen (PSNR "
    f"{summary['psnr_db']['filtered']:.1f} dB, SSIM {summary['ssim']['filtered']:.3f}), "
    f"{errors['raw']:.3f} on the raw one.",
  ]
  if summary["sampling_warning"]:
    lines.append(f"Warning: {summary['sampling_warning']}")
  if result.pixel_size_nm is None:
    lines.append("The size of a pixel is not known: --pixel_size_nm gives it.")
  if result.truth is not None and result.truth.max() == result.truth.min():
    lines.append(
      "What was scanned is constant: there is nothing to see, and 10 MSE has no meaning."
    )
  return "\n".join(lines)


if __name__ == "__main__":
  field_scans.define()
  instruments.define()
  launch_flags.run(main)
