"""Where randomness comes from.

Random numbers are pure functions of the experiment's seed, a purpose and the
iteration: a checkpoint needs no generator state, and a resumed run draws the
numbers that an uninterrupted one would.
"""

import enum

import tensorflow as tf

_STREAMS = 64  # per seed: purposes can be added without changing the streams of others


class Purpose(enum.IntEnum):
  """What random numbers are for; each has a stream of its own."""

  ORDER = 0
  TRANSFORM = 1
  EXPLORATION = 2
  OVERWRITE = 3
  ADDING = 4
  SAMPLING = 5
  AUGMENTATION = 6
  WALK = 7
  TRUNCATION = 8
  RASTER = 9
  RASTER_HISTORY = 10
  CROP = 11
  DOSE = 12
  COVERAGE = 13
  PARTIAL_HISTORY = 14
  WEIGHTS = 15
  STATISTICS = 16


def stream(seed: int, purpose: Purpose, iteration: tf.Tensor | int) -> tf.Tensor:
  """Returns the seed [2] int64 of a purpose's random numbers at an iteration.

  For `Purpose.WEIGHTS` it is the number of a variable.
  """
  return tf.stack([tf.constant(_STREAMS * seed + purpose, tf.int64), tf.cast(iteration, tf.int64)])
