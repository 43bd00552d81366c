"""Numbers of positions of the rounds of a served scan, and the order in which pixels are chosen."""

import math

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import interpolation, placement

MOST_ROUNDS = 16


def multiple(cell: int) -> int:
  """Returns the number, px, to multiples of which fields are padded, for cells of a width, px."""
  return math.lcm(interpolation.MULTIPLE, cell)


def ranks(seed: np.ndarray, rows: int, columns: int, cell: int) -> tf.Tensor:
  """Returns the relative ranks [B, H, W] by which a served scan places positions.

  Args:
    seed: [B] int32, of the even patterns.
    rows: H.
    columns: W.
    cell: width of a cell, px.
  """
  padded = [side + -side % multiple(cell) for side in (rows, columns)]
  origins = offset(tf.constant(seed, tf.int32))
  return placement.rank_map(padded[0], padded[1], origins)[:, :rows, :columns]


def count(budget: np.ndarray, number: int, rounds: int, survey: float) -> tf.Tensor:
  """Returns the positions [B] int32 that are measured after a round; 0 is the survey.

  Args:
    budget: [B] positions in all.
    number: of the round.
    rounds: in all.
    survey: share of the budget that it takes.
  """
  share = shares(survey)[rounds, number]
  return tf.cast(tf.maximum(tf.round(np.float32(budget) * share), 1.0), tf.int32)


def offset(seed: tf.Tensor) -> tf.Tensor:
  """Returns the origins [B, 2] of the even patterns of seeds [B]: one of 16,384."""
  return tf.math.floormod(tf.stack([seed, seed // placement.TILE + 45 * seed], -1), placement.TILE)


def shares(survey: float) -> tf.Tensor:
  """Returns the share of the budget that is measured after round r of R, [R, r].

  A table, since LiteRT has no double precision, in which `rounds.budget` adds shares up.
  """
  table = np.ones([MOST_ROUNDS + 1, MOST_ROUNDS + 1])
  for rounds in range(1, MOST_ROUNDS + 1):
    table[rounds] = survey + (1 - survey) * np.arange(MOST_ROUNDS + 1) / rounds
  return tf.constant(table, tf.float32)
