"""Calibrates a microscope: black and white, mirror and turn, width. launch.live reads the file.

  python -m launch.calibrate --microscope=obi:HOST:PORT --pixel_size_nm=0.4 --full_field_nm=100 \\
      --reference=PICTURE.tif --output=calibration.json
  python -m launch.live --calibration=calibration.json --microscope=obi:HOST:PORT \\
      --pixel_size_nm=0.1 --output_dir=OUT

*Black* is what the detector reads while the beam is blanked, where the microscope can measure it
(obi:, file:), else the darkest intensity of a sparse survey; *white* is the brightest of the
survey, but for 0.5 %. The survey measures --positions single px of a field of --field_size px:
1,024 of 10 us are 10 ms of beam. --max_beam_us, --max_us_per_px and --max_seconds hold for it, too;
with --dry_run nothing is sent to an Open Beam Interface.

*Mirror and turn* need --reference, a picture of the same place, by the instrument's own software
and the same detector: of the same width, or with a known size of its px. The survey is compared
with it, mirrored and not, at every angle: launch.live then scans, and shows, fields as the
reference does.
Go to a place without symmetry: a lattice alone looks the same when it is turned.

*Width* comes from the reference, if it or --reference_pixel_size_nm says the size of its px, or
from a specimen whose lines have a known spacing, --period_nm, as a grating has. --pixel_size_nm and
--full_field_nm are what is believed before, and may be wrong by a fifth. The calibration holds for
this magnification.

The file is JSON, which may be edited by hand, and says how well each of these is known.
"""

from __future__ import annotations

import datetime
import pathlib
from typing import Any, NamedTuple

from absl import flags

from adaptive_stem_tf import writing
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving import subject as subject_lib
from adaptive_stem_tf.serving.live import calibration, orientation, periodicity, registration
from launch import flags as launch_flags
from launch import microscope_flags, microscopes

_OUTPUT = flags.DEFINE_string("output", None, "file for the calibration, .json", required=True)
_REFERENCE = flags.DEFINE_string(
  "reference", None, "picture of the same place by the instrument's own software: mirror and turn"
)
_REFERENCE_PIXEL = flags.DEFINE_float(
  "reference_pixel_size_nm",
  None,
  "side of a px of the reference, nm; what its file says by default",
  lower_bound=0.0,
)
_PERIOD = flags.DEFINE_float(
  "period_nm",
  None,
  "known spacing of the specimen's lines, nm: of a grating its period, of a lattice that of rows",
  lower_bound=0.0,
)
_POSITIONS = flags.DEFINE_integer(
  "positions", 1024, "about how many px of the field are measured", lower_bound=16
)
_FIELD_SIZE = flags.DEFINE_integer("field_size", 256, "side of the field, px", lower_bound=32)

_FOR_SCANS = ("normalise", "calibration", "decision_us")
_ROOM = 1 << 14  # bytes of the file, at most
_QUARTER = 3.0  # a turn this many standard deviations from whole quarter turns is taken as one


class _Width(NamedTuple):
  """The width of the field, as it was measured."""

  scale: float  # true lengths over those that were believed
  sd: float  # relative
  words: str  # how that is known


def main() -> None:
  """Measures, compares, writes."""
  _check()
  reference = _reference()
  if not microscope_flags.FLAGS.dry_run:  # no dose should be spent on what cannot be kept
    writing.check_room(pathlib.Path(_OUTPUT.value).parent, _ROOM)
  with stop_lib.Stop() as stop, microscopes.Opened(_FIELD_SIZE.value) as subject:
    measured = calibration.measure(subject.scope, _FIELD_SIZE.value, _POSITIONS.value, stop)
    if microscopes.told_dry_run(subject.scope):
      return
  black, white, about = calibration.black_and_white(measured)
  about |= {
    "utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    "command": launch_flags.command(),
    "positions": len(measured.survey.intensities),
    "dwell_us": subject.scope.dwell,
    "beam_on_us": subject.scope.lit,
  }
  try:
    scan_orientation, width, comparison = _compared(measured.survey, subject, reference)
  except registration.UnrecognisedError as error:
    raise registration.UnrecognisedError(
      f"{error} Nothing is written; black and white were measured: --normalise={black:g},{white:g}."
    ) from None
  about |= comparison
  if width is not None:
    about |= {"width_from": width.words, "width_sd": width.sd}
  result = calibration.Calibration(
    microscope_flags.FLAGS.microscope,
    black,
    white,
    scan_orientation.mirrored,
    scan_orientation.rotation_deg,
    **_width_of(width),
    measured=about,
  )
  result.write(_OUTPUT.value)
  print(_report(result, reference is not None))


def _compared(
  survey: registration.Survey, subject: microscopes.Subject, reference: subject_lib.Subject | None
) -> tuple[orientation.Orientation, _Width | None, dict[str, Any]]:
  """Returns the scan's orientation, its width if that can be measured, and how it compares with the
  reference, for the file.
  """
  scan_orientation, width = orientation.Orientation(), None
  comparison: dict[str, Any] = {}
  if _PERIOD.value:
    width = _by_period(survey, _PERIOD.value, subject.pixel_size_nm)
  if reference:
    fit, other = registration.match(survey, reference.image, *_expected(subject, reference))
    scan_orientation, comparison = _oriented(fit, other)
    width = width or _by_reference(fit, subject.pixel_size_nm, reference.pixel_size_nm)
  return scan_orientation, width, comparison


