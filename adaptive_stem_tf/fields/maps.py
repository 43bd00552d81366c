"""Averages over cells and neighbourhoods of whole fields, any size."""

import numpy as np
import tensorflow as tf


def to_cells(image: tf.Tensor, cell: int) -> tf.Tensor:
  """Returns the mean over cells: [B, H, W, C] to [B, ceil(H / cell), ceil(W / cell), C].

  Cells at the lower and right border average the pixels that they have.
  """
  if None not in image.shape[1:3] and not any(side % cell for side in image.shape[1:3]):
    return tf.nn.avg_pool2d(image, cell, cell, "VALID")
  # Padding only below and on the right leaves cells where `to_pixels` enlarges them.
  pads = [tf.math.floormod(-tf.shape(image)[axis], cell) for axis in (1, 2)]
  pad = lambda value: tf.pad(value, [[0, 0], [0, pads[0]], [0, pads[1]], [0, 0]])
  share = tf.nn.avg_pool2d(pad(tf.ones_like(image[:1, :, :, :1])), cell, cell, "VALID")
  return tf.nn.avg_pool2d(pad(image), cell, cell, "VALID") / share


def to_pixels(
  cells: tf.Tensor, cell: int, rows: int | tf.Tensor, columns: int | tf.Tensor
) -> tf.Tensor:
  """Enlarges cells [B, h, w, C] bilinearly to pixels [B, rows, columns, C]."""
  size = [cell * (cells.shape[a] or tf.shape(cells)[a]) for a in (1, 2)]
  return tf.image.resize(cells, size, "bilinear")[:, :rows, :columns]


def double(image: tf.Tensor) -> tf.Tensor:
  """Repeats rows and columns: [B, h, w, C] to [B, 2 h, 2 w, C].

  A convolution or filter has to follow. (TensorFlow's resizing has a gradient on CPU that
  takes longer than the convolutions; repetition's is a sum.)
  """
  size = tf.shape(image)
  rows, columns, channels = image.shape[1:]
  tiled = tf.tile(image[:, :, None, :, None, :], [1, 1, 2, 1, 2, 1])
  doubled = tf.reshape(tiled, tf.stack([size[0], 2 * size[1], 2 * size[2], size[3]]))
  static = [None if side is None else 2 * side for side in (rows, columns)]
  return tf.ensure_shape(doubled, [image.shape[0], *static, channels])


def neighbourhood(image: tf.Tensor, cell: int = 4) -> tf.Tensor:
  """Returns a smooth local mean [B, H, W, C], over some 2.5 cells (10 px by default)."""
  cells = to_cells(image, cell)
  taps = tf.constant(np.array([1, 2, 1], np.float32) / 4)
  padded = tf.pad(cells, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  rows = taps[0] * padded[:, :-2] + taps[1] * padded[:, 1:-1] + taps[2] * padded[:, 2:]
  cells = taps[0] * rows[:, :, :-2] + taps[1] * rows[:, :, 1:-1] + taps[2] * rows[:, :, 2:]
  shape = image.shape
  return to_pixels(cells, cell, shape[1] or tf.shape(image)[1], shape[2] or tf.shape(image)[2])


def squared_gradient(image: tf.Tensor) -> tf.Tensor:
  """Returns the squared gradient [B, H, W, 1] by central differences, borders repeated."""
  padded = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  rows = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
  columns = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
  return tf.square(rows) + tf.square(columns)
