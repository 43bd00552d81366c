"""The block `instrument` of scan.json (docs/LIVE.md explains it)."""

from __future__ import annotations

import datetime
import importlib.metadata
from typing import Any

from absl import flags

from launch import flags as launch_flags
from launch import microscope_flags, microscopes

FLAGS = flags.FLAGS
_ELECTRONS = 6.241509  # of a current of 1 pA in 1 us
# Packages of the instrument's side, whose versions are recorded.
_SOFTWARE = {
  "file": (),
  "obi": (),
  "swift": ("nionswift", "nionswift-instrumentation", "nionswift-usim"),
}
_LIMITS = ("max_beam_us", "max_us_per_px", "max_seconds")


def define() -> None:
  """Defines the flag of notes, shown by --helpshort."""
  flags.DEFINE_string("note", None, "a note about the scan: kept in scan.json and the .tif files")
  launch_flags.show("note")


def now() -> str:
  """Returns the time in UTC, with its zone."""
  return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def of_file(file: str, about: dict[str, Any], began: str) -> dict[str, Any]:
  """Returns the block of a scan of a file that ends now.

  Args:
    file: the micrograph.
    about: from the file's reader; its own `instrument`, if there is one, says how the file was
      acquired.
    began: when the scan began.
  """
  return {
    "backend": "file",
    "address": file,
    **about.get("instrument", {}),
    "began_utc": began,
    "ended_utc": now(),
    "note": FLAGS.note,
  }


def of_scan(subject: microscopes.Subject, size: int, count: int) -> dict[str, Any]:
  """Returns the block of a live scan.

  Args:
    subject: the microscope, after the scan.
    size: side of the field, px.
    count: how many positions were measured.
  """
  backend, _, address = FLAGS.microscope.partition(":")
  scope, pixel = subject.scope, subject.pixel_size_nm
  known = microscope_flags.calibration()
  return {
    "backend": backend,
    # A name or a password before the host must not be kept.
    "address": address if backend == "file" else address.rpartition("@")[2],
    "software": _versions(_SOFTWARE[backend]),
    **subject.about.get("instrument", {}),
    "field_px": size,
    "field_width_nm": pixel and size * pixel,
    "dwell_us": scope.dwell,
    "dwell_us_asked": FLAGS.dwell_us,
    "positions": count,
    "beam_on_us": scope.lit,
    **_dose(scope.dwell, scope.lit, pixel and size * pixel),
    "limits": {name: FLAGS[name].value for name in _LIMITS if FLAGS[name].value},
    **subject.instrument,
    "calibration": known and {"file": FLAGS.calibration, **known.summary()},
    "note": FLAGS.note,
  }


def _dose(dwell: float, lit: float, width_nm: float | None) -> dict[str, float | None]:
  """Returns the dose in electrons; None where the beam's current is not known."""
  rate = FLAGS.current_pa * _ELECTRONS if FLAGS.current_pa else None
  return {
    "current_pa": FLAGS.current_pa,
    "electrons_per_position": rate and rate * dwell,
    "electrons": rate and rate * lit,
    "electrons_per_nm2": rate and width_nm and rate * lit / width_nm**2,
  }


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
  """Returns the versions of those packages that are installed."""
  versions = {}
  for package in packages:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions
