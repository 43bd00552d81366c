"""Near-duplicates among files: in one process, and in parts."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf.micrographs import distinct


def like(label):
  """Returns a signature [16] for a number below 12 and a tenth.

  3.1 nearly equals 3.0 and 3.2, which do not nearly equal each other.
  """
  number, tenth = divmod(round(10 * label), 10)
  signature = np.eye(12, 16, dtype=np.float32)[number]
  signature[12] = 0.12 * tenth
  return signature / np.linalg.norm(signature)


def file(order, whole, crops, shape=(10, 20)):
  """Returns a file whose micrograph and crops look like these labels."""
  stacked = np.array([like(label) for label in crops] or np.empty([0, 0]), np.float32)
  return distinct.FileSignatures(order, f"file {order}", shape, like(whole), stacked)


def one_by_one(files):
  """Returns what files lose, by name, if a process goes through them in order."""
  memory = distinct.Distinct()
  decisions = {file.name: memory.add(file) for file in files}
  return {name: decision for name, decision in decisions.items() if decision != distinct.Decision()}


def in_parts(files, num_groups, rng):
  """Returns the same from pairs of groups that are compared in any order."""
  meetings = {}
  for file in [files[i] for i in rng.permutation(len(files))]:
    for pair in distinct.groups(file.order, num_groups):
      meetings.setdefault(pair, []).append(file)
  alike = [one for pair in meetings for one in distinct.compare(pair, meetings[pair], num_groups)]
  return distinct.decide([alike[i] for i in rng.permutation(len(alike))])


def test_by_hand():
  files = [
    file(0, 0, [1, 2]),
    file(1, 1, [2, 3]),  # loses one crop
    file(2, 0, [4, 5], (40, 79)),  # a copy, scaled and cut a little
    file(3, 0, [4, 1], (20, 20)),  # another shape, so no copy: what a copy held is not missed
    file(4, 2, [1, 2, 3]),  # loses all
    file(5, 2, [6]),  # like file 4, of which nothing is left
    file(6, 2, []),  # a copy of file 5, though it has no crops
    file(7, 7, [7.0]),
    file(8, 8, [7.1]),  # like a crop of file 7
    file(9, 9, [7.2]),  # like one of file 8, which was dropped
  ]
  expected = {
    "file 1": distinct.Decision(dropped=frozenset([0])),
    "file 2": distinct.Decision("file 0"),
    "file 3": distinct.Decision(dropped=frozenset([1])),
    "file 4": distinct.Decision(dropped=frozenset([0, 1, 2])),
    "file 6": distinct.Decision("file 5"),
    "file 8": distinct.Decision(dropped=frozenset([0])),
  }
  assert one_by_one(files) == expected
  for num_groups in (1, 2, 3, 10):
    assert in_parts(files, num_groups, np.random.default_rng(num_groups)) == expected


def test_whole_fields_are_compared_as_wholes():
  labels = [0, 1, 0, 0.1, 0.2, 1]  # 0.1 nearly equals 0 and 0.2, which differ
  files = [file(order, label, [])._replace(crops=None) for order, label in enumerate(labels)]
  expected = {
    "file 2": distinct.Decision("file 0"),
    "file 3": distinct.Decision("file 0"),
    "file 5": distinct.Decision("file 1"),
  }
  assert one_by_one(files) == expected
  for num_groups in (1, 3):
    assert in_parts(files, num_groups, np.random.default_rng(num_groups)) == expected


LABELS = st.builds(lambda number, tenth: number + tenth / 10, st.integers(0, 4), st.integers(0, 2))


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
  st.lists(
    st.tuples(
      LABELS,
      # Crops of a file are distinct: near-duplicates within it are dropped when it is cut.
      st.lists(LABELS, max_size=3, unique_by=int),
      st.sampled_from([(10, 20), (10, 21)]),
    ),
    max_size=9,
  ),
  st.integers(1, 4),
  st.integers(0, 1000),
)
def test_parts_decide_as_one_process_does(files, num_groups, seed):
  files = [file(order, *rest) for order, rest in enumerate(files)]
  assert in_parts(files, num_groups, np.random.default_rng(seed)) == one_by_one(files)


@pytest.mark.parametrize("num_groups", [1, 2, 5])
def test_any_two_files_meet_once(num_groups):
  pairs = [set(distinct.groups(order, num_groups)) for order in range(7)]
  for order, own in enumerate(pairs):
    assert len(own) == num_groups
    for other in range(order):
      same_group = (order - other) % num_groups == 0
      # Files of one group share all of its pairs, of which one compares them.
      assert len(own & pairs[other]) == (num_groups if same_group else 1)
