"""The part of launch.scan and launch.live for --fields: whole fields, of any size, in rounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from absl import flags

from adaptive_stem_tf import installation
from adaptive_stem_tf.serving import field_outputs, field_request, field_scan
from launch import flags as launch_flags

FLAGS = flags.FLAGS
_OWN = (
  "coverage", "electrons", "electrons_per_pixel", "rounds", "pattern_seed", "contiguous",
  "plan_ahead",
)  # fmt: skip


def define() -> None:
  """Defines the flags of scans of whole fields, shown by --helpshort."""
  flags.DEFINE_boolean(
    "fields", False, "scan whole fields, of any size, with a model of launch.train_fields"
  )
  flags.DEFINE_float(
    "coverage", None, "fields: share of the pixels that is measured; 1/23 by default", 0.0, 1.0
  )
  flags.DEFINE_float(
    "electrons", None, "fields: electrons in all, in place of --coverage", lower_bound=0.0
  )
  flags.DEFINE_float(
    "electrons_per_pixel",
    None,
    "fields: electrons at each probing position where the field is white: gives shot noise",
    lower_bound=0.0,
  )
  flags.DEFINE_integer(
    "rounds",
    None,
    f"fields: rounds after the survey, at most {field_request.MOST_ROUNDS}; the model's by default",
    0,
    field_request.MOST_ROUNDS,
  )
  flags.DEFINE_integer("pattern_seed", 0, "fields: chooses one of 16,384 even patterns", 0, 2**20)
  flags.DEFINE_boolean(
    "contiguous",
    False,
    "fields: the beam is on while it moves: pixels on its way count in the budget, too",
  )
  flags.DEFINE_float(
    "plan_ahead",
    0.0,
    "fields: share of a round that is still to come when the next is planned: the beam goes on "
    "meanwhile; 0: all of it is measured first",
    0.0,
    0.9,
  )
  for name in ("fields", *_OWN):
    launch_flags.show(name)


def model_folder(given: str | None) -> str:
  """Returns the folder of the model that scans.

  Args:
    given: the folder that the user named; None for the model that comes with the project.
  """
  return given or str(
    installation.model(installation.FIELDS if FLAGS.fields else installation.CROPS)
  )


def check(others: tuple[str, ...]) -> None:
  """Checks that no flag is given that is for the other kind of scan, crops or whole fields.

  Args:
    others: flags that are for scans of crops only.

  Raises:
    ValueError: naming one.
  """
  if FLAGS.fields:
    # Before TensorFlow is loaded: convolutions take half the time.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
  wrong = launch_flags.given(others if FLAGS.fields else _OWN)
  for name, value in wrong.items():
    raise ValueError(
      f"{name}={value} and fields={FLAGS.fields} disagree: leave --{name} out, or "
      f"{'--fields' if FLAGS.fields else 'give --fields'}."
    )


def settings(model: field_scan.ExportedFields, shape: tuple[int, int]) -> field_scan.FieldSettings:
  """Returns the settings of a scan of a field [H, W], from the flags.

  Raises:
    ValueError: if flags of the budget contradict each other, or it is less than one position.
  """
  budget = field_request.budget(shape, FLAGS.coverage, FLAGS.electrons, FLAGS.electrons_per_pixel)
  number = model.rounds if FLAGS.rounds is None else FLAGS.rounds
  return field_scan.FieldSettings(
    shape, budget, number, FLAGS.pattern_seed, FLAGS.contiguous, FLAGS.plan_ahead
  )


def write(
  folder: str, result: field_outputs.FieldResult, say: Callable[[str], Any]
) -> dict[str, Any]:
  """Writes a scan, and reports it in a few sentences.

  Args:
    folder: for the files.
    result: the scan.
    say: receives each sentence.

  Returns:
    The content of scan.json.
  """
  summary = field_outputs.write(folder, result)
  height, width = summary["frame_px"]
  how = (
    "that were measured before"
    if "partial" in summary
    else f"in a survey and {len(summary['positions_by_round']) - 1} rounds"
  )
  say(
    f"field of {height} x {width} px: {summary['probing_positions']} positions "
    f"({summary['coverage']:.2%}) {how}; computed in {summary['seconds_in_all']:.2f} s."
  )
  if "errors" in summary:
    errors, plain = summary["errors"]["completion"], summary["errors"]["interpolation"]
    say(
      f"10 MSE {errors['ten_mse_filtered']:.4f} on the filtered field "
      f"(PSNR {errors['psnr_filtered_db']:.1f} dB, SSIM {errors['ssim_filtered']:.3f}); of a plain "
      f"completion, linear and filtered, {plain['ten_mse_filtered']:.4f} "
      f"({plain['psnr_filtered_db']:.1f} dB, {plain['ssim_filtered']:.3f})."
    )
  if summary.get("warning"):
    say(f"Warning: {summary['warning']}")
  say(
    f"Written: {folder}/path.csv, mask, partial_scan, completion, uncertainty and interpolation "
    "as .npy and .tif, scan.json and scan.png."
  )
  return summary
