"""Averages over cells and neighbourhoods of whole fields, any size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def to_cells(image: tf.Tensor, cell: int, whole: bool = False) -> tf.Tensor:
  """Returns the mean over cells: [B, H, W, C] to [B, ceil(H / cell), ceil(W / cell), C].

  Cells at the lower and right border average the pixels that they have.

  Args:
    image: [B, H, W, C].
    cell: width of a cell, px.
    whole: whether H and W are multiples of `cell` even if the graph does not know them yet.
  """
  if whole or _divides(cell, image):
    return tf.nn.avg_pool2d(image, cell, cell, "VALID")
  return sum_in_cells(image, cell) / sum_in_cells(tf.ones_like(image[:1, :, :, :1]), cell)


def sum_in_cells(image: tf.Tensor, cell: int, whole: bool = False) -> tf.Tensor:
  """Returns sums over cells, divided by the pixels of a whole cell; otherwise as `to_cells`."""
  if not whole and not _divides(cell, image):
    # Padding only below and on the right leaves cells where `to_pixels` enlarges them.
    pads = [tf.math.floormod(-tf.shape(image)[axis], cell) for axis in (1, 2)]
    image = tf.pad(image, [[0, 0], [0, pads[0]], [0, pads[1]], [0, 0]])
  return tf.nn.avg_pool2d(image, cell, cell, "VALID")


def _divides(cell, image):
  """Returns whether the sides of an image are known, and multiples of a cell's."""
  return None not in image.shape[1:3] and not any(side % cell for side in image.shape[1:3])


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


def to_planes(image: tf.Tensor) -> tf.Tensor:
  """Returns the four pixels of 2 x 2 cells in planes of their own: [B, H, W, 1] to [B, 4, h, w].

  H = 2 h and W = 2 w are even. Planes are in the order of the channels of `tf.nn.space_to_depth`.
  """
  batch, rows, columns = _sizes(image)
  rows, columns = rows // 2, columns // 2
  blocks = tf.reshape(image, [batch, rows, 2, columns, 2])
  return tf.reshape(tf.transpose(blocks, [0, 2, 4, 1, 3]), [batch, 4, rows, columns])


def to_channels(planes: Sequence[tf.Tensor]) -> tf.Tensor:
  """Returns planes [B, c, h, w], of any numbers c, as the channels of one image [B, h, w, C].

  (TensorFlow copies channels one number at a time when it concatenates them; it copies planes as
  wholes, and transposes them all in less than half of the time.)
  """
  return tf.transpose(tf.concat(planes, 1), [0, 2, 3, 1])


def as_plane(image: tf.Tensor) -> tf.Tensor:
  """Returns an image [B, h, w, 1] as a plane [B, 1, h, w] for `to_channels`."""
  return tf.expand_dims(tf.squeeze(image, -1), 1)


def from_channels(cells: tf.Tensor) -> tf.Tensor:
  """Returns the image [B, 2 h, 2 w, 1] whose 2 x 2 cells have their pixels in 4 channels.

  (It takes a quarter of the time of `tf.nn.depth_to_space`, on a processor.)
  """
  batch, rows, columns = _sizes(cells)
  blocks = tf.reshape(cells, [batch, rows, columns, 2, 2])
  blocks = tf.transpose(blocks, [0, 1, 3, 2, 4])
  return tf.reshape(blocks, [batch, 2 * rows, 2 * columns, 1])


def _sizes(image):
  """Returns the numbers of images, rows and columns, as Python numbers where they are static."""
  return [image.shape[axis] or tf.shape(image)[axis] for axis in range(3)]


def neighbourhood(image: tf.Tensor, cell: int = 4, whole: bool = False) -> tf.Tensor:
  """Returns a smooth local mean [B, H, W, C], over some 2.5 cells (10 px by default).

  The arguments are those of `to_cells`.
  """
  cells = to_cells(image, cell, whole)
  taps = tf.constant(np.array([1, 2, 1], np.float32) / 4)
  padded = tf.pad(cells, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  rows = taps[0] * padded[:, :-2] + taps[1] * padded[:, 1:-1] + taps[2] * padded[:, 2:]
  cells = taps[0] * rows[:, :, :-2] + taps[1] * rows[:, :, 1:-1] + taps[2] * rows[:, :, 2:]
  shape = image.shape
  return to_pixels(cells, cell, shape[1] or tf.shape(image)[1], shape[2] or tf.shape(image)[2])


def squared_gradient(image: tf.Tensor) -> tf.Tensor:
  """Returns the squared gradient [B, H, W, 1] by central differences, borders repeated."""
  # Copies of rows and columns take a third of the time of `tf.pad`, which mirrors pixel by pixel.
  longer = tf.concat([image[:, :1], image, image[:, -1:]], 1)
  wider = tf.concat([image[:, :, :1], image, image[:, :, -1:]], 2)
  rows, columns = (longer[:, 2:] - longer[:, :-2]) / 2, (wider[:, :, 2:] - wider[:, :, :-2]) / 2
  return tf.square(rows) + tf.square(columns)
