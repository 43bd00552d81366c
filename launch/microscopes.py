"""The flags of microscopes, real and simulated, and how one is opened from them."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from adaptive_stem_tf.scan import distortion
from adaptive_stem_tf.serving.live import deciding, field, files, microscope, model, open_beam, twin
from launch import flags as launch_flags

_MICROSCOPE = flags.DEFINE_string("microscope", None, "file:FILE, or obi:HOST:PORT", required=True)
_DWELL = flags.DEFINE_float("dwell_us", 10.0, "time at each probing position, us", lower_bound=0.0)
_PIXEL_SIZE = flags.DEFINE_float(
    "pixel_size_nm", None, "side of a network px on the specimen, nm; of a px of the file, if the file does not say it",
    lower_bound=0.0)
_NORMALISE = flags.DEFINE_string(
    "normalise", "measured", "which intensities become [-1, 1]: measured, LOW,HIGH, or image (file: only)")

_WINDOW = flags.DEFINE_list(
    "window", [], "file: first row and column of the field, in px after binning: 120,64. Default: the centre")
_BINNING = flags.DEFINE_integer("binning", 1, "file: px per side that are averaged into one", lower_bound=1)
_FRAME = flags.DEFINE_integer("frame", 0, "file: which frame of a stack, from 0", lower_bound=0)
_DOSE = flags.DEFINE_float(
    "dose", 0.0, "file: electrons per probing position where the window is white; 0 for no shot noise", lower_bound=0.0)
_JITTER = flags.DEFINE_float("jitter_px", 0.0, "file: standard deviation of positions, px", lower_bound=0.0)
_LAG = flags.DEFINE_float("lag_us", 0.0, "file: time constant of the scan coils, us", lower_bound=0.0)
_DRIFT_PX = flags.DEFINE_list("drift_px_per_ms", [], "file: row's and column's velocity of the specimen")
_DRIFT_NM = flags.DEFINE_list("drift_nm_per_s", [], "file: the same in nm/s, where the size of a px is known")
_SEED = flags.DEFINE_integer("twin_seed", 0, "file: seed of noise and jitter", lower_bound=0)
_DECISION = flags.DEFINE_float(
    "decision_us", 0.0, "file: time that every decision takes by the simulated clock, us; 0 for what it takes here",
    lower_bound=0.0)
_REAL_TIME = flags.DEFINE_boolean("real_time", False, "file: let time pass as on a microscope")

_FULL_FIELD = flags.DEFINE_float(
    "full_field_nm", None, "obi: width that the scan generator's whole range covers at the present magnification, nm",
    lower_bound=0.0)
_CENTRE = flags.DEFINE_list(
    "field_centre_nm", ["0", "0"], "obi: row and column of the field's centre, nm from the centre of the range")
_BITS = flags.DEFINE_enum("sample_bits", "16", ["16", "8"], "obi: bits of a sample")
_TIMEOUT = flags.DEFINE_float("timeout_s", 2.0, "obi: how long an answer may be overdue, s", lower_bound=0.0)

_OF_FILE = (_WINDOW, _BINNING, _FRAME, _DOSE, _JITTER, _LAG, _DRIFT_PX, _DRIFT_NM, _SEED, _DECISION, _REAL_TIME)
_OF_BEAM = (_FULL_FIELD, _CENTRE, _BITS, _TIMEOUT)


class Subject(NamedTuple):
  """A microscope that is open, and what is known of what it looks at."""

  scope: microscope.Microscope
  truth: np.ndarray | None  # [S, S]
  origin: tuple[int, int]  # (row, column) of its first pixel in the file
  pixel_size_nm: float | None
  about: dict[str, Any]


def define() -> None:
  """Shows the flags of this module in --helpshort of the command that is run."""
  for flag in (_MICROSCOPE, _DWELL, _PIXEL_SIZE, _NORMALISE, *_OF_FILE, *_OF_BEAM):
    launch_flags.show(flag.name)


class Opened:
  """Opens the microscope that --microscope names; closes it, whatever happens.

  Args:
    size: px, side of the field.

  Raises:
    ValueError: for flags that contradict each other or are missing.
    MicroscopeError: if the microscope does not answer.
  """

  def __init__(self, size: int):
    kind, _, rest = _MICROSCOPE.value.partition(":")
    makers = {"file": (_twin, _OF_BEAM, "obi"), "obi": (_beam, _OF_FILE, "file")}
    if kind not in makers or not rest:
      raise ValueError(f"microscope={_MICROSCOPE.value} is unknown: give file:FILE, or obi:HOST:PORT.")
    make, others, other = makers[kind]
    for name, value in launch_flags.given([flag.name for flag in others]).items():
      raise ValueError(f"{name}={value} and microscope={_MICROSCOPE.value} disagree: --{name} is for {other}: only; "
                       "leave it out.")
    self._subject = make(rest, size)

  def __enter__(self) -> Subject:
    return self._subject

  def __exit__(self, kind, *_):
    try:
      self._subject.scope.close()
    except microscope.MicroscopeError:
      if kind is None:  # else the first error is told
        raise


def settings() -> dict[str, Any]:
  """Returns what the summary says of the flags."""
  return {"microscope": _MICROSCOPE.value, "normalise": _NORMALISE.value}


def intensity_range(truth: np.ndarray | None) -> model.IntensityRange:
  """Returns what --normalise asks for.

  Raises:
    ValueError: if it is no range, or not one that can be known.
  """
  text = _NORMALISE.value
  if text == "measured":
    return model.IntensityRange()
  if text == "image":
    if truth is None:
      raise ValueError(f"normalise=image and microscope={_MICROSCOPE.value} disagree: nobody knows the range of an "
                       "image before it is scanned; calibrate black and white (LOW,HIGH), or choose measured.")
    low, high = float(truth.min()), float(truth.max())
    return model.IntensityRange((low, high) if high > low else None)
  try:
    low, high = map(float, text.split(","))
  except ValueError:
    raise ValueError(f"normalise={text!r} is unknown: give measured, image, or LOW,HIGH such as 0,65535.") from None
  return model.IntensityRange((low, high))


def decisions(follows: model.Decider, scope: microscope.Microscope) -> deciding.Deciding:
  """Returns what asks the model: a thread where time is real, else arithmetic."""
  if not isinstance(scope.clock, microscope.SimulatedClock):
    return deciding.Threaded(follows, scope.clock)
  return deciding.Simulated(follows, scope.clock, (lambda _: _DECISION.value) if _DECISION.value else None)


def _twin(path: str, size: int) -> Subject:
  if _REAL_TIME.value and _DECISION.value:
    raise ValueError(f"real_time=True and decision_us={_DECISION.value:g} disagree: in real time a decision takes what "
                     "it takes; leave one out.")
  read = files.read(path, _FRAME.value)
  image = files.bin_down(read.image, _BINNING.value)
  row, column = files.window_corner(image.shape, size, _window())
  pixel = _PIXEL_SIZE.value or read.pixel_size_nm
  pixel = pixel and pixel * _BINNING.value
  faults = twin.Faults(_DWELL.value, _DOSE.value, _JITTER.value, _LAG.value, _drift(pixel), _SEED.value)
  truth = image[row : row + size, column : column + size]
  scope = twin.DigitalTwin(truth, faults, microscope.WallClock() if _REAL_TIME.value else None)
  return Subject(scope, truth, (row, column), pixel,
                 {"twin": dataclasses.asdict(faults), "real_time": _REAL_TIME.value})


def _window() -> tuple[int, int] | None:
  if not _WINDOW.value:
    return None
  row, column = _pair(_WINDOW)
  return int(row), int(column)


def _drift(pixel_size_nm: float | None) -> tuple[float, float]:
  """Returns the specimen's velocity in px/ms."""
  if _DRIFT_PX.value and _DRIFT_NM.value:
    raise ValueError(f"drift_px_per_ms={','.join(_DRIFT_PX.value)} and drift_nm_per_s={','.join(_DRIFT_NM.value)} "
                     "disagree: give one of them.")
  if not _DRIFT_NM.value:
    return _pair(_DRIFT_PX) if _DRIFT_PX.value else (0.0, 0.0)
  if not pixel_size_nm:
    raise ValueError(f"drift_nm_per_s={','.join(_DRIFT_NM.value)} needs the size of a px, which the file does not say: "
                     "give --pixel_size_nm, or --drift_px_per_ms.")
  row, column = distortion.pixels_per_ms(np.array(_pair(_DRIFT_NM)), pixel_size_nm)
  return float(row), float(column)


