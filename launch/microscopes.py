"""Opens the microscope that flags name, real or simulated."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import microscope_config
from adaptive_stem_tf.scan import distortion
from adaptive_stem_tf.serving import image_scan
from adaptive_stem_tf.serving.live import calibration as calibration_lib
from adaptive_stem_tf.serving.live import (
  deciding,
  field,
  guard,
  microscope,
  model,
  nion_swift,
  open_beam,
  open_beam_commands,
  orientation,
  twin,
  usim,
)
from launch import flags as launch_flags
from launch import micrograph_file
from launch.microscope_flags import FLAGS, OF_BEAM, OF_FILE, OF_SWIFT, calibration, pair


class Subject(NamedTuple):
  """A microscope that is open, and what is known of its specimen."""

  scope: microscope.Microscope
  truth: np.ndarray | None  # [S, S]
  origin: tuple[int, int]  # (row, column) of its first pixel in the file
  pixel_size_nm: float | None
  about: dict[str, Any]
  instrument: dict[str, Any]  # what is particular to its kind, for the summary


class Opened:
  """Opens the microscope that --microscope names; closes it, whatever happens.

  Args:
    size: px, side of the field.

  Raises:
    ValueError: for flags that contradict each other or are missing.
    MicroscopeError: if the microscope does not answer.
  """

  def __init__(self, size: int):
    kind, _, rest = FLAGS.microscope.partition(":")
    makers = {"file": (_twin, OF_FILE), "obi": (_beam, OF_BEAM), "swift": (_swift, OF_SWIFT)}
    if kind not in makers or not rest:
      raise ValueError(
        f"microscope={FLAGS.microscope} is unknown: give file:FILE, obi:HOST:PORT, or swift:usim."
      )
    make, own = makers[kind]
    others = {name for _, names in makers.values() for name in names} - set(own)
    for name, value in launch_flags.given(sorted(others)).items():
      kinds = " and ".join(f"{other}:" for other, (_, names) in makers.items() if name in names)
      raise ValueError(
        f"{name}={value} and microscope={FLAGS.microscope} disagree: --{name} is for {kinds} "
        "only; leave it out."
      )
    known = calibration()
    scan_orientation = known.orientation if known else orientation.Orientation()
    room = scan_orientation.room(size)
    subject = make(rest, room, known)
    if not FLAGS.dry_run:
      limits = guard.Limits(FLAGS.max_beam_us, FLAGS.max_us_per_px, FLAGS.max_seconds)
      try:
        scope = guard.Guarded(subject.scope, room, limits, FLAGS.segment_log)
      except BaseException:
        subject.scope.close()
        raise
      subject = subject._replace(scope=scope)
    self._subject = _oriented(subject, scan_orientation, size) if scan_orientation else subject

  def __enter__(self) -> Subject:
    return self._subject

  def __exit__(self, kind, *_):
    try:
      self._subject.scope.close()
    except microscope.MicroscopeError:
      if kind is None:  # otherwise the error that ended the scan goes on
        raise


def _oriented(subject: Subject, scan_orientation: orientation.Orientation, size: int) -> Subject:
  """Returns a subject whose positions are those that the instrument's own software shows."""
  truth = None if subject.truth is None else scan_orientation.view(subject.truth, size)
  # A field that is turned has no corner in the file.
  scope = orientation.Oriented(subject.scope, scan_orientation, size)
  return subject._replace(scope=scope, truth=truth, origin=(0, 0))


def told_dry_run(scope: microscope.Microscope) -> bool:
  """Returns whether this is a dry run, which sends nothing; prints what would have been sent."""
  scope = scope.scope if isinstance(scope, orientation.Oriented) else scope
  if not isinstance(scope, guard.DryRun):
    return False
  print(scope.told())
  return True


def decisions(follows: model.Decider, scope: microscope.Microscope) -> deciding.Deciding:
  """Returns what asks the model for directions: a thread where time is real, else a simulation of
  its delay.
  """
  if not isinstance(scope.clock, microscope.SimulatedClock):
    return deciding.Threaded(follows, scope.clock)
  fixed = FLAGS.decision_us
  return deciding.Simulated(follows, scope.clock, (lambda _: fixed) if fixed else None)


def _length_scale(known: calibration_lib.Calibration | None) -> float:
  """Returns the ratio of true lengths to those that a microscope reports."""
  return (known and known.length_scale) or 1.0


def _twin(path: str, size: int, known: calibration_lib.Calibration | None) -> Subject:
  if FLAGS.real_time and FLAGS.decision_us:
    raise ValueError(
      f"real_time=True and decision_us={FLAGS.decision_us:g} disagree: in real time a decision "
      "takes what it takes; leave one out."
    )
  window = micrograph_file.window(FLAGS.window)
  image, pixel, about, _ = micrograph_file.read(
    path, FLAGS.frame, FLAGS.binning, FLAGS.pixel_size_nm
  )
  pixel = pixel and pixel * _length_scale(known)
  if min(image.shape) < size == FLAGS.field_size:
    raise ValueError(
      f"{path} has {image.shape[0]} x {image.shape[1]} px, too few for field_size={size}: give at "
      f"most --field_size={min(image.shape)}, or less --binning."
    )
  row, column = image_scan.window_corner(image.shape, size, window)
  faults = twin.Faults(FLAGS.dwell_us, FLAGS.dose, FLAGS.jitter_px, _system(pixel), FLAGS.twin_seed)
  truth = image[row : row + size, column : column + size]
  scope = twin.DigitalTwin(truth, faults, microscope.WallClock() if FLAGS.real_time else None)
  return Subject(
    scope,
    truth,
    (row, column),
    pixel,
    {**about, "twin": dataclasses.asdict(faults), "real_time": FLAGS.real_time},
    {"electrons_detected_at_white": FLAGS.dose or None},
  )


