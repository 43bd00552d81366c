"""The file of a micrograph that is scanned, and what its flags mean."""

from __future__ import annotations

from collections.abc import Sequence

from adaptive_stem_tf.serving import subject as subject_lib


def read(
  file: str, frame: int, binning: int, pixel_size_nm: float | None, rows: int | None = None
) -> subject_lib.Subject:
  """Reads, bins and mends a micrograph as `subject.of_file`, and prints what was done to it."""
  subject = subject_lib.of_file(file, frame, binning, pixel_size_nm, rows)
  for note in subject.notes:
    print(f"{file}: {note}")
  return subject


def window(texts: Sequence[str] | None) -> tuple[int, int] | None:
  """Returns the first row and column that --window gives; None for the centre.

  Raises:
    ValueError: if it is no place.
  """
  if not texts:
    return None
  try:
    row, column = map(int, texts)
  except ValueError:
    raise ValueError(
      f"window={','.join(texts)} is no place: give its first row and column, such as 120,64."
    ) from None
  return row, column
