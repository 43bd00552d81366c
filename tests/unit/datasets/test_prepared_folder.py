"""Data sets that somebody prepared elsewhere, by their folder; files that are not there."""

import numpy as np
import pytest
import tensorflow as tf

tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

from datasets import load

SHAPE = (8, 8, 1)


def write(folder, feature="image"):
  """Writes a data set of two training images and a test image with TFDS."""
  images = {"train": np.arange(128.0).reshape(2, *SHAPE), "test": np.ones([1, *SHAPE])}
  splits = {
    name: tf.data.Dataset.from_tensor_slices({feature: value.astype(np.float32)})
    for name, value in images.items()
  }
  tfds.dataset_builders.store_as_tfds_dataset(
    name="mine",
    version="1.0.0",
    features=tfds.features.FeaturesDict(
      {feature: tfds.features.Tensor(shape=SHAPE, dtype=np.float32)}
    ),
    split_datasets=splits,
    data_dir=folder,
    disable_shuffling=True,
  )
  return images


@pytest.mark.parametrize("below", ["", "mine", "mine/1.0.0"])
def test_a_folder_is_loaded(tmp_path, below):
  images = write(tmp_path)
  for split in ("train", "test"):
    folder = str(tmp_path / below)
    np.testing.assert_array_equal(load.load_split(folder, split), images[split])
    assert load.size(folder, split) == (len(images[split]), SHAPE)
    np.testing.assert_array_equal([one[0] for one in load.chunks(folder, split, 1)], images[split])


def test_a_folder_of_something_else_is_refused(tmp_path):
  with pytest.raises(ValueError, match="holds 0 prepared data sets: give the folder of one"):
    load.load_split(str(tmp_path), "train")
  write(tmp_path, "picture")
  with pytest.raises(ValueError, match="has the features picture: specimens are its feature"):
    load.load_split(str(tmp_path), "train")


def test_files_that_are_downloaded_by_hand_are_asked_for(tmp_path):
  with pytest.raises(FileNotFoundError, match="wemd_stem needs files that are downloaded by hand"):
    load.load_split("wemd_stem", "train", str(tmp_path))
