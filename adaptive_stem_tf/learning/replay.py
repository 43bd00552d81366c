"""Experience replay of scans (METHOD section 5).

An entry is the actions and observations of a scan and the specimen it came from, by
number and transform. No loss or recurrent state is stored: both are recomputed. Where a step
runs on several replicas, each keeps a copy of the same replay: entries are small, and so
checkpoints, samples and priorities do not depend on the number of replicas.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.types import Draw, ReplaySample, Trajectory

_CHUNK = 256  # specimens that are read at a time


class Seeds(NamedTuple):
  """Seeds [2] int64 of the replay's random choices at one iteration."""

  overwrite: tf.Tensor
  adding: tf.Tensor
  sampling: tf.Tensor


class Replay(snt.Module):
  """A fixed number of scans, sampled uniformly or by priority."""

  def __init__(
    self,
    settings: config.Replay,
    scan: config.ScanGeometry,
    action_size: int = 1,
    keeps_images: bool = False,
    name: str = "replay",
  ):
    """Makes an empty replay.

    Args:
      settings: how many scans it holds, and how they are drawn.
      scan: their geometry.
      action_size: A.
      keeps_images: whether to keep the specimen of each scan, which comes with its draw.
        Checkpoints do not hold them (`restore_images`).
      name: of the module.
    """
    super().__init__(name=name)
    self._settings = settings
    capacity = settings.capacity
    self.observations = _storage([capacity, scan.segments, scan.probes], tf.float32, "observations")
    self.actions = _storage([capacity, scan.segments, action_size], tf.float32, "actions")
    self.index = _storage([capacity], tf.int32, "index")
    self.transform = _storage([capacity], tf.int32, "transform")
    self.added = tf.Variable(0, trainable=False, dtype=tf.int64, name="added")
    side = scan.image_size
    images = _storage([capacity, side, side, 1], tf.float32, "images") if keeps_images else None
    self._images = lambda: images  # tf.Module looks for variables, and finds none in a function
    if settings.prioritised:
      self.priority = _storage([capacity], tf.float32, "priority")
      self.sampled = _storage([capacity], tf.bool, "sampled")

  @property
  def size(self) -> tf.Tensor:
    """Number of scans held, int32."""
    return tf.cast(tf.minimum(self.added, self._settings.capacity), tf.int32)

  def exchange(
    self,
    scan: Callable[[], Trajectory],
    draw: Draw,
    seeds: Seeds,
    probability: tf.Tensor,
    beta: tf.Tensor,
  ) -> ReplaySample:
    """Adds a batch of scans with some probability, then samples as many (see `sample`).

    Args:
      scan: makes a replica's share of the scans; not called where they would not be added.
      draw: the specimens of the whole batch.
      seeds: of this iteration.
      probability: that they are added.
      beta: exponent of importance weights, if prioritised.
    """
    batch, adding = draw.index.shape[0], self.adds(seeds, probability)
    mine = replicas.share_of(batch)
    shapes = [[mine, *storage.shape[1:]] for storage in (self.observations, self.actions)]
    shapes.append([mine, self.actions.shape[1], 2])
    nothing = Trajectory(*map(tf.zeros, shapes))
    scans = replicas.gather(tf.cond(adding, scan, lambda: nothing))
    self.add(scans, draw, seeds, adding)
    return replicas.share(self.sample(batch, seeds, beta))

  def adds(self, seeds: Seeds, probability: tf.Tensor) -> tf.Tensor:
    """Returns whether this iteration's scans are added: true with the given probability."""
    return tf.random.stateless_uniform([], seeds.adding) < probability

  def add(self, trajectory: Trajectory, draw: Draw, seeds: Seeds, adding: tf.Tensor) -> None:
    """Adds a batch of scans, all or none.

    Args:
      trajectory: the scans, B of them.
      draw: their specimens.
      seeds: of this iteration.
      adding: whether they are added (see `adds`); otherwise the replay stays as it is.
    """
    batch = trajectory.actions.shape[0]
    rows = self._rows(batch, seeds.overwrite)
    # Rows are always written, so that shapes are static: with their old values if none is added.
    self._write(self.observations, rows, trajectory.observations, adding)
    self._write(self.actions, rows, trajectory.actions, adding)
    self._write(self.index, rows, draw.index, adding)
    self._write(self.transform, rows, draw.transform, adding)
    images = self._images()
    if images is not None:
      self._write(images, rows, draw.images, adding)
    if self._settings.prioritised:
      self._write(self.priority, rows, tf.fill([batch], self._usual_priority()), adding)
      self._write(self.sampled, rows, tf.zeros([batch], tf.bool), adding)
    self.added.assign_add(batch * tf.cast(adding, tf.int64))

  def sample(self, batch: int, seeds: Seeds, beta: tf.Tensor) -> ReplaySample:
    """Draws B scans with replacement.

    Args:
      batch: B.
      seeds: of this iteration.
      beta: exponent of importance weights, if prioritised.
    """
    uniform = tf.random.stateless_uniform([batch], seeds.sampling)
    if self._settings.prioritised:
      rows, weights = self._draw_by_priority(uniform, beta)
    else:
      size = tf.cast(self.size, tf.float32)
      rows = tf.minimum(tf.cast(uniform * size, tf.int32), self.size - 1)
      weights = tf.ones([batch])
    stored = self._images()
    images = () if stored is None else tf.gather(stored, rows)
    draw = Draw(tf.gather(self.index, rows), tf.gather(self.transform, rows), images)
    return ReplaySample(
      tf.gather(self.observations, rows), tf.gather(self.actions, rows), draw, rows, weights
    )

  def restore_images(self, stored: np.ndarray) -> None:
    """Restores the specimens of the scans in the replay, which checkpoints do not hold.

    Args:
      stored: [N, S, S, 1], all training specimens.
    """
    index = self.index.numpy()[: int(self.size)]
    for start in range(0, len(index), _CHUNK):
      rows = np.arange(start, min(start + _CHUNK, len(index)))
      values = tf.constant(np.asarray(stored[index[rows]]))
      for copy in replicas.copies(self._images()):
        copy.scatter_update(tf.IndexedSlices(values, rows))

  def update_priorities(self, rows: tf.Tensor, errors: tf.Tensor) -> None:
    """Sets the priorities of sampled rows [B] to their mean squared TD errors [B]; does nothing if
    sampling is uniform.

    A scan that was sampled twice is completed under two transforms, so it has two errors; it
    gets their mean.
    """
    if not self._settings.prioritised:
      return
    rows, errors = replicas.gather((rows, errors))
    same = tf.equal(rows[:, None], rows)  # [B, B]
    means = tf.reduce_sum(tf.where(same, errors, 0.0), 1) / tf.reduce_sum(
      tf.cast(same, errors.dtype), 1
    )
    # Equal rows take one mean among theirs, so that they write the same bits in whatever order.
    means = tf.gather(means, tf.argmax(tf.cast(same, tf.int32), 1))
    replicas.own(self.priority).scatter_update(tf.IndexedSlices(means, rows))
    sampled = tf.IndexedSlices(tf.ones_like(rows, tf.bool), rows)
    replicas.own(self.sampled).scatter_update(sampled)

  def _rows(self, batch, seed):
    """Returns the rows that new scans take: the next free ones, or a block to overwrite."""
    capacity = self._settings.capacity
    start = tf.math.floormod(self.added, capacity)
    if self._settings.overwrite == "random":
      block = tf.random.stateless_uniform([], seed, maxval=capacity, dtype=tf.int64)
      start = tf.where(self.added >= capacity, block, start)
    return tf.cast(tf.math.floormod(start + tf.range(batch, dtype=tf.int64), capacity), tf.int32)

  def _write(self, storage, rows, values, adding):
    values = tf.where(adding, values, tf.gather(storage, rows))
    replicas.own(storage).scatter_update(tf.IndexedSlices(values, rows))

  def _usual_priority(self):
    """Returns the mean priority of scans sampled so far, 1 before the first."""
    weights = tf.cast(self.sampled, tf.float32)
    total = tf.reduce_sum(weights)
    return tf.where(total > 0, tf.reduce_sum(weights * self.priority) / tf.maximum(total, 1.0), 1.0)

  def _draw_by_priority(self, uniform, beta):
    """Draws rows with P proportional to priority^alpha; weights are (n P)^-beta over their
    maximum.
    """
    held = tf.range(self._settings.capacity) < self.size
    # Were all priorities 0, P would be 0 / 0: they have a least value.
    powers = tf.where(
      held, tf.pow(tf.maximum(self.priority, 1e-12), self._settings.priority_alpha), 0.0
    )
    cumulative = tf.cumsum(powers)
    rows = tf.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    rows = tf.minimum(rows, self.size - 1)
    probability = tf.gather(powers, rows) / cumulative[-1]
    weights = tf.pow(tf.cast(self.size, tf.float32) * probability, -beta)
    return rows, weights / tf.reduce_max(weights)


class NoReplay(snt.Module):
  """Replays the newest batch only: the ablation without experience replay."""

  def exchange(
    self,
    scan: Callable[[], Trajectory],
    draw: Draw,
    seeds: Seeds,
    probability: tf.Tensor,
    beta: tf.Tensor,
  ) -> ReplaySample:
    """Returns a replica's share of the batch, scanned now."""
    del seeds, probability, beta
    trajectory, mine = scan(), replicas.share(draw)
    batch = mine.index.shape[0]
    return ReplaySample(
      trajectory.observations, trajectory.actions, mine, tf.range(batch), tf.ones([batch])
    )

  def restore_images(self, stored: np.ndarray) -> None:
    """Does nothing: nothing is kept."""

  def update_priorities(self, rows: tf.Tensor, errors: tf.Tensor) -> None:
    """Does nothing: there are no priorities."""


def _storage(shape, dtype, name):
  return tf.Variable(tf.zeros(shape, dtype), trainable=False, name=name)
