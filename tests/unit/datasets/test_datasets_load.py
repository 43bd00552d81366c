"""Tests of `load_split`."""

from unittest import mock

import numpy as np
import pytest

from datasets import load
from datasets.simulated_stem import simulate, simulated_stem_dataset_builder

Builder = simulated_stem_dataset_builder.Builder


@pytest.fixture(autouse=True)
def few_examples():
  with mock.patch.object(Builder, "EXAMPLES", {"train": 5, "test": 2}):
    yield


@pytest.mark.parametrize(
  "name, config",
  [("simulated_stem", "crops_96"), ("simulated_stem/downsampled_96", "downsampled_96")],
)
def test_returns_the_split_in_order(tmp_path, name, config):
  images = load.load_split(name, "train", str(tmp_path))
  micrograph = simulate.MICROGRAPHS[config]
  expected = np.stack(
    [simulate.example(Builder.SEED, "train", i, micrograph).image for i in range(5)]
  )
  assert images.dtype == np.float32
  np.testing.assert_array_equal(images, expected)
  np.testing.assert_array_equal(load.load_split(name, "train[2:4]", str(tmp_path)), expected[2:4])


def test_reuses_prepared_data(tmp_path):
  first = load.load_split("simulated_stem", "test", str(tmp_path))
  with mock.patch.object(simulate, "example", side_effect=AssertionError("rendered again")):
    np.testing.assert_array_equal(load.load_split("simulated_stem", "test", str(tmp_path)), first)


def test_available_lists_every_builder():
  assert load.available() == ["micrographs", "simulated_stem", "wemd_stem"]


@pytest.mark.parametrize(
  "name, message",
  [
    (
      "mnist",
      r"Unknown data set 'mnist'; choose one of \['micrographs', 'simulated_stem', 'wemd_stem'\]",
    ),
    (
      "wemd_stem/tem",
      r"Unknown configuration 'tem' of wemd_stem; choose one of \['crops_96', 'downsampled_96'\]",
    ),
    ("simulated_stem/", r"Unknown configuration '' of simulated_stem"),
  ],
)
def test_unknown_names_are_refused(tmp_path, name, message):
  with pytest.raises(ValueError, match=message):
    load.load_split(name, "train", str(tmp_path))


def test_unknown_split_is_refused(tmp_path):
  with pytest.raises(ValueError, match="valid"):
    load.load_split("simulated_stem", "valid", str(tmp_path))
