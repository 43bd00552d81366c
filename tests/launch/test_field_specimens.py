"""Which fields scans are compared on."""

import json

import numpy as np
import pytest

from launch import field_specimens

_CROPS = 10


@pytest.fixture
def crops(tmp_path, rng_crops):
  """A file of crops with where they come from beside it."""
  np.save(tmp_path / "crops.npy", rng_crops)
  entries = [{"source": "lab", "file": f"{i // 5}.tif", "kind": "ADF"} for i in range(_CROPS)]
  (tmp_path / "crops.json").write_text(json.dumps(entries))
  return str(tmp_path / "crops.npy")


@pytest.fixture
def rng_crops():
  """Crops [N, S, S, 1], each of another range."""
  random = np.random.default_rng(0)
  return random.uniform(0, 1 + np.arange(_CROPS)[:, None, None, None], (_CROPS, 96, 96, 1))


def test_crops_are_split_and_scaled_as_in_training_on_crops(crops, rng_crops):
  specimens = field_specimens.read([crops], 512, "test")
  assert [s.file for s in specimens] == ["crops.npy#0", "crops.npy#1"]
  assert {(s.source, s.kind) for s in specimens} == {("lab/1.tif", "ADF")}
  for specimen, crop in zip(specimens, rng_crops[8:]):
    low, high = crop.min(), crop.max()
    np.testing.assert_allclose(
      specimen.image, 2 * (crop[..., 0] - low) / (high - low) - 1, atol=1e-5
    )


def test_every_crop_is_read_without_a_split(crops):
  assert len(field_specimens.read([crops], 512, None)) == _CROPS


def test_an_image_in_a_numpy_file_is_one_field(tmp_path, rng_crops):
  np.save(tmp_path / "one.npy", rng_crops[3, ..., 0])
  [specimen] = field_specimens.read([str(tmp_path / "one.npy")], 512, None)
  assert specimen.image.shape == (96, 96) and specimen.file == "one.npy"


def test_kinds_of_simulated_fields_take_turns():
  kinds = ("particles", "lattice")
  specimens = field_specimens.simulate(4, 3, 96, kinds)
  assert [s.kind for s in specimens] == ["particles", "lattice"] * 2
  assert len({s.source for s in specimens}) == 4 and all(s.truth is not None for s in specimens)