def _check() -> None:
  """Checks that no flag of scans is given, and that the output would not replace a file."""
  for name, value in launch_flags.given(_FOR_SCANS).items():
    raise ValueError(f"{name}={value} is for scans: leave --{name} out of a calibration.")
  if pathlib.Path(_OUTPUT.value).exists():
    raise ValueError(f"output={_OUTPUT.value} exists: give another file.")
  if _REFERENCE_PIXEL.value and not _REFERENCE.value:
    raise ValueError("reference_pixel_size_nm needs --reference: give the picture that it is of.")


def _reference() -> subject_lib.Subject | None:
  """Reads the reference; None if there is none. Call it before the beam is on."""
  if _REFERENCE.value is None:
    return None
  return subject_lib.of_file(_REFERENCE.value, pixel_size_nm=_REFERENCE_PIXEL.value)


def _expected(subject: microscopes.Subject, reference: subject_lib.Subject) -> tuple[float, int]:
  """Returns the scale and the steps of registration.match: how many px of the reference a px of the
  survey should span, and how far this may be wrong.
  """
  if subject.pixel_size_nm and reference.pixel_size_nm:
    return subject.pixel_size_nm / reference.pixel_size_nm, 2
  return min(reference.image.shape) / _FIELD_SIZE.value, 3


def _oriented(
  fit: registration.Match, other: float
) -> tuple[orientation.Orientation, dict[str, Any]]:
  """Returns the orientation, rounded to whole quarter turns where it agrees with one; and the
  comparison, for the file.
  """
  turn, sd = fit.orientation.rotation_deg, fit.rotation_sd_deg
  quarter = 90.0 * round(turn / 90)
  near = abs(turn - quarter) <= min(1.0, max(0.1, _QUARTER * sd))
  return orientation.Orientation(fit.orientation.mirrored, quarter if near else turn), {
    "reference": _REFERENCE.value,
    "correlation": fit.correlation,
    "correlation_of_other_orientations": other,
    "rotation_deg": turn,
    "rotation_sd_deg": sd,
    "reference_px_per_px": fit.scale,
    "centre_in_reference_px": list(fit.shift),
  }


def _by_period(
  survey: registration.Survey, period_nm: float, pixel_size_nm: float | None
) -> _Width:
  if not pixel_size_nm:
    raise ValueError("period_nm needs the size of a px, as it is believed: give --pixel_size_nm.")
  lines = periodicity.spacing(survey, period_nm / pixel_size_nm)
  words = f"lines {lines.px:.4g} px apart, which are {period_nm:g} nm"
  return _Width(period_nm / (lines.px * pixel_size_nm), lines.sd, words)


def _by_reference(
  fit: registration.Match, pixel_size_nm: float | None, reference_nm: float | None
) -> _Width | None:
  if not (pixel_size_nm and reference_nm):
    return None
  words = f"the reference, whose px are {reference_nm:.4g} nm"
  return _Width(fit.scale * reference_nm / pixel_size_nm, fit.scale_sd, words)


def _width_of(width: _Width | None) -> dict[str, float]:
  """Returns the entries of the file about lengths."""
  if width is None:
    return {}
  if microscope_flags.FLAGS.microscope.startswith("obi:"):
    return {"full_field_nm": microscope_flags.FLAGS.full_field_nm * width.scale}
  return {"length_scale": width.scale}


def _report(result: calibration.Calibration, compared: bool) -> str:
  """Returns the sentences about a calibration that are printed."""
  about = result.measured
  lines = [
    f"Black {result.black:g} ({about['black_from']}), white {result.white:g} (of "
    f"{about['positions']} positions)."
  ]
  if compared:
    lines.append(
      f"Against the reference: {result.orientation} counterclockwise (measured "
      f"{about['rotation_deg']:.2f}, standard deviation {about['rotation_sd_deg']:.2f}); they "
      f"correlate by {about['correlation']:.2f}, in other orientations by "
      f"{about['correlation_of_other_orientations']:.2f}."
    )
  else:
    lines.append("Mirror and turn are taken as none: --reference measures them.")
  if result.full_field_nm or result.length_scale:
    what = (
      f"full_field_nm is {result.full_field_nm:.5g}"
      if result.full_field_nm
      else f"true lengths are {result.length_scale:.4f} of what they were believed to be"
    )
    lines.append(f"By {about['width_from']}: {what} (standard deviation {about['width_sd']:.2%}).")
  else:
    lines.append(
      "Lengths are believed as they are: a --reference with the size of its px, or --period_nm, "
      "measures them."
    )
  if about["warning"]:
    lines.append(f"Warning: {about['warning']}")
  return "\n".join([
    *lines,
    f"The beam was on for {about['beam_on_us']:g} us in all. Written: {_OUTPUT.value}, which "
    f"launch.live --calibration={_OUTPUT.value} reads.",
  ])  # fmt: skip


if __name__ == "__main__":
  microscope_flags.define()
  launch_flags.run(main)
