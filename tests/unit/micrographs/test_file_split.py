"""Whole files for training and for test, with the boundary where a file of specimens is split."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf import input_pipeline
from adaptive_stem_tf.micrographs import file_split


@hypothesis.given(st.lists(st.integers(1, 60), min_size=2, max_size=30), st.integers(0, 1000))
def test_the_boundary_falls_between_files(counts, seed):
  split = file_split.split(counts, seed)
  assert split.train and split.test and not set(split.train) & set(split.test)
  assert all(0 <= kept <= count for kept, count in zip(split.kept, counts, strict=True))
  order = np.repeat(
    [*split.train, *split.test], [split.kept[file] for file in [*split.train, *split.test]]
  )
  train, test = input_pipeline.split_file_order(order)
  assert set(train) == set(split.train) and set(test) == set(split.test)


def test_every_number_of_crops_fits_and_no_more_would():
  fits = lambda train, test: int(0.8 * (train + test)) == train
  for train in range(1, 200):
    for test in range(1, 100):
      ours = file_split._fitting(train, test)
      assert fits(*ours) and ours[0] <= train and ours[1] <= test and min(ours) > 0
      if ours != (train, test):
        assert not fits(ours[0] + (ours[0] < train), ours[1] + (ours[1] < test))


def test_files_that_fit_are_kept_whole():
  split = file_split.split([20, 20, 20, 20, 20], 0)
  assert split.kept == [20] * 5 and len(split.train) == 4
  assert file_split.split([20] * 5, 0) == split
  assert len({tuple(file_split.split([20] * 5, seed).test) for seed in range(20)}) > 1


def test_crops_are_dropped_where_there_are_most():
  split = file_split.split([30, 3], 0)
  assert split == ([0], [1], [12, 3])


def test_one_micrograph_cannot_be_split():
  with pytest.raises(ValueError, match="crops come from 1 micrograph: .* at least two"):
    file_split.split([5], 0)
  with pytest.raises(ValueError, match="crops come from 0 micrographs"):
    file_split.split([], 0)
