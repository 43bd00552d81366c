"""How long a scan takes: measuring, moving, settling and flying back."""

import numpy as np

from adaptive_stem_tf import config, microscope_config

_JUMP = 1.5  # spacings; the beam does not measure along longer moves


def travel_time(
  positions: np.ndarray, scan: config.ScanGeometry, beam: microscope_config.Beam
) -> float:
  """Returns the time of a scan in us.

  Every probing position takes the dwell time. A beam that moves on by about the scan's spacing
  sweeps while it measures; this takes longer than the dwell only if the beam cannot move so fast.
  A longer move is a jump: the beam travels at its greatest speed, then settles. In a scan that is
  contiguous apart from its jumps, these are the returns of raster lines, and take the flyback time
  instead.

  Args:
    positions: [N, 2] px, in order of time.
    scan: its spacing.
    beam: speeds and delays.
  """
  moves = np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=1)
  jumps = moves > _JUMP * scan.spacing
  swept = np.maximum(moves[~jumps] / beam.beam_speed - beam.dwell_us, 0.0).sum()
  if is_contiguous(positions, scan):
    jumped = jumps.sum() * beam.flyback_us
  else:
    jumped = moves[jumps].sum() / beam.beam_speed + jumps.sum() * beam.settling_us
  return float(len(positions) * beam.dwell_us + swept + jumped)


def is_contiguous(positions: np.ndarray, scan: config.ScanGeometry) -> bool:
  """Returns whether most moves between probing positions [N, 2] px are about one spacing long."""
  moves = np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=1)
  return bool(len(moves) and np.median(moves) <= _JUMP * scan.spacing)
