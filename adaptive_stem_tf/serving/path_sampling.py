"""Whether a scan along a path was dense enough for what it measured (docs/LIVE.md).

Every other segment is left out, and a model completes the rest. Where structure is coarser than
segments are apart, the completion says what those left out measured; where it is finer, or hidden
in noise, it knows nothing of them, and what the completion of all shows there is invented.
"""

from collections.abc import Callable, Sequence

import numpy as np

WARNING = 0.7  # unforeseen share; docs/LIVE.md has what it catches
_FEWEST = 4  # segments that say something


def unforeseen(
  positions: np.ndarray,
  intensities: np.ndarray,
  probes: int,
  size: int,
  complete: Callable[[np.ndarray], np.ndarray],
) -> float | None:
  """Returns which share of what segments measured the others do not say.

  Args:
    positions: [N, 2] px, of whole segments in order of time.
    intensities: [N], as the model is shown them.
    probes: per segment.
    size: of the field, px.
    complete: completes a partial scan [S, S, 2]: returns [S, S].

  Returns:
    The mean square of the errors over the variance of the intensities; about 1 or more where the
    other segments say nothing. None where there are too few, or all measured the same.
  """
  segment = np.arange(len(positions)) // probes
  variance = float(np.var(intensities))
  if segment[-1] + 1 < _FEWEST or not variance > 0:
    return None
  rows, columns = np.floor(np.clip(positions, 0, size - 1)).astype(int).T
  squares = np.zeros(len(positions))
  for aside in (segment % 2 == 0, segment % 2 == 1):
    partial = np.zeros([size, size, 2], np.float32)
    seen = rows[~aside], columns[~aside]
    partial[seen] = np.stack([intensities[~aside], np.ones((~aside).sum())], -1)
    foreseen = complete(partial)[rows[aside], columns[aside]]
    squares[aside] = np.square(foreseen - intensities[aside])
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
    shares: of every window; NaN where nothing is known.
  """
  told = [warning(share) for share in shares if warning(share)]
  if not told or len(shares) == 1:
    return "".join(told)
  return f"{len(told)} of {len(shares)} tiles: {warning(max(filter(warning, shares)))}"
