"""Which crops and files of a data set are near-duplicates of earlier ones.

A file is a copy if its micrograph has the shape of an earlier one, of which something is left, and
is nearly equal to it: the same micrograph in another format, or another frame of the same field of
view. A crop is a near-duplicate if it nearly equals a crop that an earlier file kept. Earlier is
what comes first in the order of the data set. Of files that are kept as whole fields, only the
micrographs are compared.

`Distinct` goes through files in that order. For sets that outgrow one process, `groups`, `compare`
and `decide` come to the same result: files are read in any order on any machine, each pair of
groups of files is compared on its own, and what is alike is then gone through in order.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf.micrographs.signatures import Signatures, near_pairs

_PROPORTIONS = 0.02  # relative difference of aspect ratios, below which shapes are the same

Shape = tuple[int, int]


class FileSignatures(NamedTuple):
  """What a file is compared by."""

  order: int  # of the file in the data set
  name: str
  shape: Shape  # px
  whole: np.ndarray  # [s] float32, signature of the micrograph
  crops: np.ndarray | None  # [N, s] float32, signatures of its crops; None for a whole field

  @property
  def of_crops(self) -> np.ndarray:
    """The signatures of its crops [N, s], none of a whole field."""
    return np.empty([0, 0], np.float32) if self.crops is None else self.crops

  @property
  def num_parts(self) -> int:
    """The number of crops, or 1 for a whole field."""
    return 1 if self.crops is None else len(self.crops)


class File(NamedTuple):
  """A file of a pair."""

  order: int
  name: str
  num_parts: int  # crops, or 1 for a whole field


class Alike(NamedTuple):
  """Two files that have something in common."""

  earlier: File
  later: File
  whole: bool  # whether their micrographs are nearly equal, and of the same shape
  crops: np.ndarray  # [K, 2] crops that are nearly equal: of the earlier file, of the later one


class Decision(NamedTuple):
  """What a file loses."""

  copy_of: str = ""  # a file, if it is a copy, which keeps nothing
  dropped: frozenset[int] = frozenset()  # crops that are near-duplicates of those of other files


def same_proportions(shape: Shape, other: Shape) -> bool:
  """Returns whether two micrographs have the same shape, scaled or not."""
  return abs(shape[0] / shape[1] / (other[0] / other[1]) - 1) < _PROPORTIONS


class Distinct:
  """Decides about one file after the other; holds signatures, not images."""

  def __init__(self):
    self._crops, self._wholes = Signatures(), Signatures()
    # Names and shapes of the files of which something was kept, numbered as in `_wholes`.
    self._files: list[tuple[str, Shape]] = []

  def add(self, file: FileSignatures) -> Decision:
    """Decides about the next file of the data set."""
    alike = (self._files[number] for number in self._wholes.near_duplicates(file.whole))
    for name, shape in alike:
      if same_proportions(file.shape, shape):
        return Decision(name)
    kept = [self._crops.add(one) for one in file.of_crops]
    if any(kept) or file.crops is None:
      self._wholes.keep(file.whole)
      self._files.append((file.name, file.shape))
    return Decision(dropped=frozenset(i for i, is_kept in enumerate(kept) if not is_kept))


def groups(order: int, num_groups: int) -> list[tuple[int, int]]:
  """Returns the pairs of groups, of `num_groups`, in which a file is compared.

  Any two files meet in exactly one pair. Each file is in `num_groups` pairs.
  """
  own = order % num_groups
  return [(min(own, other), max(own, other)) for other in range(num_groups)]


def compare(
  pair: tuple[int, int],
  files: Iterable[FileSignatures],
  num_groups: int,
  same_shape: Callable[[Shape, Shape], bool] = same_proportions,
) -> Iterator[Alike]:
  """Yields what is alike among the files of a pair of groups.

  Args:
    pair: of groups, as `groups` numbers them.
    files: those of both groups, in any order.
    num_groups: number of groups.
    same_shape: whether micrographs of two shapes can be copies.
  """
  files = sorted(files, key=lambda file: file.order)
  one, others = ([file for file in files if file.order % num_groups == group] for group in pair)
  wholes = _meetings(one, others, lambda file: file.whole[None])
  crops = _meetings(one, others, lambda file: file.of_crops)
  shapes = {file.order: file.shape for file in files}
  known = {file.order: File(file.order, file.name, file.num_parts) for file in files}
  for first, second in sorted({*wholes, *crops}):
    whole = (first, second) in wholes and same_shape(shapes[first], shapes[second])
    pairs = np.array(sorted(crops.get((first, second), [])), np.int32).reshape(-1, 2)
    if whole or len(pairs):
      yield Alike(known[first], known[second], whole, pairs)


def _meetings(one, others, signatures_of):
  """Returns near-duplicates among the signatures of two groups of files.

  Args:
    one: files.
    others: files, other ones or the same.
    signatures_of: returns the signatures [n, s] of a file.

  Returns:
    Pairs of rows in the earlier and in the later file, by the order of both files.
  """
  meetings = collections.defaultdict(set)
  for size in {signatures_of(file).shape[1] for file in one}:
    left, left_places = _stack(one, signatures_of, size)
    right, right_places = _stack(others, signatures_of, size)
    for i, j in near_pairs(left, right).tolist():
      earlier, later = sorted([left_places[i], right_places[j]])
      if earlier[0] != later[0]:
        meetings[earlier[0], later[0]].add((earlier[1], later[1]))
  return meetings


def _stack(files, signatures_of, size):
  """Returns all signatures of a size [N, size], and the order of the file and the row of each."""
  stacks = [(file.order, signatures_of(file)) for file in files]
  fitting = [(order, stack) for order, stack in stacks if stack.shape[1] == size]
  empty = np.empty([0, size], np.float32)
  places = [(order, row) for order, stack in fitting for row in range(len(stack))]
  return np.concatenate([empty, *(stack for _, stack in fitting)]), places


def decide(alike: Iterable[Alike]) -> dict[str, Decision]:
  """Decides about the files of a data set, as `Distinct` does one after the other.

  Args:
    alike: all pairs of files that have something in common, in any order.

  Returns:
    What files lose, by name; files that are not named lose nothing.
  """
  by_later: dict[File, list[Alike]] = collections.defaultdict(list)
  for pair in alike:
    by_later[pair.later].append(pair)
  decisions: dict[str, Decision] = {}
  for later in sorted(by_later):
    pairs = sorted(by_later[later], key=lambda pair: pair.earlier)
    decision = _decide_one(pairs, decisions)
    if decision != Decision():
      decisions[later.name] = decision
  return decisions


def _decide_one(pairs: Sequence[Alike], decisions: dict[str, Decision]) -> Decision:
  """Decides about a file, whose pairs with earlier ones are given in their order."""
  dropped: set[int] = set()
  for earlier, _, whole, crops in pairs:
    before = decisions.get(earlier.name, Decision())
    if before.copy_of:
      continue
    if whole and earlier.num_parts > len(before.dropped):
      return Decision(earlier.name)
    dropped.update(later for first, later in crops.tolist() if first not in before.dropped)
  return Decision(dropped=frozenset(dropped))
