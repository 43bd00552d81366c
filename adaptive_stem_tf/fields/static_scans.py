"""Static scans of whole fields: positions that depend on no measurement, exactly N of them.

Points (farthest points, grids, low-discrepancy) are N by construction. Lines (spiral, raster,
zigzag) are as sparse as they can be with at least N distinct pixels; the few in excess are left
out, evenly along the line.
"""

from collections.abc import Callable

import numpy as np

from adaptive_stem_tf.fields import placement, routes

_PLASTIC = 1.32471795724474602596  # root of x^3 = x + 1: R2 sequence (Roberts 2018)
_STEPS = 40  # of bisections
_SEED = 1229  # keeps these streams of random numbers apart from others of the same seeds


def positions(name: str, shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
  """Returns the positions of a static scan, none twice, in order of time.

  Args:
    name: of `SCANS`.
    shape: (H, W) of the field, px.
    count: N, number of positions; at most half of the pixels.
    seed: shifts the pattern.

  Returns:
    [N, 2] int, rows and columns of pixels.

  Raises:
    ValueError: if the name is unknown or the count does not fit.
  """
  if name not in SCANS:
    raise ValueError(f"scan={name} is unknown: choose among {', '.join(SCANS)}.")
  pixels = shape[0] * shape[1]
  if not 0 < count <= pixels // 2:
    raise ValueError(
      f"{count} positions in a field of {shape[0]} x {shape[1]} px: static scans have 1 to "
      f"{pixels // 2}, half of its pixels."
    )
  return SCANS[name](shape, count, np.random.default_rng([_SEED, seed]))


def contiguous(name: str, shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
  """Returns a static scan whose beam is on while it moves; arguments and result as of `positions`.

  Lines are contiguous already; between points, every pixel on the way counts.
  """
  stops = lambda n: positions(name, shape, n, seed)
  if name in LINES:
    return stops(count)
  return routes.contiguous(stops, count, np.zeros(shape, bool))


def offset(seed: int) -> np.ndarray:
  """Returns the pixel of the tile of ranks that lies at a field's origin, [2] int32."""
  return np.random.default_rng([_SEED, seed]).integers(placement.TILE, size=2).astype(np.int32)


def farthest_points(shape, count, random):
  """Returns the pixels of lowest rank: even positions, like those of a survey."""
  start = random.integers(placement.TILE, size=2).astype(np.int32)
  return routes.serpentine(placement.even(shape, count, start), shape)


def uniform_grid(shape, count, random):
  """Returns a grid at a random phase; rows differ by one position at most."""
  phase = random.random(2)
  rows, counts = _rows(shape, count)
  at = [
    np.stack([np.full(n, (i + phase[0]) * shape[0] / rows), _spread(n, phase[1]) * shape[1]], -1)
    for i, n in enumerate(counts)
  ]
  return routes.serpentine(np.concatenate(at).astype(int), shape)


def jittered_grid(shape, count, random):
  """Returns a random pixel of each cell of the uniform grid."""
  rows, counts = _rows(shape, count)
  at = []
  for i, n in enumerate(counts):
    low, high = i * shape[0] // rows, (i + 1) * shape[0] // rows
    edges = np.arange(n + 1) * shape[1] // n
    at.append(np.stack([random.integers(low, high, n), random.integers(edges[:-1], edges[1:])], -1))
  return routes.serpentine(np.concatenate(at), shape)


def low_discrepancy(shape, count, random):
  """Returns the first distinct pixels of the R2 sequence, shifted at random."""
  start, length = random.random(2), count
  while True:  # a longer sequence, until enough of its pixels are distinct
    steps = np.arange(1, length + 1)[:, None] * np.array([1 / _PLASTIC, 1 / _PLASTIC**2])
    at = _distinct(((start + steps) % 1.0 * shape).astype(int), shape)
    if len(at) >= count:
      return routes.serpentine(at[:count], shape)
    length = length * 5 // 4 + 16


def spiral(shape, count, random):
  """Returns an Archimedean spiral from near the centre to the corners, at a random angle."""
  turn, centre = 2 * np.pi * random.random(), np.array(shape) / 2
  corner = np.hypot(*shape) / 2

  def at(pitch):
    """Returns pixels [N, 2] along a spiral whose turns are `pitch` px apart."""
    # Equal steps along the line: the radius grows with the root of its length.
    radius = np.sqrt(np.arange(0.0, corner**2, 1.4 * pitch / (2 * np.pi)))
    angle = 2 * np.pi * radius / pitch + turn
    line = centre + radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    inside = ((line >= 0) & (line < shape)).all(1)
    return _distinct(line[inside].astype(int), shape)

  return _thinned(at(_sparsest(at, count, 0.5, 2 * corner)), count)


def raster(shape, count, random):
  """Returns full lines at even distances, at a random phase, each from left to right."""
  phase, lines = random.random(), -(-count // shape[1])
  rows = ((np.arange(lines) + phase) * shape[0] / lines).astype(int)
  at = np.stack(np.meshgrid(rows, np.arange(shape[1]), indexing="ij"), -1).reshape(-1, 2)
  return _thinned(at, count)


def zigzag(shape, count, random):
  """Returns diagonals to and fro in bands of rows, at a random phase."""
  phase = random.random()

  def at(bands):
    """Returns pixels [N, 2] along diagonals in a number of bands."""
    height = shape[0] / bands
    columns = np.arange(0, shape[1], 0.5)
    # A triangle wave of slope 1: one pixel for each column that it passes.
    wave = np.abs((columns / height + 2 * phase) % 2.0 - 1.0) * (height - 1e-3)
    line = np.stack([wave, columns], -1)
    parts = [(line[::-1] if b % 2 else line) + [b * height, 0] for b in range(bands)]
    return _distinct(np.concatenate(parts).astype(int), shape)

  bands = -(-count // shape[1])
  while len(at(bands)) < count:
    bands += 1
  return _thinned(at(bands), count)


SCANS: dict[str, Callable[..., np.ndarray]] = {
  "farthest_points": farthest_points,
  "jittered_grid": jittered_grid,
  "uniform_grid": uniform_grid,
  "low_discrepancy": low_discrepancy,
  "zigzag": zigzag,
  "spiral": spiral,
  "raster": raster,
}


LINES = ("zigzag", "spiral", "raster")


def _rows(shape, count):
  """Returns the number of rows of a grid of about square cells, and the positions of each."""
  rows = round(np.sqrt(count * shape[0] / shape[1]))
  rows = int(np.clip(rows, max(1, -(-count // shape[1])), min(shape[0], count)))
  return rows, np.diff(np.arange(rows + 1) * count // rows)


def _spread(count, phase):
  return (np.arange(count) + phase) / count


def _distinct(at, shape):
  """Returns pixels [N, 2] in the order of their first visit."""
  _, first = np.unique(at[:, 0] * shape[1] + at[:, 1], return_index=True)
  return at[np.sort(first)]


def _thinned(at, count):
  """Returns `count` of the positions, evenly along the line."""
  return at[np.arange(count) * len(at) // count]


def _sparsest(at, count, low, high):
  """Returns the greatest spacing at which there are enough positions."""
  for _ in range(_STEPS):
    middle = (low + high) / 2
    low, high = (middle, high) if len(at(middle)) >= count else (low, middle)
  return low
