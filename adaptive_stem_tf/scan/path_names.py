"""Makes the path that a configuration names."""

from typing import Any

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import drawn_paths, paths

MIXED = "mixed"
FROM_ACTOR = "mixed:"  # before the workdir of a trained actor whose scans are mixed in
_DRAWN = {
  "farthest_points": drawn_paths.FarthestPoints,
  "jittered_grid": drawn_paths.JitteredGrid,
  "random_points": drawn_paths.RandomPoints,
}
# paths that differ from scan to scan, and need no file
MOVING = ("adaptive", "random_walk", *_DRAWN, MIXED)


def make_path(scan: config.ScanGeometry, actor: Any, positions: np.ndarray | None) -> paths.Path:
  """Returns the path that `scan.path` names.

  Args:
    scan: the geometry.
    actor: decides, if the path is adaptive.
    positions: [T * n, 2] px of a fixed path, or [K, T * n, 2] of an actor's scans that are mixed
      in; else None.

  Raises:
    ValueError: if a fixed path comes without positions, or with too many or too few.
  """
  if scan.path == "adaptive":
    return paths.Adaptive(actor, scan)
  if scan.path == "random_walk":
    return paths.RandomWalk(scan)
  if scan.path in _DRAWN:
    return _DRAWN[scan.path](scan)
  if scan.path == MIXED:
    return drawn_paths.Mixed(scan)
  if positions is None:
    raise ValueError(f"path={scan.path!r} is a fixed path: its probing positions have to be given.")
  return (
    drawn_paths.Mixed(scan, positions)
    if scan.path.startswith(FROM_ACTOR)
    else paths.Fixed(positions, scan)
  )
