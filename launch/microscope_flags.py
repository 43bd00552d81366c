"""The flags of microscopes, real and simulated, and values that several of them set together."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from adaptive_stem_tf import intensities, microscope_config
from adaptive_stem_tf.serving.live import calibration as calibration_lib
from launch import flags as launch_flags

FLAGS = flags.FLAGS

SYSTEM = tuple(part.name for part in dataclasses.fields(microscope_config.ScanSystem))
OF_FILE = (
  "window",
  "binning",
  "frame",
  "dose",
  "jitter_px",
  "drift_px_per_ms",
  "drift_nm_per_s",
  "twin_seed",
  "decision_us",
  "real_time",
  *SYSTEM,
)
OF_BEAM = (
  "full_field_nm",
  "field_centre_nm",
  "sample_bits",
  "timeout_s",
  "blanker",
  "settle_us",
  "blanker_us",
  "heartbeat_ms",
  "dry_run",
  "current_pa",
)
OF_SWIFT = ("field_centre_nm", "current_pa")
OF_ALL = (
  "microscope",
  "dwell_us",
  "pixel_size_nm",
  "normalise",
  "calibration",
  "max_beam_us",
  "max_us_per_px",
  "max_seconds",
  "segment_log",
)
# Flags of numbers and of lists: their defaults and help.
_NUMBERS: dict[str, tuple[float | None, str]] = {
  "dwell_us": (
    10.0,
    "time at each probing position, us; obi: at most, since it dwells powers of two of 0.125 us",
  ),
  "pixel_size_nm": (
    None,
    "side of a network px on the specimen, nm; of a px of the file, if the file does not say it",
  ),
  "dose": (
    0.0,
    "file: electrons per probing position where the window is white; 0 for no shot noise",
  ),
  "jitter_px": (0.0, "file: standard deviation of positions, px"),
  "decision_us": (
    0.0,
    "file: time that every decision takes by the simulated clock, us; 0 for what it takes here",
  ),
  "full_field_nm": (
    None,
    "obi: width that the scan generator's whole range covers at the present magnification, nm",
  ),
  "current_pa": (
    None,
    "obi, swift: current of the beam, pA, as the instrument says it: the dose in electrons is kept",
  ),
  "timeout_s": (2.0, "obi: how long an answer may be overdue, s"),
  "max_beam_us": (0.0, "most time that the beam is on, in all, us; 0: no limit"),
  "max_us_per_px": (0.0, "most time that the beam is on within one pixel, us; 0: no limit"),
  "max_seconds": (0.0, "most time from the first segment to the last, s; 0: no limit"),
  "settle_us": (
    0.0,
    "obi: time that the blanked beam waits at the first position of a segment, us",
  ),
  "blanker_us": (
    0.0,
    "obi: time until an unblanked beam is whole, us: it is dose, but not measured",
  ),
  "heartbeat_ms": (
    100.0,
    "obi: how long the beam goes on at most if this computer stalls, or is told to blank now, ms",
  ),
}
_LISTS: dict[str, tuple[list[str], str]] = {
  "window": (
    [],
    "file: first row and column of the field, in px after binning: 120,64. Default: the centre",
  ),
  "drift_px_per_ms": ([], "file: --drift_row and --drift_column together"),
  "drift_nm_per_s": ([], "file: the same in nm/s, where the size of a px is known"),
  "field_centre_nm": (
    ["0", "0"],
    "obi, swift: row and column of the field's centre, nm from the centre of the range",
  ),
}


def define() -> None:
  """Defines the flags of microscopes, shown by --helpshort."""
  flags.DEFINE_string("microscope", None, "file:FILE, obi:HOST:PORT, or swift:usim", required=True)
  flags.DEFINE_string(
    "normalise",
    "measured",
    "which intensities become [-1, 1]: measured, LOW,HIGH, or image (file: only)",
  )
  flags.DEFINE_string(
    "calibration",
    None,
    "file of launch.calibrate: black and white, mirror and turn, width; in place of --normalise "
    "and --full_field_nm",
  )
  for name, (default, text) in _NUMBERS.items():
    flags.DEFINE_float(name, default, text, lower_bound=0.0)
  for name, (pair, text) in _LISTS.items():
    flags.DEFINE_list(name, pair, text)
  flags.DEFINE_integer("binning", 1, "file: px per side that are averaged into one", lower_bound=1)
  flags.DEFINE_integer("frame", 0, "file: which frame of a stack, from 0", lower_bound=0)
  flags.DEFINE_integer("twin_seed", 0, "file: seed of noise and jitter", lower_bound=0)
  flags.DEFINE_boolean("real_time", False, "file: let time pass as on a microscope")
  flags.DEFINE_enum("sample_bits", "16", ["16", "8"], "obi: bits of a sample")
  flags.DEFINE_string(
    "segment_log", None, "file that receives a line when a segment is sent and when it is measured"
  )
  flags.DEFINE_boolean(
    "dry_run", False, "obi: send nothing: tell codes, dose and time of a scan of nothing"
  )
  flags.DEFINE_enum(
    "blanker",
    "pin",
    ["pin", "none"],
    "obi: whether the interface has a pin that blanks; none parks the beam instead",
  )
  launch_flags.define(microscope_config.ScanSystem)
  for name in (*OF_ALL, *OF_FILE, *OF_BEAM):
    launch_flags.show(name)


def settings() -> dict[str, Any]:
  """Returns the entries of the summary about these flags."""
  return {"normalise": str(normalisation()) if calibration() else FLAGS.normalise}


def calibration() -> calibration_lib.Calibration | None:
  """Returns the calibration that --calibration names; None without it.

  Raises:
    ValueError: if it is of another kind of microscope, or another flag sets what it sets.
  """
  if FLAGS.calibration is None:
    return None
  known = calibration_lib.read(FLAGS.calibration)
  kind = lambda name: name.partition(":")[0]
  if kind(known.microscope) != kind(FLAGS.microscope):
    raise ValueError(
      f"calibration={FLAGS.calibration} is of {known.microscope}, and microscope="
      f"{FLAGS.microscope}: calibrate this one with launch.calibrate."
    )
  calibrated = ["normalise"] + ["full_field_nm"] * (known.full_field_nm is not None)
  for name, value in launch_flags.given(calibrated).items():
    raise ValueError(
      f"{name}={value} and calibration={FLAGS.calibration} disagree: both say it; leave one out."
    )
  return known


def normalisation() -> intensities.Normalisation:
  """Returns the normalisation that --normalise or --calibration sets.

  Raises:
    ValueError: if --normalise is not a range, or a range that cannot be known before the scan.
  """
  if known := calibration():
    return intensities.Normalisation("known", known.black, known.white)
  normalisation = intensities.Normalisation.parse(FLAGS.normalise)
  if normalisation.kind == "image" and not FLAGS.microscope.startswith("file:"):
    raise ValueError(
      f"normalise=image and microscope={FLAGS.microscope} disagree: nobody knows the range of an "
      "image before it is scanned; calibrate black and white (LOW,HIGH), or choose measured."
    )
  return normalisation


def pair(name: str) -> tuple[float, float]:
  """Returns the two numbers of a flag.

  Raises:
    ValueError: if it does not have two numbers.
  """
  texts = list(FLAGS[name].value or [])
  try:
    row, column = map(float, texts)
  except ValueError:
    raise ValueError(
      f"{name}={','.join(texts)} is no pair: give a row's and a column's number, such as 12,-3."
    ) from None
  return row, column
