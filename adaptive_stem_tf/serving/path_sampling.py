"""Whether a scan along a path was dense enough for the structure that it met (docs/LIVE.md).

Every other segment is left out, and a model completes the rest. If structure is coarser than the
distance of segments, the completion predicts the intensities of the segments that were left out. If
it is finer, or hidden in noise, the completion cannot predict them, and the details of the
completion from all segments are invented.
"""

from collections.abc import Callable, Sequence

import numpy as np

WARNING = 0.7  # unforeseen share from which users are warned; docs/LIVE.md says what it catches
_FEWEST = 4  # segments of a scan that is judged


def unforeseen(
  positions: np.ndarray,
  intensities: np.ndarray,
  probes: int,
  size: int,
  complete: Callable[[np.ndarray], np.ndarray],
) -> float | None:
  """Returns the share of the intensities' variance that other segments do not predict.

  Args:
    positions: [N, 2] px, of whole segments in order of time.
    intensities: [N], as the model sees them.
    probes: number of positions of a segment.
    size: side of the field, px.
    complete: completes a partial scan [S, S, 2]: returns [S, S].

  Returns:
    The mean square of the errors over the variance of the intensities; about 1 or more if the other
    segments predict nothing. None if there are too few segments, or all intensities are equal.
  """
  segment = np.arange(len(positions)) // probes
  variance = float(np.var(intensities))
  if segment[-1] + 1 < _FEWEST or not variance > 0:
    return None
  rows, columns = np.floor(np.clip(positions, 0, size - 1)).astype(int).T
  squares = np.zeros(len(positions))
  for aside in (segment % 2 == 0, segment % 2 == 1):
    partial = np.zeros([size, size, 2], np.float32)
    kept = rows[~aside], columns[~aside]
    partial[kept] = np.stack([intensities[~aside], np.ones((~aside).sum())], -1)
    predictions = complete(partial)[rows[aside], columns[aside]]
    squares[aside] = np.square(predictions - intensities[aside])
  return float(squares.mean()) / variance


def warning(share: float | None) -> str:
  """Returns a sentence if segments say little of each other, else ""."""
  if share is None or not share > WARNING:
    return ""
  return (
    f"segments of this scan say {max(0.0, 1 - share):.0%} of what their neighbours measured: "
    "structure is finer than they are apart, or hidden in noise. Details of the completion are "
    "invented; scan a smaller field, or one with more signal."
  )


def warning_of_windows(shares: Sequence[float]) -> str:
  """Returns a sentence if segments say little of each other in some windows, else "".

  Args:
    shares: of every window; NaN if it is not known.
  """
  warnings = [warning(share) for share in shares if warning(share)]
  if not warnings or len(shares) == 1:
    return "".join(warnings)
  return f"{len(warnings)} of {len(shares)} tiles: {warning(max(filter(warning, shares)))}"
