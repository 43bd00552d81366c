"""Orientation of a microscope's scan, mirrored or turned, against pictures by its own software.

Positions (row, column) are px. To look like the reference, a scan is first mirrored left and right,
if it is mirrored, and then turned counterclockwise.
"""

import dataclasses
import math

import numpy as np

from adaptive_stem_tf.serving.live import microscope

_EXACT = 12  # digits: quarter turns map px onto px exactly
# px: a position on the border of two px belongs to the later one, also in the scan.
_INSIDE = 1e-6


@dataclasses.dataclass(frozen=True)
class Orientation:
  """A mirror image, and a turn.

  Raises:
    ValueError: for an angle that is not finite.
  """

  mirrored: bool = False
  rotation_deg: float = 0.0  # counterclockwise

  def __post_init__(self):
    if not math.isfinite(self.rotation_deg):
      raise ValueError(f"rotation_deg={self.rotation_deg} is no angle: give degrees.")

  def __bool__(self) -> bool:
    return self.mirrored or self.rotation_deg % 360 != 0

  def __str__(self) -> str:
    turned = (
      f"turned by {self.rotation_deg:.1f} degrees" if self.rotation_deg % 360 else "not turned"
    )
    return f"{'mirrored' if self.mirrored else 'not mirrored'}, {turned}"

  @property
  def matrix(self) -> np.ndarray:
    """[2, 2], maps offsets from the centre of a scan to offsets from the reference's centre."""
    angle = math.radians(self.rotation_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.round(turn, _EXACT) @ np.diag([1.0, -1.0 if self.mirrored else 1.0])

  def room(self, size: int) -> int:
    """Returns the side of the scan's square, px, that holds a turned field of `size` px."""
    side = size * np.abs(self.matrix[0]).sum()
    return math.ceil(round(side, 6))

  def to_scan(self, positions: np.ndarray, size: int) -> np.ndarray:
    """Maps positions [n, 2] of a field of `size` px, as the reference shows it, to positions of the
    scan, [n, 2] in a square of `room(size)` px.
    """
    # Row vectors times the matrix are its inverse, the transpose, times columns.
    return (positions + _INSIDE - size / 2) @ self.matrix + self.room(size) / 2

  def view(self, image: np.ndarray, size: int) -> np.ndarray:
    """Returns the field [size, size] as a raster scan reads it, from the scan's square."""
    middles = np.stack(np.meshgrid(*2 * [np.arange(size) + 0.5], indexing="ij"), -1)
    pixels = np.floor(self.to_scan(middles.reshape(-1, 2), size)).astype(int)
    rows, columns = np.clip(pixels, 0, len(image) - 1).T
    return image[rows, columns].reshape(size, size)


class Oriented(microscope.Microscope):
  """A microscope that is given positions as the reference shows them.

  Args:
    scope: the microscope, whose field has `orientation.room(size)` px.
    orientation: of its scan.
    size: side of the field, px.

  Attributes:
    scope: the microscope.
  """

  def __init__(self, scope: microscope.Microscope, orientation: Orientation, size: int):
    self.scope, self._orientation, self._size = scope, orientation, size
    self.clock, self.dwell, self.lit = scope.clock, scope.dwell, scope.lit

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures, as `submit` and `collect`."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Queues a segment."""
    self.scope.submit(self._orientation.to_scan(microscope.finite(positions), self._size))
    self.lit = self.scope.lit

  def collect(self) -> np.ndarray:
    """Returns the intensities of the oldest segment."""
    try:
      return self.scope.collect()
    finally:
      self.lit = self.scope.lit  # some microscopes know it only now

  def dark(self, count: int) -> np.ndarray | None:
    """Returns intensities while the beam is blanked."""
    return self.scope.dark(count)

  def blank(self) -> None:
    """Blanks the beam."""
    self.scope.blank()

  def park(self) -> None:
    """Parks the beam."""
    self.scope.park()

  def withdraw(self) -> None:
    """Requests that the beam be blanked at once."""
    super().withdraw()
    self.scope.withdraw()

  def close(self) -> None:
    """Closes the microscope."""
    self.scope.close()