def _beam(place: str, size: int) -> Subject:
  host, _, port = place.rpartition(":")
  if not host or not port.isdigit():
    raise ValueError(f"microscope=obi:{place} names no peer: give obi:HOST:PORT.")
  if _PIXEL_SIZE.value is None or _FULL_FIELD.value is None:
    raise ValueError("obi: needs --pixel_size_nm, the side of a network px, and --full_field_nm, the width that the "
                     "scan generator's whole range covers: without them nobody knows where the beam would go.")
  where = field.Field(size, _PIXEL_SIZE.value, _FULL_FIELD.value, _pair(_CENTRE))
  bits = open_beam.SIXTEEN_BIT if _BITS.value == "16" else open_beam.EIGHT_BIT
  scope = open_beam.OpenBeam(host, int(port), where, _DWELL.value, bits, _TIMEOUT.value)
  about = {"full_field_nm": _FULL_FIELD.value, "first_code": where.first.tolist(), "last_code": where.last.tolist()}
  return Subject(scope, None, (0, 0), _PIXEL_SIZE.value, about)


def _pair(flag: flags.FlagHolder) -> tuple[float, float]:
  try:
    row, column = map(float, flag.value)
  except ValueError:
    raise ValueError(f"{flag.name}={','.join(flag.value)} is no pair: give a row's and a column's number, such as "
                     "12,-3.") from None
  return row, column
