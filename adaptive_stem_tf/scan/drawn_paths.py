"""Paths whose probing positions are drawn anew for every specimen.

The partial image of a replayed scan needs the positions where it was measured. So the action of a
segment holds the numbers of its n pixels, instead of an angle: nothing is drawn a second time.
"""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.fields import placement
from adaptive_stem_tf.scan import baselines, environment, geometry, partial_scan, paths
from adaptive_stem_tf.types import Trajectory

_SEED_STRIDE = 2**40  # between seeds of one scan: they never meet those of other iterations


class _DrawnPath:
  """Base of these paths, which draw pixels [B, T * n] from a seed, as row * S + column, in order of
  time.
  """

  learns = False

  def __init__(self, scan: config.ScanGeometry):
    self._scan = scan
    self.action_size = scan.probes

  def pixels(self, batch: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws the pixels [B, T * n] int32 of a batch of scans from a seed [2]."""
    raise NotImplementedError

  def scan(
    self,
    specimens: tf.Tensor,
    noise: tf.Tensor | None,
    seed: tf.Tensor,
    read: environment.Reader = environment.read,
  ) -> Trajectory:
    """Scans at pixels drawn from `seed`; `noise` is not used."""
    del noise
    scan, batch = self._scan, specimens.shape[0] or tf.shape(specimens)[0]
    pixels = self.pixels(batch, seed)
    # float32 holds pixel numbers exactly up to 2^24
    actions = tf.reshape(tf.cast(pixels, tf.float32), [batch, scan.segments, scan.probes])
    positions = self.positions(actions)
    observations = read(specimens, positions)
    starts = tf.reshape(positions, [batch, scan.segments, scan.probes, 2])[:, :, 0]
    return Trajectory(
      tf.reshape(observations, [batch, scan.segments, scan.probes]), actions, starts
    )

  def positions(self, actions: tf.Tensor) -> tf.Tensor:
    """Returns the probing positions [B, T * n, 2] px, centres of pixels, from actions [B, T, n]."""
    pixels = tf.reshape(tf.cast(actions, tf.int32), [-1, self._scan.segments * self._scan.probes])
    size = self._scan.image_size
    return tf.cast(tf.stack([pixels // size, pixels % size], -1), tf.float32) + 0.5

  def draw(
    self, observations: tf.Tensor, actions: tf.Tensor, measured: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Draws recorded scans, or the first `measured` [B] segments of each, as partial scans [B, S,
    S, 2].
    """
    count = None if measured is None else measured * self._scan.probes
    return partial_scan.draw_at(observations, self.positions(actions), self._scan.image_size, count)


class _Distinct(_DrawnPath):
  """Different pixels, those of lowest rank in an order that is drawn, visited row by row."""

  name: str

  def __init__(self, scan: config.ScanGeometry):
    """Makes the path.

    Raises:
      ValueError: if there are more probing positions than pixels.
    """
    super().__init__(scan)
    if scan.coverage > 1:
      raise ValueError(
        f"path={self.name} has {scan.segments * scan.probes} different pixels and the specimen "
        f"{scan.image_size**2}: lower --segments or --probes."
      )

  def pixels(self, batch: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws the pixels [B, T * n] int32 of a batch of scans from a seed [2]."""
    count = self._scan.segments * self._scan.probes
    lowest = tf.math.top_k(-self._ranks(batch, seed), count, sorted=False)
    return tf.sort(lowest.indices, 1)

  def _ranks(self, batch, seed):
    """Returns ranks [B, S * S] of pixels."""
    raise NotImplementedError


class RandomPoints(_Distinct):
  """Different pixels at random, visited row by row."""

  name = "random_points"

  def _ranks(self, batch, seed):
    # Negated, so that a seed goes on meaning the scan that it did when the highest numbers were
    # taken.
    shape = [batch, self._scan.image_size**2]
    return -replicas.drawn(tf.random.stateless_uniform, shape, seed)


class FarthestPoints(_Distinct):
  """Each position where the distance to those before it is greatest, visited row by row.

  These are the even positions that scans of whole fields begin with (fields.placement), at a random
  phase.
  """

  name = "farthest_points"

  def _ranks(self, batch, seed):
    size = self._scan.image_size
    start = replicas.drawn(
      tf.random.stateless_uniform, [batch, 2], seed, 0, placement.TILE, tf.int32
    )
    return tf.reshape(placement.rank_map(size, size, start), [-1, size**2])


class JitteredGrid(_DrawnPath):
  """One position at random in every cell of the uniform grid, visited row by row."""

  def __init__(self, scan: config.ScanGeometry):
    super().__init__(scan)
    self._corners, self._sizes = (
      tf.constant(part, tf.float32) for part in baselines.cells(scan, baselines.grid_rows(scan))
    )

  def pixels(self, batch: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws the pixels [B, T * n] int32 of a batch of scans from a seed [2]."""
    uniform = replicas.drawn(tf.random.stateless_uniform, [batch, *self._corners.shape], seed)
    return geometry.pixel_index(self._corners + uniform * self._sizes, self._scan.image_size)


class Mixed(_DrawnPath):
  """A kind of scan that is drawn for every specimen, all equally likely: one generator for all of
  them trains on these.

  Spirals and polygon spirals of every pitch, wide spiral and zigzag, raster lines, uniform and
  jittered grids, farthest points, random points and random walks; and, if given, scans that an
  actor made.
  """

  def __init__(self, scan: config.ScanGeometry, actor_paths: np.ndarray | None = None):
    """Makes the path.

    Args:
      scan: the geometry.
      actor_paths: [K, T * n, 2] px, paths that an actor took, if these are mixed in.
    """
    super().__init__(scan)
    self._random = (RandomPoints(scan), JitteredGrid(scan), FarthestPoints(scan))
    self._walk = paths.RandomWalk(scan)
    families = [
      [baselines.positions_of(kind, scan, pitch) for pitch in baselines.PITCHES]
      for kind in ("spiral", "spiral_polygon")
    ]
    families += [
      [baselines.positions_of(kind, scan, 0.0)]
      for kind in ("wide_spiral", "zigzag", "raster", "grid")
    ]
    families += [list(actor_paths)] if actor_paths is not None else []
    positions = np.concatenate([np.stack(family) for family in families])
    self._fixed = geometry.pixel_index(tf.constant(positions, tf.float32), scan.image_size)
    self._counts = tf.constant([len(family) for family in families])

  @property
  def kinds(self) -> int:
    """Number of kinds of scans."""
    return len(self._counts) + len(self._random) + 1

  def pixels(self, batch: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws the pixels [B, T * n] int32 of a batch of scans from a seed [2]."""
    seeds = [seed + tf.constant([0, number * _SEED_STRIDE], tf.int64) for number in range(1, 7)]
    kind = replicas.drawn(
      tf.random.stateless_uniform, [batch, 1], seeds[0], 0, self.kinds, tf.int32
    )
    # Of each specimen: a member of its family, should its kind be a fixed path.
    fixed = len(self._counts)
    family = tf.minimum(kind[:, 0], fixed - 1)
    counts = tf.gather(self._counts, family)
    member = tf.cast(
      replicas.drawn(tf.random.stateless_uniform, [batch], seeds[1]) * tf.cast(counts, tf.float32),
      tf.int32,
    )
    row = tf.gather(tf.cumsum(self._counts, exclusive=True), family) + tf.minimum(
      member, counts - 1
    )
    chosen = tf.gather(self._fixed, row)
    # Every random kind is drawn for all specimens, and used for those that drew this kind.
    random = [path.pixels(batch, own) for path, own in zip(self._random, seeds[2:])]
    for number, pixels in enumerate([*random, self._walk_pixels(batch, seeds[-1])]):
      chosen = tf.where(kind == fixed + number, pixels, chosen)
    return chosen

  def _walk_pixels(self, batch, seed):
    size = self._scan.image_size
    actions = self._walk.scan(tf.zeros([batch, size, size, 1]), None, seed).actions
    return geometry.pixel_index(self._walk.positions(actions), size)
