"""launch.data: what the flags name becomes splits."""

import dataclasses
import json

import numpy as np
import pytest

from adaptive_stem_tf import config, specimen_store
from datasets import load as dataset_loader
from launch import data, data_stream
from tests import tiny


@pytest.fixture
def asked(monkeypatch):
  """Stands for TFDS: five specimens, of any split; tells what was asked for."""
  names = []

  def load_split(name, split):
    names.append((name, split))
    return 7 + 3 * tiny.images(5, seed=1)[: int(split[7:-1])]

  monkeypatch.setattr(dataset_loader, "load_split", load_split)
  return names


def test_extra_specimens_train_beside_those_of_images_and_nowhere_else(images_file, asked, capsys):
  alone = data.load(config.Data(images=str(images_file), validation_fraction=0.25), tiny.SIZE)
  settings = config.Data(images=str(images_file), validation_fraction=0.25, extra_specimens=3)
  splits = data.load(settings, tiny.SIZE)
  assert asked == [("simulated_stem/crops_96", "train[:3]")]
  assert "3 specimens more to train on" in capsys.readouterr().out
  np.testing.assert_array_equal(splits.train[:12], alone.train)
  np.testing.assert_allclose(splits.train[12:], tiny.images(5, seed=1)[:3], atol=1e-6)  # normalised
  for name in ("validation", "test"):
    np.testing.assert_array_equal(getattr(splits, name), getattr(alone, name))
  np.testing.assert_array_equal(data.load_split(settings, tiny.SIZE, "train")[0], alone.train)


def test_extra_specimens_that_are_not_there_are_told(images_file, asked):
  with pytest.raises(
    ValueError, match=r"extra_specimens=6 of \[16, 16\] px are not there: .* has 5 of \[16, 16\] px"
  ):
    data.load(config.Data(images=str(images_file), extra_specimens=6), tiny.SIZE)
  with pytest.raises(
    ValueError, match="extra_specimens=2 are added to those of --images, which is not given"
  ):
    data._with_extra(tiny.splits(), config.Data(extra_specimens=2))


def test_specimens_stay_in_a_file_as_they_would_be_in_memory(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(data_stream, "_CHUNK", 3)
  images = 5 * tiny.images(20) + 2
  images[1, 2, 3], images[4] = np.nan, 7.0
  np.save(tmp_path / "crops.npy", images[..., 0].astype(np.float64))
  files = ["a"] * 4 + ["b"] * 5 + ["c"] * 7 + ["d"] * 4  # b is for validation, d for tests
  (tmp_path / "crops.json").write_text(json.dumps([{"file": file} for file in files]))
  settings = config.Data(images=str(tmp_path / "crops.npy"), validation_fraction=0.31)
  expected = data.load(settings, tiny.SIZE)
  said = capsys.readouterr().out
  streamed = data.load(settings, tiny.SIZE, tmp_path / "run" / "specimens.npy")
  assert isinstance(streamed.train, np.memmap) and len(streamed.validation) == 5
  assert capsys.readouterr().out == said and "1 NaN or infinite" in said
  for ours, theirs in zip(streamed[:3], expected[:3], strict=True):
    np.testing.assert_array_equal(ours, theirs)
  monkeypatch.setattr(specimen_store, "keep", None)  # it is there
  again = data.load(settings, tiny.SIZE, tmp_path / "run" / "specimens.npy")
  np.testing.assert_array_equal(again.train, expected.train)
  with pytest.raises(
    ValueError, match=r"specimens of shape \[11, 16, 16, 1\], and there are \[16,"
  ):
    data.load(
      dataclasses.replace(settings, validation_fraction=0.0),
      tiny.SIZE,
      tmp_path / "run/specimens.npy",
    )
  with pytest.raises(ValueError, match="training specimens are 16 px wide and image_size=32"):
    data.load(settings, 32, tmp_path / "other.npy")
  with pytest.raises(ValueError, match="extra_specimens=3 and images_in=stream contradict"):
    data.load(dataclasses.replace(settings, extra_specimens=3), tiny.SIZE, tmp_path / "other.npy")


def test_specimens_of_a_data_set_stay_in_a_file(tmp_path, monkeypatch):
  parts = {"train": 3 * tiny.images(10), "test": tiny.images(4, seed=1)}

  def load_split(name, split):
    part, _, rows = split.rstrip("]").partition("[")
    first, _, last = rows.partition(":")
    return parts[part][int(first or 0) : int(last) if last else None].copy()

  def chunks(name, split, count):
    images = load_split(name, split)
    yield from (images[start : start + count] for start in range(0, len(images), count))

  monkeypatch.setattr(data_stream, "_CHUNK", 3)
  monkeypatch.setattr(dataset_loader, "load_split", load_split)
  monkeypatch.setattr(dataset_loader, "chunks", chunks)
  monkeypatch.setattr(dataset_loader, "size", lambda name, split: (10, (tiny.SIZE, tiny.SIZE, 1)))
  for fraction in (0.0, 0.25):
    settings = config.Data(validation_fraction=fraction)
    expected = data.load(settings, tiny.SIZE)
    streamed = data.load(settings, tiny.SIZE, tmp_path / f"{fraction}.npy")
    for ours, theirs in zip(streamed[:3], expected[:3], strict=True):
      np.testing.assert_array_equal(ours, theirs)
