"""Keeps generated images, so that a discriminator also sees what generators gave earlier
(Shrivastava et al. 2017).
"""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import replicas


class History(snt.Module):
  """Up to `capacity` images: while it fills, new ones are kept and given back; then half of them
  are swapped.
  """

  def __init__(self, capacity: int, shape: tuple[int, ...], name: str = "history"):
    """Makes an empty history.

    Args:
      capacity: images kept; at least a batch.
      shape: of an image, [S, S, C].
      name: of the module.
    """
    super().__init__(name=name)
    self._capacity = capacity
    self.images = tf.Variable(tf.zeros([capacity, *shape]), trainable=False, name="images")
    self.added = tf.Variable(0, trainable=False, dtype=tf.int32, name="added")

  def exchange(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Keeps some of the images, and gives as many, new and old.

    Args:
      images: [B, S, S, C], newly generated; of several replicas each its share, all of which
        every one keeps.
      seed: [2], of what is swapped.

    Returns:
      [B, S, S, C]: each is the new one or, once the history is full, with probability 1/2 a kept
      one that the new one replaces.
    """
    images = replicas.gather(tf.stop_gradient(images))
    batch = images.shape[0]
    full = self.added >= self._capacity
    random = tf.random.stateless_uniform([1 + batch], seed, 0, 2**30, tf.int32)
    first = tf.where(full, random[0] % self._capacity, self.added)
    slots = (first + tf.range(batch)) % self._capacity  # one block: no slot twice
    swapped = tf.logical_and(full, random[1:] % 2 == 0)[:, None, None, None]
    kept = tf.gather(self.images, slots)
    stays = tf.logical_and(full, tf.logical_not(swapped))
    # A full batch of rows is written, so that shapes are static: rows that stay are written as they
    # were.
    written = tf.where(stays, kept, images)
    replicas.own(self.images).scatter_nd_update(slots[:, None], written)
    self.added.assign(tf.minimum(self.added + batch, self._capacity))
    return replicas.share(tf.where(swapped, kept, images))


class NoHistory(snt.Module):
  """Gives new images only."""

  def exchange(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns the images, not differentiated."""
    del seed
    return tf.stop_gradient(images)