def _system(pixel_size_nm: float | None) -> microscope_config.ScanSystem:
  """Returns the scan system, whatever unit the drift is given in."""
  system = launch_flags.section(microscope_config.ScanSystem)
  pairs = [
    f"{name}={','.join(texts)}"
    for name in ("drift_px_per_ms", "drift_nm_per_s")
    if (texts := FLAGS[name].value)
  ]
  singles = [
    f"{name}={value:g}" for name, value in launch_flags.given(("drift_row", "drift_column")).items()
  ]
  if len(pairs) > 1 or (pairs and singles):
    raise ValueError(f"{' and '.join(pairs + singles)} disagree: give one of them.")
  if not pairs:
    return system
  row, column = _drift(pixel_size_nm)
  return dataclasses.replace(system, drift_row=row, drift_column=column)


def _drift(pixel_size_nm: float | None) -> tuple[float, float]:
  """Returns the specimen's velocity in px/ms."""
  if not FLAGS.drift_nm_per_s:
    return pair("drift_px_per_ms")
  if not pixel_size_nm:
    raise ValueError(
      f"drift_nm_per_s={','.join(FLAGS.drift_nm_per_s)} needs the size of a px, which the file "
      "does not say: give --pixel_size_nm, or --drift_px_per_ms."
    )
  row, column = distortion.pixels_per_ms(np.array(pair("drift_nm_per_s")), pixel_size_nm)
  return float(row), float(column)


def _beam(place: str, size: int, known: calibration_lib.Calibration | None) -> Subject:
  host, _, port = place.rpartition(":")
  if not host or not port.isdigit():
    raise ValueError(f"microscope=obi:{place} names no peer: give obi:HOST:PORT.")
  full = (known and known.full_field_nm) or FLAGS.full_field_nm
  if FLAGS.pixel_size_nm is None or full is None:
    raise ValueError(
      "obi: needs --pixel_size_nm, the side of a network px, and --full_field_nm (or a "
      "--calibration), the width that the scan generator's whole range covers: without them nobody "
      "knows where the beam would go."
    )
  where = field.Field(size, FLAGS.pixel_size_nm, full, pair("field_centre_nm"))
  bits = open_beam.SIXTEEN_BIT if FLAGS.sample_bits == "16" else open_beam.EIGHT_BIT
  if FLAGS.dry_run:
    dwell = open_beam_commands.cycles_of(FLAGS.dwell_us) * open_beam_commands.CYCLE_US
    return Subject(guard.DryRun(where, dwell), None, (0, 0), FLAGS.pixel_size_nm, {}, {})
  beam = open_beam.Beam(
    FLAGS.settle_us, FLAGS.blanker_us, FLAGS.blanker == "pin", 1e3 * FLAGS.heartbeat_ms
  )
  scope = open_beam.OpenBeam(host, int(port), where, FLAGS.dwell_us, bits, FLAGS.timeout_s, beam)
  instrument = {
    "settle_us": beam.settle,
    "blanker_us": beam.rise,
    "blanker": FLAGS.blanker,
    "heartbeat_ms": FLAGS.heartbeat_ms,
    "field_centre_nm": pair("field_centre_nm"),
    "full_field_nm": full,
    "first_code": where.first.tolist(),
    "last_code": where.last.tolist(),
  }
  return Subject(scope, None, (0, 0), FLAGS.pixel_size_nm, {}, instrument)


def _swift(name: str, size: int, known: calibration_lib.Calibration | None) -> Subject:
  if name != "usim":
    raise ValueError(
      f"microscope=swift:{name} is unknown: give swift:usim, Nion Swift's simulated microscope; an "
      "instrument's scan device is handed over in Python (docs/MICROSCOPES.md)."
    )
  if FLAGS.pixel_size_nm is None:
    raise ValueError("swift: needs --pixel_size_nm, the side of a network px.")
  scale = 1 / _length_scale(known)  # lengths that Swift reports, over true ones
  row, column = (scale * value for value in pair("field_centre_nm"))
  where = nion_swift.SwiftField(size, scale * FLAGS.pixel_size_nm, (row, column))
  simulated = usim.instrument()
  scope = usim.scope(simulated, where, FLAGS.dwell_us)  # refuses fields that are too wide
  specimen = usim.specimen(simulated, where, FLAGS.dwell_us)
  instrument = {"blanker": nion_swift.BLANKER, "field_centre_nm": pair("field_centre_nm")}
  return Subject(scope, specimen, (0, 0), FLAGS.pixel_size_nm, {}, instrument)
