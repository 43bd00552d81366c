"""Where a beam really stands: scan coils that lag behind, and specimens that drift (METHOD section 10).

Physics in NumPy, in physical units: positions (row, column) in px, times in us.
"""

import numpy as np
from scipy import signal


def settle(targets: np.ndarray, dwell: float, time_constant: float, start: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray]:
  """Returns where a beam stands whose coils are a first-order low-pass, tau dx/dt = target - x.

  Args:
    targets: [N, 2] px, commanded one after another.
    dwell: us at each of them.
    time_constant: tau, us; 0 for coils that follow at once.
    start: [2] px, where the beam stands at first.

  Returns:
    Mean positions during each dwell [N, 2], target + (x0 - target) tau / dwell (1 - e^(-dwell / tau)), and the
    position at the end [2]. Intensities are measured all through a dwell, so that its mean is what counts.
  """
  targets, start = np.asarray(targets, np.float64), np.asarray(start, np.float64)
  if not time_constant:
    return targets, targets[-1] if len(targets) else start
  kept = np.exp(-dwell / time_constant)
  ends, _ = signal.lfilter([1 - kept], [1, -kept], targets, axis=0, zi=kept * start[None])
  entering = np.concatenate([start[None], ends[:-1]])[: len(targets)]
  means = targets + (entering - targets) * (time_constant / dwell) * (1 - kept)
  return means, ends[-1] if len(targets) else start


def drifted(positions: np.ndarray, times: np.ndarray, velocity: np.ndarray) -> np.ndarray:
  """Returns which places of a specimen lie under positions [N, 2] px at times [N] us.

  Args:
    positions: of the beam.
    times: since the specimen was where its image shows it.
    velocity: [2] px/ms, of the specimen.
  """
  return positions - np.asarray(times)[:, None] * 1e-3 * np.asarray(velocity)


def pixels_per_ms(nm_per_s: np.ndarray, pixel_size_nm: float) -> np.ndarray:
  """Converts velocities from nm/s to px/ms."""
  return np.asarray(nm_per_s, np.float64) / pixel_size_nm * 1e-3
