"""Finds the information bar that scanning electron microscopes write below their images."""

import numpy as np

_LEVELS = 64  # of intensity, that are told apart
_BLANK = 0.45  # share of a row's pixels of one level from which on it may be a bar's
_BACKGROUND = 0.8  # the same of most of a bar's rows: text covers little of it
_DEEPEST, _LEAST = 0.25, 0.02  # of the rows of an image, that a bar has
_TEXT = 0.5  # of the range of intensities, by which text differs from its background
_LETTERED = 0.1  # share of a bar's rows that have text
_EDGE = 3  # px, lines that frame a bar


def first_row(image: np.ndarray) -> int | None:
  """Returns the first row of what looks like an information bar; None if nothing does.

  A bar is of one level but for its text, and reaches from some row to the last one; above it, rows
  are not of one level. An empty part of a specimen has no text.

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
  """Returns what is to be said of an image [H, W]: where a bar begins, if there is one."""
  first = first_row(image)
  words = f"what looks like an information bar begins at row {first}: --rows={first} cuts it off"
  return () if first is None else (words,)
