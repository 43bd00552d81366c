"""What images are compared by: block means, whose correlation shows near-duplicates."""

import numpy as np

_DUPLICATE = 0.98  # correlation of signatures, above which images are near-duplicates
# Products in float32 differ in their last bits by how many there are at a time; what they leave
# open is decided in float64.
_ROUNDING = 1e-4
_SIGNATURE = 12  # block means per side
_PRODUCTS = 1 << 24  # correlations that are computed at a time, to limit memory


def signature(image: np.ndarray) -> np.ndarray:
  """Returns the means of about 12 x 12 blocks of an image [H, W], centred, of length 1; 0 if they
  are all the same.
  """
  rows, columns = (
    np.linspace(0, side, min(_SIGNATURE, side) + 1).astype(int)[:-1] for side in image.shape
  )
  sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, 0), columns, 1)
  areas = np.outer(
    np.diff(np.append(rows, image.shape[0])), np.diff(np.append(columns, image.shape[1]))
  )
  means = sums / areas
  means -= means.mean()
  length = np.linalg.norm(means)
  return (means / length if length > 0 else means).ravel().astype(np.float32)


def near_pairs(one: np.ndarray, others: np.ndarray) -> np.ndarray:
  """Finds the near-duplicates among two stacks of signatures.

  Args:
    one: [M, s] float32.
    others: [N, s].

  Returns:
    Rows of `one` and of `others` that correlate above 0.98, [K, 2], in rising order.
  """
  step = max(1, _PRODUCTS // max(1, len(others)))
  pairs = [np.empty([0, 2], np.int64)]
  for start in range(0, len(one), step):
    alike = one[start : start + step] @ others.T > _DUPLICATE - _ROUNDING
    pairs.append(np.argwhere(alike) + np.array([start, 0]))
  found = np.concatenate(pairs)
  exact = (one[found[:, 0]].astype(np.float64) * others[found[:, 1]]).sum(1)
  return found[exact > _DUPLICATE]


class Signatures:
  """Signatures in the order in which they were kept; compared all at once, as sets may be large."""

  def __init__(self):
    self._count = 0
    self._by_size: dict[int, _SameSize] = {}

  def near_duplicates(self, candidate: np.ndarray) -> np.ndarray:
    """Returns the numbers of those kept that are near-duplicates of a signature, rising."""
    others = self._by_size.get(candidate.size)
    return np.empty(0, int) if others is None else others.near_duplicates(candidate)

  def keep(self, candidate: np.ndarray) -> None:
    """Keeps a signature, whose number is how many were kept before."""
    others = self._by_size.setdefault(candidate.size, _SameSize(candidate.size))
    others.keep(candidate, self._count)
    self._count += 1

  def add(self, candidate: np.ndarray) -> bool:
    """Keeps a signature and returns True, unless it is a near-duplicate of one that was kept."""
    if self.near_duplicates(candidate).size:
      return False
    self.keep(candidate)
    return True


class _SameSize:
  """Signatures of one size, in arrays of which the first rows are in use."""

  def __init__(self, size: int):
    self._used = 0
    self._stacked, self._numbers = np.empty([64, size], np.float32), np.empty([64], np.int64)

  def near_duplicates(self, candidate: np.ndarray) -> np.ndarray:
    """Returns the numbers of the near-duplicates of a signature of this size, rising."""
    used = slice(self._used)
    return self._numbers[used][near_pairs(candidate[None], self._stacked[used])[:, 1]]

  def keep(self, candidate: np.ndarray, number: int) -> None:
    """Keeps a signature of this size under its number."""
    if self._used == len(self._stacked):  # doubled, so that a long list is not copied for each
      self._stacked = np.concatenate([self._stacked, np.empty_like(self._stacked)])
      self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
    self._stacked[self._used], self._numbers[self._used] = candidate, number
    self._used += 1
