"""Black and white, orientation and width of a microscope: how they are measured, and their file."""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import installation, writing
from adaptive_stem_tf.fields import routes
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import field_beam, microscope
from adaptive_stem_tf.serving.live.orientation import Orientation
from adaptive_stem_tf.serving.live.registration import Survey

_DARK = 200  # samples with the beam blanked
_WHITE = 0.995  # quantile of a survey: a few hot pixels or counts are not white
_SATURATED = 0.02  # share of a survey that reads its highest value: rarely true by chance
_AGAIN = "calibrate again with launch.calibrate, or repair it by hand."


class CalibrationError(ValueError):
  """A calibration cannot be measured, or cannot be read."""


@dataclasses.dataclass(frozen=True)
class Calibration:
  """What is known of a microscope before a scan.

  Raises:
    CalibrationError: if values are impossible.
  """

  microscope: str  # as of --microscope
  black: float  # in the detector's units
  white: float
  mirrored: bool = False  # as of `Orientation`
  rotation_deg: float = 0.0
  full_field_nm: float | None = None  # obi: true width of the scan generator's range
  length_scale: float | None = None  # other microscopes: true lengths over nominal ones
  measured: dict[str, Any] = dataclasses.field(default_factory=dict)  # when, how, how well

  def __post_init__(self):
    if not (math.isfinite(self.black) and math.isfinite(self.white) and self.black < self.white):
      raise CalibrationError(
        f"black={self.black:g} and white={self.white:g} are no range of intensities: {_AGAIN}"
      )
    for name in ("full_field_nm", "length_scale"):
      value = getattr(self, name)
      if value is not None and not (math.isfinite(value) and value > 0):
        raise CalibrationError(f"{name}={value} must be above 0, or null: {_AGAIN}")

  @property
  def orientation(self) -> Orientation:
    """Of the scan against pictures by the microscope's own software."""
    return Orientation(self.mirrored, self.rotation_deg)

  def summary(self) -> dict[str, Any]:
    """Returns its values, for JSON."""
    return dataclasses.asdict(self)

  def write(self, file: str | os.PathLike) -> None:
    """Writes it as JSON.

    Raises:
      writing.WriteError: if it cannot be written.
    """
    content = {"software": installation.software(), **self.summary()}
    writing.text(file, json.dumps(content, indent=1))


def read(file: str | os.PathLike) -> Calibration:
  """Reads a calibration.

  Raises:
    FileNotFoundError: if there is none.
    CalibrationError: if it is damaged, or not a calibration.
  """
  try:
    content = json.loads(pathlib.Path(file).read_text())
    content = {name: value for name, value in content.items() if name != "software"}
  except (ValueError, AttributeError) as error:
    raise CalibrationError(f"{file} is no calibration: {error}; {_AGAIN}") from None
  kinds: dict[str, Any] = {
    "microscope": str,
    "mirrored": bool,
    "measured": dict,
    **dict.fromkeys(("black", "white", "rotation_deg"), (int, float)),
    **dict.fromkeys(("full_field_nm", "length_scale"), (int, float, type(None))),
  }
  missing = sorted({"microscope", "black", "white"} - set(content))
  wrong = sorted(
    name
    for name, value in content.items()
    if not isinstance(value, kinds.get(name, ()))
    or (isinstance(value, bool) and name != "mirrored")
  )
  if missing or wrong:
    words = [f"it lacks {', '.join(missing)}"] * bool(missing)
    words += [f"{', '.join(wrong)} should not be there, or so"] * bool(wrong)
    raise CalibrationError(f"{file} is no calibration: {' and '.join(words)}; {_AGAIN}")
  try:
    calibration = Calibration(**content)
    calibration.orientation  # noqa: B018 - refuses what is no angle
  except ValueError as error:
    raise CalibrationError(f"{file}: {error}") from None
  return calibration


def positions(size: int, count: int, seed: int = 0) -> np.ndarray:
  """Returns some `count` pixels of a field, [N, 2] rows and columns, in the order of a serpentine.

  One is drawn in each cell of a square grid: they are even, but not on a grid, which would alias.

  Raises:
    CalibrationError: if there are not that many.
  """
  cells = math.isqrt(count)
  if not 4 <= cells <= size:
    raise CalibrationError(
      f"positions={count} must be 16 to {size**2}, the pixels of a field of {size} px."
    )
  edges = np.arange(cells + 1) * size // cells
  random = np.random.default_rng(seed)
  first = np.stack(np.meshgrid(edges[:-1], edges[:-1], indexing="ij"), -1).reshape(-1, 2)
  last = np.stack(np.meshgrid(edges[1:], edges[1:], indexing="ij"), -1).reshape(-1, 2)
  return routes.serpentine(random.integers(first, last), (size, size))


class Measured(NamedTuple):
  """The measurements of a calibration."""

  dark: np.ndarray | None  # intensities while the beam was blanked; None if it cannot be known
  survey: Survey


def measure(scope: microscope.Microscope, size: int, count: int, stop: stop_lib.Stop) -> Measured:
  """Reads the detector with the beam blanked, and at few positions; parks the beam.

  Args:
    scope: the microscope.
    size: side of its field, px.
    count: number of positions.
    stop: ends the measurement when it is requested.

  Raises:
    MicroscopeError: if anything fails, or a limit of the dose is reached.
    stop.NotBegunError: if it was stopped.
  """
  pixels = positions(size, count)
  beam = field_beam.FieldBeam(scope, stop=stop)
  try:
    stop.check()
    dark = scope.dark(_DARK)
    beam.submit(pixels)
    values = beam.collect()
    if beam.failure:
      raise beam.failure
    if len(values) < len(pixels):
      raise stop_lib.NotBegunError(
        f"the calibration was stopped by {stop.reason}: nothing is written."
      )
    scope.park()
  except BaseException:
    microscope.secure(scope)
    raise
  for what in (values, dark):
    if what is not None and not np.isfinite(what).all():
      raise microscope.MicroscopeError("intensities are NaN or infinite: look at the detector.")
  return Measured(dark, Survey(pixels + 0.5, values, size))


def black_and_white(measured: Measured) -> tuple[float, float, dict[str, Any]]:
  """Returns black and white, in the detector's units, and what is known of them.

  Black is the mean intensity while the beam is blanked or, if that is not known, a low quantile of
  the survey; white is a high quantile of the survey.

  Raises:
    CalibrationError: if there is no contrast.
  """
  values, dark = measured.survey.intensities, measured.dark
  darkest, white = (float(np.quantile(values, share)) for share in (1 - _WHITE, _WHITE))
  black = darkest if dark is None else float(np.mean(dark))
  if not black < white:
    raise CalibrationError(
      f"the detector reads {black:g} "
      + ("where it is darkest" if dark is None else "while the beam is blanked")
      + f" and {white:g} where it is brightest: is the beam on, and the detector in? Focus, go to "
      "a place where there is something to see, and see to it that brighter is more."
    )
  highest = float(np.mean(values == values.max()))
  about: dict[str, Any] = {
    "black_from": "the darkest of the survey" if dark is None else "the detector, beam blanked",
    "black_sd": None if dark is None else float(np.std(dark)),
    "darkest": darkest,
    "brightest": float(values.max()),
    "warning": None,
  }
  if highest > _SATURATED:
    about["warning"] = (
      f"{highest:.1%} of the positions read {values.max():g}, the highest of all: if that is where "
      "the detector saturates, lower its gain and calibrate again."
    )
  return black, white, about
