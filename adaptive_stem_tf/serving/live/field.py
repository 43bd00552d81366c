"""Maps network pixels to a scan generator's codes, and holds every position inside the field of
view.
"""

import dataclasses

import numpy as np

from adaptive_stem_tf.serving.live import microscope

CODES = 1 << 14  # of each axis of an Open Beam Interface


@dataclasses.dataclass(frozen=True)
class Field:
  """A square field of view, of `size` px, on an instrument whose codes 0 to 16,383 span `full_nm`.

  Position x in [0, size] px is code centre + (x / size - 1/2) size codes_per_px, rounded, and never
  outside the codes from `first` to `last`.

  Raises:
    ValueError: if the field does not fit the instrument's range, or codes are coarser than pixels.
  """

  size: int  # px
  pixel_nm: float  # width of a px
  full_nm: float  # width that the whole range of codes covers, at the present magnification
  # of the field, from the centre of the range, (row, column)
  centre_nm: tuple[float, float] = (0.0, 0.0)

  def __post_init__(self):
    values = (self.pixel_nm, self.full_nm, *self.centre_nm)
    if not np.isfinite(values).all() or self.pixel_nm <= 0 or self.full_nm <= 0:
      raise ValueError(
        f"pixel_size_nm={self.pixel_nm:g} and full_field_nm={self.full_nm:g} must be above 0."
      )
    if self.codes_per_px < 1:
      raise ValueError(
        f"a pixel of {self.pixel_nm:g} nm is {self.codes_per_px:.3f} codes of a range of "
        f"{self.full_nm:g} nm: neighbouring pixels could not be told apart; magnify, or give a "
        "larger --pixel_size_nm."
      )
    if self.first.min() < 0 or self.last.max() >= CODES:
      raise ValueError(
        f"a field of {self.size} px of {self.pixel_nm:g} nm, {self.size * self.pixel_nm:g} nm "
        f"wide, centred at {self.centre_nm} nm, is not inside the range of {self.full_nm:g} nm: "
        "give a smaller --pixel_size_nm or another --field_centre_nm."
      )

  @property
  def codes_per_px(self) -> float:
    """Codes that a pixel spans."""
    return CODES * self.pixel_nm / self.full_nm

  @property
  def first(self) -> np.ndarray:
    """The least code of the field, (row, column)."""
    return np.ceil(self._centre() - self.size / 2 * self.codes_per_px).astype(int)

  @property
  def last(self) -> np.ndarray:
    """The greatest code of the field, (row, column)."""
    return np.ceil(self._centre() + self.size / 2 * self.codes_per_px).astype(int) - 1

  def codes(self, positions: np.ndarray) -> np.ndarray:
    """Maps positions [n, 2] px, (row, column), to codes [n, 2]; those outside the field go to its
    border.

    Raises:
      ValueError: for positions that are not finite.
    """
    inside = np.clip(microscope.finite(positions), 0.0, self.size)
    codes = np.rint(self._centre() + (inside - self.size / 2) * self.codes_per_px).astype(int)
    return np.clip(codes, self.first, self.last)

  def _centre(self):
    return CODES / 2 + np.asarray(self.centre_nm) / self.full_nm * CODES
