"""From files to crops, provenance and a contact sheet."""

import os

import numpy as np
import pytest

from adaptive_stem_tf import input_pipeline
from adaptive_stem_tf.micrographs import contact_sheet, crops, preparation
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from tests.unit.micrographs import fields

CUTTING = crops.Cutting(size=32)


@pytest.fixture
def folder(tmp_path):
  """Six micrographs of other sizes, in two folders."""
  (tmp_path / "more").mkdir()
  for seed, name in enumerate(
    ["a.npy", "b.npy", "c.npy", "more/d.npy", "more/e.npy", "more/f.npy"]
  ):
    np.save(tmp_path / name, 10 * fields.smooth(64 + 32 * (seed % 3), 100, seed))
  return tmp_path


def collect(folder, cutting=CUTTING):
  collection = preparation.Collection(cutting)
  said = {
    path: collection.add(preparation.crops_of(path, cutting))
    for path in preparation.find([str(folder)])
  }
  return collection, said


def test_files_are_found_by_name_pattern_and_folder(folder):
  (folder / ".hidden.npy").write_bytes(b"")
  at = lambda *names: [str(folder / name) for name in names]
  assert preparation.find([str(folder / "more")]) == at("more/d.npy", "more/e.npy", "more/f.npy")
  assert preparation.find([str(folder / "[ab].npy"), str(folder / "a.npy")]) == at("a.npy", "b.npy")
  assert (
    len(preparation.find([str(folder)]))
    == len(preparation.find([str(folder / "**" / "*.npy")]))
    == 6
  )
  os.rename(folder / "a.npy", folder / "a[1].npy")
  assert preparation.find([str(folder / "a[1].npy")]) == at("a[1].npy")
  with pytest.raises(FileNotFoundError, match=r"none\* matches no file"):
    preparation.find([str(folder / "none*")])


def test_crops_are_scaled_and_traced_to_their_pixels(folder):
  prepared = collect(folder)[0].prepare()
  assert prepared.images.dtype == np.float32 and prepared.images.shape[1:] == (32, 32, 1)
  assert len(prepared.provenance) == len(prepared.images) > 20
  for image, entry in zip(prepared.images[..., 0], prepared.provenance):
    assert entry["source"] == str(folder) and image.min() == 0 and image.max() == 1
    stored = np.load(folder / entry["file"])[entry["y"] :, entry["x"] :][:32, :32]
    np.testing.assert_allclose(
      entry["min"] + image * (entry["max"] - entry["min"]), stored, atol=1e-5
    )


def test_the_split_of_the_file_is_by_micrograph(folder):
  prepared = collect(folder)[0].prepare()
  train, test = input_pipeline.split_file_order(
    np.array([entry["file"] for entry in prepared.provenance])
  )
  assert set(train) and set(test) and not set(train) & set(test)
  assert [entry["split"] for entry in prepared.provenance] == ["train"] * len(train) + [
    "test"
  ] * len(test)


def test_the_report_accounts_for_every_crop(folder):
  collection, said = collect(folder)
  prepared = collection.prepare()
  assert all("crops" in words for words in said.values())
  for file in prepared.report["files"]:
    height, width = file["shape"]
    assert file["crops"] + sum(file["dropped"].values()) == (height // 32) * (width // 32)
    assert file["crops"] == len(prepared.placed.get(file["file"], []))
  assert "noise ratio" in prepared.report["rules"] and prepared.report["cutting"]["size"] == 32


def test_the_pixel_size_is_that_of_the_crop(folder):
  file = preparation.crops_of(folder / "b.npy", crops.Cutting(size=32, binning=2))._replace(
    pixel_size_nm=0.3
  )
  entry = preparation._common(file, str(folder), crops.Cutting(size=32, binning=2))
  assert entry["pixel_size"] == "0.6 nm" and entry["pixel_size_nm"] == 0.6 and entry["bin"] == 2
  assert (
    preparation._common(file._replace(pixel_size_nm=None), str(folder), CUTTING)["pixel_size"]
    == "unknown"
  )


def test_a_copy_of_a_micrograph_is_left_out_but_not_of_one_that_gave_nothing(folder):
  image = np.load(folder / "c.npy")
  # scaled, another type
  np.save(folder / "z.npy", (1000 + 7 * np.kron(image, np.ones([2, 2]))).astype(np.uint16))
  collection, said = collect(folder)
  assert said[str(folder / "z.npy")] == f"left out: a copy of {folder / 'c.npy'}"
  assert collection.copies == {str(folder / "z.npy"): str(folder / "c.npy")}
  image[::20, ::20] = np.nan
  np.save(folder / "c.npy", image)
  assert collect(folder)[0].copies == {}


def test_near_duplicates_of_other_files_are_dropped(folder):
  part = np.load(folder / "a.npy")[0:32, 2:34]
  part = np.concatenate([fields.smooth(32, 32, 9), 2 * part, fields.smooth(32, 32, 10)], 1)
  np.save(folder / "z.npy", part)
  _, said = collect(folder)
  assert said[str(folder / "z.npy")].startswith("2 crops, 1 near-duplicate")


def test_a_micrograph_that_is_too_small_names_its_file(folder):
  with pytest.raises(MicrographError, match="a.npy: 64 x 100 px is smaller than a crop of 96"):
    preparation.crops_of(folder / "a.npy", crops.Cutting())


def test_the_contact_sheet_frames_every_crop(folder):
  collection, _ = collect(folder)
  prepared = collection.prepare()
  drawn = contact_sheet.draw(collection.files, prepared, CUTTING)
  assert sum(len(axes.patches) for axes in drawn.axes) == len(prepared.images)
  assert "training crops" in drawn.get_suptitle()


def test_a_sheet_of_many_files_shows_some():
  image = np.zeros([1, 32, 32, 1], np.float32)
  file = preparation.FileCrops(
    "a", (32, 32), "uint8", None, (), crops.Cut([], {}), np.zeros(144), image[0, ..., 0], 1
  )
  prepared = preparation.Prepared(
    image, [{"y": 0, "x": 0, "split": "train"}], {}, {"a": [(0, 0, "train")]}
  )
  assert "16 of 40 files" in contact_sheet.draw([file] * 40, prepared, CUTTING).get_suptitle()
