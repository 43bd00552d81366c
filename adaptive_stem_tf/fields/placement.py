"""Placement: from a density of probing positions to the positions (docs/FIELDS.md).

Every pixel has a *rank*: its turn when pixels of a periodic tile are taken one by one, each
where the distance to those before it is greatest (farthest points, Eldar et al. 1997). The
first N ranks are evenly spread for every N, so N positions of equal weight are a static
scan of farthest points in any number of rounds. Weights w ask for a density proportional to
w: a pixel's score is w / rank, and the pixels of the N highest scores are measured, which include
those measured before. There is no search: placing is a threshold, exact, linear in
pixels, and the same in training and serving.
"""

import functools

import numpy as np
import tensorflow as tf

TILE = 128  # px, period of the ranks
_BESIDE = 1e6  # weight of pixels beside the first ranks: their scores exceed those of all others
_MEASURED = 3e38  # score of pixels measured before: below infinity, above all others
_INFINITY_BITS = np.int32(0x7F800000)  # of float32


@functools.cache
def ranks(size: int = TILE, seed: int = 0) -> np.ndarray:
  """Returns the rank [size, size] of each pixel of a periodic tile, 0 to size^2 - 1 as float32.

  Greedy farthest points on a torus; distances that tie are ordered by noise of 1 %.
  """
  random = np.random.default_rng(seed)
  jitter = (1 + 0.02 * random.random([size, size])).astype(np.float32)
  squared = np.full([size, size], np.inf, np.float32)
  score = squared * jitter
  rank = np.empty([size, size], np.float32)
  reach, at = size // 2 - 1, int(random.integers(size * size))
  for turn in range(size * size):
    row, column = divmod(at, size)
    rank[row, column] = turn
    offsets = np.arange(-reach, reach + 1)
    window = np.ix_((row + offsets) % size, (column + offsets) % size)
    nearest = np.minimum(squared[window], np.add.outer(offsets**2, offsets**2))
    squared[window], score[window] = nearest, nearest * jitter[window]
    at = int(score.argmax())
    greatest = squared.flat[at]
    if np.isfinite(greatest):
      # No pixel is farther than this from its nearest position: beyond it, the next position
      # changes no distance.
      reach = min(reach, int(np.sqrt(1.05 * greatest)) + 1)
  return rank


def rank_map(rows: int | tf.Tensor, columns: int | tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
  """Returns the relative rank of every pixel of fields, in (0, 1], all different.

  Args:
    rows: H.
    columns: W.
    offset: [B, 2] int32, pixel of the tile that lies at the origin: another offset gives
      another, equally even pattern.

  Returns:
    [B, H, W] float32; the share of pixels of a rank of at most q is q.
  """
  tile, period = tf.constant(ranks(TILE)), tf.range(TILE)
  row, column = (tf.math.floormod(period + offset[:, axis, None], TILE) for axis in (0, 1))
  turn = tf.gather_nd(
    tile,
    tf.stack([row[:, :, None] + 0 * column[:, None], column[:, None] + 0 * row[:, :, None]], -1),
  )
  # One period is gathered and then repeated, which takes a tenth of the time of gathering a field.
  repeats = [-(-size // TILE) for size in (rows, columns)]
  turn = tf.tile(turn, tf.stack([1, *repeats]))[:, :rows, :columns]
  # Repetitions of the tile take turns: rows and columns of tiles add a share of one turn.
  within = lambda size: (
    tf.cast(tf.range(size) // TILE, tf.float32) / tf.cast(size // TILE + 1, tf.float32)
  )
  order = within(rows)[:, None] + within(columns)[None] / 64.0
  return (turn + 0.5 * order[None] + 0.25) / (TILE * TILE)


def beside_first(rank: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
  """Returns weights [B, H, W] of even positions that put neighbours of the first ones before all.

  Args:
    rank: [B, H, W], of `rank_map`.
    share: [B], the pixels of lowest rank that get a neighbour on their right, over all pixels.
  """
  first = tf.cast(rank[:, :, :-1] <= share[:, None, None], tf.float32)
  return 1.0 + _BESIDE * tf.pad(first, [[0, 0], [0, 0], [1, 0]])


def place(weights: tf.Tensor, rank: tf.Tensor, mask: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
  """Measures where weight over rank is highest, until `count` positions are measured.

  Args:
    weights: [B, H, W] positive; the density asked for is proportional to them. 0 is never
      measured (outside a field that was padded).
    rank: [B, H, W], of `rank_map`.
    mask: [B, H, W], 1 where measured already, else 0.
    count: [B] int32, positions that are measured afterwards, including those before.

  Returns:
    [B, H, W] float32: 1 at exactly `count` pixels, which include those measured before, as long
    as that many have positive weights.
  """
  score = tf.where(mask > 0, _MEASURED, tf.where(weights > 0, weights / rank, -1.0))
  # Positive floats are ordered as their bits are: a bisection over integers is exact.
  keys = tf.where(score > 0, tf.bitcast(score, tf.int32), -1)
  threshold = _bisect(lambda key: _count(keys >= key[:, None, None]), count, _INFINITY_BITS)
  above, ties = (compare(keys, threshold[:, None, None]) for compare in (tf.greater, tf.equal))
  chosen = above | _first(ties, count - _count(above))
  return tf.ensure_shape(tf.cast(chosen, tf.float32), mask.shape)


def _first(condition, count):
  """Returns the first `count` [B] pixels, row by row, where a condition [B, H, W] holds."""
  # A running count of all pixels would take as long as 20 counts: only one row needs it, the one in
  # which `count` is reached.
  in_row = tf.reduce_sum(tf.cast(condition, tf.int32), 2)
  left = count[:, None] - tf.cumsum(in_row, 1, exclusive=True)  # before each row
  last = (left > 0) & (in_row > left)
  inside = tf.reduce_any(condition & last[:, :, None], 1)
  limit = tf.reduce_sum(tf.where(last, left, 0), 1)
  until = inside & (tf.cumsum(tf.cast(inside, tf.int32), 1) <= limit[:, None])
  return condition & ((in_row <= left)[:, :, None] | (last[:, :, None] & until[:, None]))


def even(shape: tuple[int, int], count: int, offset: np.ndarray) -> np.ndarray:
  """Returns the `count` pixels of lowest rank of one field, [count, 2] rows and columns.

  Args:
    shape: (H, W).
    count: how many.
    offset: [2] int32, as of `rank_map`.
  """
  rank = rank_map(shape[0], shape[1], tf.constant(offset[None]))
  mask = place(tf.ones_like(rank), rank, tf.zeros_like(rank), tf.constant([count]))
  return np.argwhere(mask[0].numpy() > 0)


def _count(condition):
  return tf.reduce_sum(tf.cast(condition, tf.int32), [1, 2])


def _bisect(count_from, least, end):
  """Returns the greatest keys [B] below `end` from which on there are at least `least` [B] keys.

  Args:
    count_from: maps keys [B] to counts [B], which fall as keys rise.
    least: [B] int32.
    end: a positive int32.
  """
  low = tf.zeros_like(least)
  high = tf.zeros_like(least) + end
  for _ in range(31):  # bits of a positive int32
    middle = low + (high - low) // 2
    enough = count_from(middle) >= least
    low, high = tf.where(enough, middle, low), tf.where(enough, high, middle)
  return low
