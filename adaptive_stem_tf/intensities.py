"""Maps a detector's intensities to [-1, 1] and back when a model is deployed (METHOD decision 13).

In training each specimen spans [-1, 1]. A live scan never sees the minimum and maximum of the whole
image, so it maps a known range (a black and a white calibration), or the range that it has
measured. What lies outside is shown to a model as it is, though none of its training crops had such
intensities: clipping it costs more (docs/LIVE.md).
"""

import dataclasses

import numpy as np

KINDS = ("image", "measured", "known")


def to_unit(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """Maps intensities [B, ...] linearly, low [B] to -1 and high [B] to 1; 0 where low and high are
  the same.

  What lies outside the range lies outside [-1, 1]: nothing is clipped.
  """
  low, high = (_beside(limit, values) for limit in (low, high))
  span = np.where(high > low, high - low, 1.0)
  return np.where(high > low, 2 * (values - low) / span - 1, 0.0).astype(np.float32)


def from_unit(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """Maps values [B, ...] back to intensities: the inverse of `to_unit`, and low where low and high
  are the same.
  """
  low, high = (_beside(limit, values) for limit in (low, high))
  return (low + (np.asarray(values, np.float64) + 1) / 2 * (high - low)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Normalisation:
  """Which range of intensities becomes [-1, 1].

  Raises:
    ValueError: if the kind is unknown, or a known range is not finite or empty.
  """

  kind: str = "image"  # image: each specimen's own; measured: what was measured; known: low to high
  low: float = 0.0
  high: float = 1.0

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(
        f"normalise={self.kind!r} is unknown: give image, measured, or LOW,HIGH such as 0,65535."
      )
    if self.kind == "known" and not (
      np.isfinite([self.low, self.high]).all() and self.low < self.high
    ):
      raise ValueError(
        f"normalise={self.low:g},{self.high:g} is no range: give black first, then white, such as "
        "0,65535."
      )

  @classmethod
  def parse(cls, text: str) -> "Normalisation":
    """Reads `image`, `measured` or `LOW,HIGH`.

    Raises:
      ValueError: if it is none of them.
    """
    if "," not in text:
      return cls(text)
    try:
      low, high = map(float, text.split(","))
    except ValueError:
      raise ValueError(
        f"normalise={text!r} is no range: give two numbers, LOW,HIGH such as 0,65535."
      ) from None
    return cls("known", low, high)

  def start(self, count: int, images: np.ndarray | None = None) -> "IntensityRange":
    """Returns the ranges that `count` scans begin with.

    Args:
      count: B, how many specimens are scanned.
      images: [B, ...], what they look like, if that is known; needed for their own ranges only.

    Raises:
      ValueError: if their own ranges are asked for and they are not known.
    """
    if self.kind == "known":
      return IntensityRange(np.full(count, self.low), np.full(count, self.high))
    if self.kind == "measured":
      return IntensityRange(np.full(count, np.inf), np.full(count, -np.inf))
    if images is None:
      raise ValueError(
        "normalise=image needs an image whose range is known before it is scanned: calibrate "
        "black and white (LOW,HIGH), or choose measured."
      )
    flat = images.reshape(count, -1).astype(np.float64)
    return IntensityRange(flat.min(1), flat.max(1))

  def __str__(self):
    return f"{self.low:g},{self.high:g}" if self.kind == "known" else self.kind


class IntensityRange:
  """The intensities low and high [B] that become -1 and 1.

  A range that is empty yet grows with the probes measured so far, and is frozen after the first
  segment whose probes differ.
  """

  def __init__(self, low: np.ndarray, high: np.ndarray):
    self.low, self.high = low, high

  def update(self, observations: np.ndarray) -> None:
    """Takes in the intensities [B, n] of a segment where the range is not frozen yet."""
    open_ = ~(self.high > self.low)
    self.low = np.where(open_, np.minimum(self.low, observations.min(1)), self.low)
    self.high = np.where(open_, np.maximum(self.high, observations.max(1)), self.high)

  def to_unit(self, values: np.ndarray) -> np.ndarray:
    """Maps intensities [B, ...] as the function `to_unit`."""
    return to_unit(values, self.low, self.high)

  def from_unit(self, values: np.ndarray) -> np.ndarray:
    """Maps values [B, ...] back as the function `from_unit`."""
    return from_unit(values, self.low, self.high)


def _beside(limit, values):
  """Returns limits [B] in float64, shaped to be used with values [B, ...]."""
  return np.reshape(np.asarray(limit, np.float64), [-1] + [1] * (np.ndim(values) - 1))
