"""Tests of the TFDS builder of the Warwick Electron Microscopy Datasets, on five small images."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets.wemd_stem import npy_images, wemd_stem_dataset_builder

pytest.importorskip("dill", reason="tfds.testing needs dill: pip install dill.")

Builder = wemd_stem_dataset_builder.Builder


class WemdStemTest(tfds.testing.DatasetBuilderTestCase):
  """TFDS's own checks: features, splits without overlap, tags, reloading, no forbidden file
  access.
  """

  DATASET_CLASS = Builder
  SPLITS = {"train": 4, "test": 1}


def _images(count=7, dtype=np.float32):
  return np.random.default_rng(0).normal(size=(count, 96, 96, 1)).astype(dtype)


def _build(tmp_path, array, config="crops_96"):
  manual = tmp_path / "manual"
  manual.mkdir()
  for c in Builder.BUILDER_CONFIGS:
    if c.name == config:
      np.save(manual / c.file_name, array)
  builder = Builder(config=config, data_dir=tmp_path / "data")
  builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
  return {
    split: np.stack([e["image"] for e in tfds.as_numpy(builder.as_dataset(split=split))])
    for split in ("train", "test")
  }


@pytest.mark.parametrize("config", [c.name for c in Builder.BUILDER_CONFIGS])
def test_splits_in_file_order_and_keeps_values(tmp_path, config):
  images = _images()
  images[1, 2, 3, 0], images[6, 0, 0, 0] = np.nan, -np.inf
  splits = _build(tmp_path, images, config)
  np.testing.assert_array_equal(splits["train"], images[:5])  # int(0.8 * 7) = 5
  np.testing.assert_array_equal(splits["test"], images[5:])


def test_float64_is_converted(tmp_path):
  images = _images(dtype=np.float64)
  splits = _build(tmp_path, images)
  assert splits["train"].dtype == np.float32
  np.testing.assert_array_equal(splits["test"], images[5:].astype(np.float32))


def test_missing_file_says_which_from_where_and_whither(tmp_path):
  manual = tmp_path / "manual"
  manual.mkdir()
  (manual / "something_else.npy").write_bytes(b"")
  builder = Builder(config="downsampled_96", data_dir=tmp_path / "data")
  with pytest.raises(FileNotFoundError) as caught:
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
  for part in (
    "'96x96.npy'",
    str(manual / "96x96.npy"),
    "https://github.com/Jeffrey-Ede/datasets/wiki",
  ):
    assert part in str(caught.value)


def test_missing_folder_shows_the_instructions(tmp_path):
  builder = Builder(config="crops_96", data_dir=tmp_path / "data")
  with pytest.raises(AssertionError, match="96x96_stem_crops.npy"):
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "none")
    )


@pytest.mark.parametrize(
  "array, message",
  [
    (np.zeros((5, 96, 96), np.float32), r"rank 3, shape \(5, 96, 96\); it must have rank 4"),
    (
      np.zeros((5, 512, 512, 1), np.float32),
      r"images of shape \(512, 512, 1\); they must be \(96, 96, 1\)",
    ),
    (np.zeros((1, 96, 96, 1), np.float32), "holds 1 images; at least 2"),
    (np.zeros((5, 96, 96, 1), np.uint8), "values of type uint8; they must be float32 or float64"),
    (np.asfortranarray(np.zeros((5, 96, 96, 1), np.float32)), "stored in Fortran order"),
  ],
)
def test_wrong_array_is_refused_with_what_was_found(tmp_path, array, message):
  with pytest.raises(ValueError, match=message):
    _build(tmp_path, array)


def test_not_a_numpy_file(tmp_path):
  path = npy_images.epath.Path(tmp_path / "page.npy")
  path.write_text("<html>Not found</html>")
  with pytest.raises(ValueError, match="page.npy is not a NumPy file"):
    npy_images.read_header(path)


def test_truncated_file(tmp_path):
  path = npy_images.epath.Path(tmp_path / "cut.npy")
  np.save(tmp_path / "cut.npy", _images())
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(ValueError, match="cut.npy has 258,076 bytes, but its head promises 258,176"):
    npy_images.read_header(path)
