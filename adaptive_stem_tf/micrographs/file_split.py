"""Divides crops between training and test by whole files.

A file of specimens is split in its own order: the first int(0.8 N) train, the rest test. Crops are
ordered by file and, where needed, dropped, so that this boundary falls between two files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_TRAIN_SHARE = 0.8  # as input_pipeline.split_file_order
_ORDERS = 500  # random orders of the files that are tried


class FileSplit(NamedTuple):
  """Which files train and which test, and how many crops of each are kept."""

  train: list[int]  # files, in order
  test: list[int]
  kept: list[int]  # crops of each file, by its number


def split(counts: Sequence[int], seed: int) -> FileSplit:
  """Chooses training and test files at random, so that few crops have to be dropped.

  Args:
    counts: crops of each file, none of them 0.
    seed: of the order of files.

  Raises:
    ValueError: if there are fewer than two files.
  """
  if len(counts) < 2:
    raise ValueError(
      f"crops come from {len(counts)} micrograph{'s' * (len(counts) != 1)}: training and test "
      "share no micrograph, so at least two are needed."
    )
  rng = np.random.default_rng(seed)
  divisions = [_divide(rng.permutation(len(counts)), counts) for _ in range(_ORDERS)]
  crops_left = lambda division: sum(_fitting(*(_total(part, counts) for part in division)))
  train, test = max(divisions, key=crops_left)
  fitting = _fitting(_total(train, counts), _total(test, counts))
  kept = list(counts)
  for part, count in zip((train, test), fitting):
    for _ in range(_total(part, counts) - count):
      kept[max(part, key=lambda file: kept[file])] -= 1  # from the file that has most crops
  return FileSplit(
    [file for file in train if kept[file]], [file for file in test if kept[file]], kept
  )


def _divide(order: np.ndarray, counts: Sequence[int]) -> tuple[list[int], list[int]]:
  """Divides files in this order where the share of training crops comes nearest to 0.8."""
  total = np.cumsum([counts[file] for file in order])
  place = 1 + int(np.argmin(np.abs(total[:-1] / total[-1] - _TRAIN_SHARE)))
  return [int(file) for file in order[:place]], [int(file) for file in order[place:]]


def _fitting(train: int, test: int) -> tuple[int, int]:
  """Returns the greatest t <= train and e <= test for which int(0.8 (t + e)) = t.

  They are about four to one: e is a quarter of t, rounded up, or one more if that is whole.
  """
  if train > 4 * test:
    return 4 * test, test
  return train, min(test, -(-train // 4) + (train % 4 == 0))


def _total(files: Sequence[int], counts: Sequence[int]) -> int:
  return sum(counts[file] for file in files)
