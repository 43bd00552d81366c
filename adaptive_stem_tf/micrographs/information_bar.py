"""Finds the information bar that scanning electron microscopes write below their images."""

import numpy as np

_LEVELS = 64  # of intensity
_BLANK = 0.45  # a row of a bar has more than this share of its pixels at one level
_BACKGROUND = 0.8  # median of that share over a bar's rows at least: text covers little of it
_DEEPEST, _LEAST = 0.25, 0.02  # height of a bar at most and at least, share of the image's rows
_TEXT = 0.5  # text differs from its background by more than this share of the intensity range
_LETTERED = 0.1  # share of a bar's rows that have text, at least
_EDGE = 3  # px, lines that frame a bar


def first_row(image: np.ndarray) -> int | None:
  """Returns the first row of what looks like an information bar; None if nothing does.

  Apart from its text, a bar has one level of intensity. It reaches down to the last row, and the
  rows above it have many levels. An empty part of a specimen has one level, too, but no text.

  Args:
    image: [H, W], of at least 64 rows.
  """
  height = len(image)
  if height < 64:
    return None
  low, high = np.nanpercentile(image, (0.1, 99.9))
  if not high > low:
    return None
  levels = np.nan_to_num(np.clip((image - low) / (high - low), 0, 1))
  highest = round(height * (1 - _DEEPEST))
  rows = np.round((_LEVELS - 1) * levels[highest - 10 :]).astype(int)
  counts = [np.bincount(row) for row in rows]
  share = np.array([count.max() / image.shape[1] for count in counts])
  common = np.array([count.argmax() for count in counts]) / (_LEVELS - 1)
  lettered = (np.abs(levels[highest - 10 :] - common[:, None]) > _TEXT).any(1)
  last = len(share) - _EDGE  # the lowest rows may be a frame
  blank = share[:last] > _BLANK
  start = last - (int(np.argmin(blank[::-1])) if not blank.all() else last)
  bar = slice(start, last)
  if not 10 < start <= len(share) - max(2 * _EDGE, round(height * _LEAST)):
    return None
  above = np.median(share[start - 10 : start])
  if np.median(share[bar]) < _BACKGROUND or lettered[bar].mean() < _LETTERED or above > _BLANK:
    return None
  return highest - 10 + start - _EDGE


def notes(image: np.ndarray) -> tuple[str, ...]:
  """Returns a note that an image [H, W] has an information bar, and where; empty if it has none."""
  first = first_row(image)
  words = f"what looks like an information bar begins at row {first}: --rows={first} cuts it off"
  return () if first is None else (words,)
