"""A digital twin: a micrograph that is scanned as if by a microscope with faults."""

import dataclasses
from typing import NoReturn

import numpy as np

from adaptive_stem_tf import microscope_config
from adaptive_stem_tf.scan import distortion
from adaptive_stem_tf.serving.live import microscope

_LOOK_US = 1e4  # time between checks whether it was withdrawn


@dataclasses.dataclass(frozen=True)
class Faults:
  """Faults of a microscope; by default there are none.

  Raises:
    ValueError: if values are out of range.
  """

  dwell: float = 10.0  # us at each probing position
  # electrons per probing position where the specimen is white; 0 for no shot noise
  dose: float = 0.0
  jitter: float = 0.0  # px, standard deviation of each position, per axis
  # lag, drift and all else that displaces the beam
  system: microscope_config.ScanSystem = microscope_config.ScanSystem()
  seed: int = 0  # of noise and jitter

  def __post_init__(self):
    for name in ("dwell", "dose", "jitter"):
      value = getattr(self, name)
      if not (np.isfinite(value) and (value > 0 if name == "dwell" else value >= 0)):
        raise ValueError(
          f"{name}={value:g} is out of range: it must be "
          f"{'above 0' if name == 'dwell' else 'at least 0'} and finite."
        )


class DigitalTwin(microscope.Microscope):
  """Scans an image.

  Intensities are the image's, in its own units. Dose noise draws N ~ Poisson(N_e (x + 1) / 2)
  electrons where x in [-1, 1] is the specimen scaled by its minimum and maximum (METHOD section 9).
  The beam's place is the commanded position after the scan system's distortion (`scan.distortion`;
  time counts from when the twin is made) and jitter. A place reads the pixel that holds it, and one
  outside the image the border, as in training.
  """

  def __init__(
    self, image: np.ndarray, faults: Faults = Faults(), clock: microscope.Clock | None = None
  ):
    """Makes the twin of an image [S, S] of finite intensities.

    Raises:
      ValueError: if the image is not square or not finite.
    """
    if image.ndim != 2 or image.shape[0] != image.shape[1]:
      raise ValueError(
        f"an image of shape {list(image.shape)} was given: a digital twin scans a square one, [S, "
        "S]."
      )
    if not np.isfinite(image).all():
      raise ValueError(
        "the image has pixels that are NaN or infinite: choose another part of the micrograph."
      )
    self.image, self.faults, self.dwell = np.asarray(image, np.float64), faults, faults.dwell
    self.clock = clock or microscope.SimulatedClock()
    self.low, self.high = float(self.image.min()), float(self.image.max())
    self.blanked, self.closed = True, False
    self._jitter, self._shots = (
      np.random.default_rng([faults.seed, purpose]) for purpose in range(2)
    )
    self._free = self.clock.now()  # time from which the queue is empty
    self._scanning = distortion.start(
      faults.system, np.full([1, 2], image.shape[0] / 2), image.shape[0]
    )
    self._resting: np.ndarray | None = None  # [1, 2] px, where the beam is parked
    self._finished: list[tuple[np.ndarray, float]] = []

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n] at positions [n, 2] px."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Scans a segment, from now or from the end of the one before; `collect` waits for its end."""
    if self.closed:
      raise microscope.MicroscopeError(
        "the digital twin is closed: no more segments can be scanned."
      )
    began = max(self.clock.now(), self._free)
    waited = distortion.rest(self.faults.system, self._scanning, began - self._free, self._resting)
    path = np.clip(microscope.finite(positions), 0.0, len(self.image) - 1.0)
    places, self._scanning = distortion.move(self.faults.system, waited, path[None], self.dwell)
    self._free = began + len(path) * self.dwell
    self._resting, self.blanked = None, False
    self.lit += len(path) * self.dwell
    self._finished.append(
      (
        self._detect(places[0] + self._jitter.normal(0.0, self.faults.jitter, path.shape)),
        self._free,
      )
    )

  def collect(self) -> np.ndarray:
    """Returns the intensities [n] of the oldest segment submitted, once it is measured."""
    if self.withdrawn and not self._finished:
      raise microscope.WithdrawnError()
    intensities, end = self._finished[0]
    while not self.withdrawn and self.clock.now() < end:
      self.clock.wait_until(min(end, self.clock.now() + _LOOK_US))
    if self.clock.now() < end:
      self._cut()
    self._finished.pop(0)
    self.blanked = not self._finished
    return intensities

  def _cut(self) -> NoReturn:
    """Ends the segment under way, and those behind it, where the beam is."""
    now, oldest = self.clock.now(), self._finished[0][0]
    dwelt = [(now - end) / self.dwell + len(values) for values, end in self._finished]
    self.lit -= sum(
      self.dwell * (len(values) - np.clip(np.ceil(count), 0, len(values)))
      for (values, _), count in zip(self._finished, dwelt)
    )
    self._finished.clear()
    self._free, self.blanked = now, True
    raise microscope.WithdrawnError(oldest[: max(0, int(dwelt[0]))])

  def dark(self, count: int) -> np.ndarray:
    """Returns intensities without electrons: the image's lowest."""
    self.clock.wait_until(self.clock.now() + count * self.dwell)
    return np.full(count, self.low)

  def blank(self) -> None:
    """Blanks the beam."""
    self.blanked = True

  def park(self) -> None:
    """Blanks the beam and moves it to the corner."""
    self.blanked, self._resting = True, np.zeros([1, 2])

  def close(self) -> None:
    """Parks the beam."""
    self.park()
    self.closed = True

  def _detect(self, places):
    pixels = np.floor(np.clip(places, 0.0, len(self.image) - 1.0)).astype(int)
    values = self.image[pixels[:, 0], pixels[:, 1]]
    if not self.faults.dose or self.high == self.low:
      return values
    share = (values - self.low) / (self.high - self.low)
    counts = self._shots.poisson(self.faults.dose * share)
    return self.low + (self.high - self.low) * counts / self.faults.dose
