"""Fixed scan paths to compare with: the probing positions of each, in order of time.

Every path starts at the centre unless it says otherwise, has the scan's number of
probing positions and, where it is contiguous, its spacing (METHOD section 9).
"""

import math

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import geometry

PITCHES = (10.0, 11.0, 12.0, 12.8, 14.0, 15.0, 16.3, 18.0)  # px between the turns of a spiral


def spiral(scan: config.Scan, pitch: float = 12.8) -> np.ndarray:
  """Returns an Archimedean spiral of probing positions [T * n, 2] px, `spacing` px apart along it.

  Args:
    scan: number and spacing of probing positions.
    pitch: distance of neighbouring turns, px.
  """
  count, growth = scan.segments * scan.probes, pitch / (2 * math.pi)
  angles = np.zeros(count)
  for i in range(1, count):  # Newton's method on the arc length growth/2 (a sqrt(1+a^2) + asinh a)
    angle = angles[i - 1] + scan.spacing / (growth * math.hypot(1.0, angles[i - 1]))
    for _ in range(4):
      excess = growth / 2 * (angle * math.hypot(1.0, angle) + math.asinh(angle)) - i * scan.spacing
      angle -= excess / (growth * math.hypot(1.0, angle))
    angles[i] = angle
  turned = angles + geometry.FIRST_ANGLE
  offsets = growth * angles[:, None] * np.stack([np.cos(turned), np.sin(turned)], -1)
  return (geometry.start_position(scan) + offsets).astype(np.float32)


def spiral_polygon(scan: config.Scan, pitch: float = 12.8) -> np.ndarray:
  """Returns the angles [T] rad of a spiral of straight segments: what an actor could imitate.

  Each chord's ends lie on an Archimedean spiral; the first runs along the diagonal,
  as every adaptive scan does (the paper's Fixed 1).

  Args:
    scan: number, length and spacing of segments.
    pitch: distance of neighbouring turns, px.
  """
  length, growth = scan.probes * scan.spacing, pitch / (2 * math.pi)
  polar = [length / growth]  # spiral parameter at the first chord's end
  for _ in range(scan.segments - 1):
    polar.append(_chord_end(polar[-1], length / growth))
  turned = np.array(polar) - polar[0] + geometry.FIRST_ANGLE
  ends = growth * np.array(polar)[:, None] * np.stack([np.cos(turned), np.sin(turned)], -1)
  moves = np.diff(np.concatenate([np.zeros([1, 2]), ends]), axis=0)
  return np.arctan2(moves[:, 1], moves[:, 0]).astype(np.float32)


def polygon_positions(angles: np.ndarray, scan: config.Scan) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of straight segments at `angles` [T] rad."""
  moves = scan.spacing * np.stack([np.cos(angles), np.sin(angles)], -1)
  starts = geometry.start_position(scan) + scan.probes * np.concatenate([np.zeros([1, 2]), np.cumsum(moves, 0)[:-1]])
  steps = np.arange(scan.probes)[None, :, None] * moves[:, None, :]
  return (starts[:, None, :] + steps).reshape(-1, 2).astype(np.float32)


def zigzag_corners(scan: config.Scan) -> np.ndarray:
  """Returns the corners [T + 1, 2] px of T straight lines from side to side, down the whole image.

  Probing positions are then about as far apart along the lines as the lines are: nearly
  a grid, visited without lifting the beam.
  """
  margin = scan.image_size / (2 * scan.segments)  # half of what lies between two lines
  rows = np.linspace(margin, scan.image_size - margin, scan.segments + 1)
  columns = np.where(np.arange(len(rows)) % 2 == 0, margin, scan.image_size - margin)
  return np.stack([rows, columns], -1).astype(np.float32)


def polyline(vertices: np.ndarray, scan: config.Scan) -> np.ndarray:
  """Returns the probing positions [T * n, 2] px of straight segments between vertices [T + 1, 2] px."""
  shares = np.arange(scan.probes)[None, :, None] / scan.probes
  steps = np.diff(vertices, axis=0)[:, None]
  return (vertices[:-1, None] + shares * steps).reshape(-1, 2).astype(np.float32)


def _chord_end(start: float, chord: float) -> float:
  """Returns the spiral parameter a > start with |a e^{ia} - start e^{i start}| = chord, by bisection."""
  def distance(a):
    return math.sqrt(a * a + start * start - 2 * a * start * math.cos(a - start))
  low, high = start, start + min(math.pi, chord / start * 1.5 + 0.1)
  while distance(high) < chord:
    high += 0.1
  for _ in range(60):
    middle = (low + high) / 2
    low, high = (middle, high) if distance(middle) < chord else (low, middle)
  return high
