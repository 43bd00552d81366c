"""Experience replay of scans of whole fields.

An entry is what actor and critic saw of a scan, their actions, and the map of errors at its
end. Specimens and positions are not kept (METHOD keeps them, and completes every
replayed scan anew): completing R + 1 masks of 256 px again costs as much as a new scan, and
with 1,200 entries an entry is 300 iterations old at most.
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import replicas


class FieldScans(NamedTuple):
  """Scans as actor and critic learn from them."""

  features: tf.Tensor  # [B, R, h, w, F]
  gradient: tf.Tensor  # [B, R, h, w, 1]
  uncertainty: tf.Tensor  # [B, R, h, w, 1]
  actions: tf.Tensor  # [B, R, h, w, 1] log weights
  log_errors: tf.Tensor  # [B, h, w, 1] log of the mean squared error of each cell at the end
  log_coverage: tf.Tensor  # [B]


class FieldReplay(snt.Module):
  """A ring of scans in half precision, sampled uniformly."""

  def __init__(self, capacity: int, example: FieldScans, name: str = "field_replay"):
    """Makes an empty replay.

    Args:
      capacity: number of scans.
      example: tensors or specs of entries; their first axis does not count.
      name: of the module.
    """
    super().__init__(name=name)
    self._capacity = capacity
    storage = lambda value, name: tf.Variable(
      tf.zeros([capacity, *value.shape[1:]], tf.float16), trainable=False, name=name
    )
    self.storage = [storage(value, name) for name, value in zip(FieldScans._fields, example)]
    self.added = tf.Variable(0, trainable=False, dtype=tf.int64, name="added")

  def add(self, scans: FieldScans) -> None:
    """Adds B scans, of which each replica has its share, in place of the oldest."""
    scans = replicas.gather(scans)
    batch = scans.log_coverage.shape[0]
    rows = tf.math.floormod(self.added + tf.range(batch, dtype=tf.int64), self._capacity)
    for storage, value in zip(self.storage, scans):
      replicas.own(storage).scatter_update(tf.IndexedSlices(tf.cast(value, tf.float16), rows))
    self.added.assign_add(batch)

  def sample(self, count: int, seed: tf.Tensor) -> FieldScans:
    """Draws scans with replacement; returns a replica's share of them.

    Args:
      count: how many in all.
      seed: [2] int64 of the draw.
    """
    held = tf.minimum(self.added, self._capacity)
    rows = replicas.share(tf.random.stateless_uniform([count], seed, maxval=held, dtype=tf.int64))
    return FieldScans(*(tf.cast(tf.gather(value, rows), tf.float32) for value in self.storage))
