"""Fixed scan paths to compare with: the probing positions of each, in order of time.

Spirals start at the centre. Every path has the scan's number of probing positions and,
where it is contiguous, about its spacing (METHOD section 9).
"""

import dataclasses
import math

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import geometry

# paths that are the same for every specimen
KINDS = ("spiral", "spiral_polygon", "wide_spiral", "zigzag", "raster", "grid")
PITCHES = (10.0, 11.0, 12.0, 12.8, 14.0, 15.0, 16.3, 18.0)  # px between the turns of a spiral


def spiral(scan: config.ScanGeometry, pitch: float = 12.8) -> np.ndarray:
  """Returns an Archimedean spiral of probing positions [T * n, 2] px, `spacing` px apart along it.

  Args:
    scan: number and spacing of probing positions.
    pitch: distance of neighbouring turns, px.
  """
  count, growth = scan.segments * scan.probes, pitch / (2 * math.pi)
  angles = np.zeros(count)
  # Newton's method on the arc length, growth / 2 (a sqrt(1 + a^2) + asinh a).
  for i in range(1, count):
    angle = angles[i - 1] + scan.spacing / (growth * math.hypot(1.0, angles[i - 1]))
    for _ in range(4):
      excess = growth / 2 * (angle * math.hypot(1.0, angle) + math.asinh(angle)) - i * scan.spacing
      angle -= excess / (growth * math.hypot(1.0, angle))
    angles[i] = angle
  polar = angles + geometry.FIRST_ANGLE
  offsets = growth * angles[:, None] * np.stack([np.cos(polar), np.sin(polar)], -1)
  return (geometry.start_position(scan) + offsets).astype(np.float32)


def wide_spiral(scan: config.ScanGeometry) -> np.ndarray:
  """Returns an Archimedean spiral [T * n, 2] px that spreads over the area of the image.

  The distance of its probing positions is that of its turns: the spiral of equal dose for a beam
  that may step further than `spacing`.
  """
  distance = scan.image_size / math.sqrt(scan.segments * scan.probes)
  return spiral(dataclasses.replace(scan, spacing=distance), distance)


def spiral_polygon(scan: config.ScanGeometry, pitch: float = 12.8) -> np.ndarray:
  """Returns the angles [T] rad of a spiral of straight segments: what an actor could imitate.

  Each chord's ends lie on an Archimedean spiral; the first runs along the diagonal,
  as every adaptive scan does (the paper's Fixed 1).

  Args:
    scan: number, length and spacing of segments.
    pitch: distance of neighbouring turns, px.
  """
  length, growth = scan.probes * scan.spacing, pitch / (2 * math.pi)
  parameters = [length / growth]  # of the spiral, at the first chord's end
  for _ in range(scan.segments - 1):
    parameters.append(_chord_end(parameters[-1], length / growth))
  polar = np.array(parameters) - parameters[0] + geometry.FIRST_ANGLE
  ends = growth * np.array(parameters)[:, None] * np.stack([np.cos(polar), np.sin(polar)], -1)
  moves = np.diff(np.concatenate([np.zeros([1, 2]), ends]), axis=0)
  return np.arctan2(moves[:, 1], moves[:, 0]).astype(np.float32)


def raster(scan: config.ScanGeometry) -> np.ndarray:
  """Returns evenly spaced raster lines [T * n, 2] px, each scanned from left to right.

  Their number leaves neighbours on a line about `spacing` apart.
  """
  return lattice(scan, max(1, round(scan.segments * scan.probes * scan.spacing / scan.image_size)))


def grid(scan: config.ScanGeometry) -> np.ndarray:
  """Returns a uniform grid [T * n, 2] px: 20 x 20 at the defaults (see `lattice`), row by row."""
  return lattice(scan, grid_rows(scan))


def grid_rows(scan: config.ScanGeometry) -> int:
  """Returns the number of rows of the grid whose cells are closest to squares."""
  return max(1, round(math.sqrt(scan.segments * scan.probes)))


