"""Keeps generated images, so that a discriminator also learns from those of earlier iterations
(Shrivastava et al. 2017).
"""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import replicas


class History(snt.Module):
  """A history of generated images.

  Until it is full, it keeps all new images and returns them. After that it swaps about half of them
  for images that it holds.
  """

  def __init__(self, capacity: int, shape: tuple[int, ...], name: str = "history"):
    """Makes an empty history.

    Args:
      capacity: number of images it holds; at least a batch.
      shape: of an image, [S, S, C].
      name: of the module.
    """
    super().__init__(name=name)
    self._capacity = capacity
    self.images = tf.Variable(tf.zeros([capacity, *shape]), trainable=False, name="images")
    self.added = tf.Variable(0, trainable=False, dtype=tf.int32, name="added")

  def exchange(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Keeps some of the images, and returns equally many, new and old.

    Args:
      images: [B, S, S, C], newly generated. With several replicas each passes its share, and each
        keeps those of all.
      seed: [2], of the choice of images that are swapped.

    Returns:
      [B, S, S, C]. Each image is the new one or, once the history is full, with probability 1/2 one
      that it held, which the new one replaces.
    """
    images = replicas.gather(tf.stop_gradient(images))
    batch = images.shape[0]
    full = self.added >= self._capacity
    random = tf.random.stateless_uniform([1 + batch], seed, 0, 2**30, tf.int32)
    first = tf.where(full, random[0] % self._capacity, self.added)
    slots = (first + tf.range(batch)) % self._capacity  # one block: no slot twice
    swapped = tf.logical_and(full, random[1:] % 2 == 0)[:, None, None, None]
    old = tf.gather(self.images, slots)
    stays = tf.logical_and(full, tf.logical_not(swapped))
    # All slots are written, so that shapes are static: those that stay get their old images.
    replicas.own(self.images).scatter_nd_update(slots[:, None], tf.where(stays, old, images))
    self.added.assign(tf.minimum(self.added + batch, self._capacity))
    return replicas.share(tf.where(swapped, old, images))


class NoHistory(snt.Module):
  """A history that holds nothing: it returns the new images."""

  def exchange(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns the images, without gradients."""
    del seed
    return tf.stop_gradient(images)