def lattice(scan: config.ScanGeometry, rows: int) -> np.ndarray:
  """Returns exactly T * n positions [T * n, 2] px in the centres of the cells of a lattice.

  If the number of rows does not divide them, some rows have one position more than others; these
  rows are evenly spread. The positions of a row are evenly spaced.

  Args:
    scan: number of probing positions.
    rows: of the lattice.
  """
  corners, sizes = cells(scan, rows)
  return (corners + sizes / 2).astype(np.float32)


def cells(scan: config.ScanGeometry, rows: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the corners and sizes of a lattice's cells, both [T * n, 2] px.

  Each cell holds one probing position (see `lattice`).
  """
  count, size = scan.segments * scan.probes, scan.image_size
  ends = np.arange(1, rows + 1) * count // rows
  corners, sizes = [], []
  for row, columns in enumerate(np.diff(ends, prepend=0)):
    width = size / columns
    corners.append(np.stack([np.full(columns, row * size / rows), np.arange(columns) * width], -1))
    sizes.append(np.tile([size / rows, width], [columns, 1]))
  return np.concatenate(corners), np.concatenate(sizes)


def positions_of(kind: str, scan: config.ScanGeometry, pitch: float) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of a path of `KINDS`.

  Args:
    kind: of `KINDS`.
    scan: number and spacing of probing positions.
    pitch: distance of neighbouring turns of spirals, px; other paths ignore it.
  """
  if kind == "spiral":
    return spiral(scan, pitch)
  if kind == "spiral_polygon":
    return polygon_positions(spiral_polygon(scan, pitch), scan)
  return {"wide_spiral": wide_spiral, "zigzag": zigzag, "raster": raster, "grid": grid}[kind](scan)


def polygon_positions(angles: np.ndarray, scan: config.ScanGeometry) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of straight segments at `angles` [T] rad."""
  moves = scan.spacing * np.stack([np.cos(angles), np.sin(angles)], -1)
  starts = geometry.start_position(scan) + scan.probes * np.concatenate(
    [np.zeros([1, 2]), np.cumsum(moves, 0)[:-1]]
  )
  steps = np.arange(scan.probes)[None, :, None] * moves[:, None, :]
  return (starts[:, None, :] + steps).reshape(-1, 2).astype(np.float32)


def zigzag_corners(scan: config.ScanGeometry) -> np.ndarray:
  """Returns the corners [T + 1, 2] px of T straight lines from side to side, down the whole image.

  Along the lines, probing positions are then about as far apart as the lines are: nearly a grid,
  visited without lifting the beam.
  """
  margin = scan.image_size / (2 * scan.segments)  # half the distance of two lines
  rows = np.linspace(margin, scan.image_size - margin, scan.segments + 1)
  columns = np.where(np.arange(len(rows)) % 2 == 0, margin, scan.image_size - margin)
  return np.stack([rows, columns], -1).astype(np.float32)


def zigzag(scan: config.ScanGeometry) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of the zigzag."""
  return polyline(zigzag_corners(scan), scan)


def polyline(vertices: np.ndarray, scan: config.ScanGeometry) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of straight segments between vertices [T + 1, 2]
  px.
  """
  shares = np.arange(scan.probes)[None, :, None] / scan.probes
  steps = np.diff(vertices, axis=0)[:, None]
  return (vertices[:-1, None] + shares * steps).reshape(-1, 2).astype(np.float32)


def _chord_end(start: float, chord: float) -> float:
  """Returns the spiral parameter a > start with |a e^{ia} - start e^{i start}| = chord, by
  bisection.
  """

  def distance(a):
    """Returns the length of the chord from `start` to parameter a."""
    return math.sqrt(a * a + start * start - 2 * a * start * math.cos(a - start))

  low, high = start, start + min(math.pi, chord / start * 1.5 + 0.1)
  while distance(high) < chord:
    high += 0.1
  for _ in range(60):
    middle = (low + high) / 2
    low, high = (middle, high) if distance(middle) < chord else (low, middle)
  return high
