"""Tests of whole micrographs as fields, by known images."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from adaptive_stem_tf.micrographs import readers, whole_fields
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from adaptive_stem_tf.micrographs.whole_fields import FieldReading
from tests.unit.micrographs import fields

REAL = pathlib.Path(__file__).parents[4] / "shared" / "data" / "fields"


def test_a_small_micrograph_keeps_its_pixels():
  image = fields.smooth(100, 140)
  field, binning = whole_fields.from_image(image)
  low, high = np.percentile(image, [0.1, 99.9])
  assert binning == 1 and field.dtype == np.float32
  np.testing.assert_allclose(field, np.clip(2 * (image - low) / (high - low) - 1, -1, 1), atol=1e-5)
  assert (field == 1).any() and (field == -1).any()


def test_a_large_micrograph_is_averaged_over_areas():
  image = fields.smooth(300, 400)
  field, binning = whole_fields.from_image(image, FieldReading(size=200))
  means = image.reshape(150, 2, 200, 2).mean((1, 3))
  assert binning == 2
  np.testing.assert_allclose(field, whole_fields.to_unit_range(means), atol=1e-5)


@pytest.mark.parametrize("shape", [(640, 640), (333, 517), (2048, 1000)])
def test_the_longer_side_is_as_long_as_allowed(shape):
  field, binning = whole_fields.from_image(fields.smooth(*shape), FieldReading(size=256))
  assert max(field.shape) == 256 and binning == max(shape) / 256
  assert min(field.shape) == round(min(shape) / binning)


def test_the_information_bar_is_cut_off_before_intensities_are_scaled():
  image = fields.smooth(120, 110)
  barred = np.concatenate([image, np.full((20, 110), 50.0, np.float32)])
  np.testing.assert_array_equal(
    whole_fields.from_image(barred, rows=120)[0], whole_fields.from_image(image)[0]
  )


def test_the_square_is_in_the_middle():
  image = fields.smooth(100, 150)
  square, _ = whole_fields.from_image(image, FieldReading(square=True))
  np.testing.assert_array_equal(square, whole_fields.from_image(image[:, 25:125])[0])


def test_pixels_that_are_not_finite_become_the_median():
  image = fields.smooth(100, 100)
  image[3, 4], image[50, 60] = np.nan, np.nan
  image[10] = np.inf
  field, _ = whole_fields.from_image(image)
  assert np.isfinite(field).all()
  np.testing.assert_allclose(field[[3, 10], [4, 7]], np.median(field), atol=1e-3)


def test_one_hot_pixel_does_not_set_the_contrast():
  image = fields.smooth(100, 100)
  expected = whole_fields.from_image(image)[0]
  image[10, 10] = 1e6
  difference = np.abs(whole_fields.from_image(image)[0] - expected)
  assert np.median(difference) < 0.02 and image[10, 10] == 1e6  # and the image is left as it was


def save(path, image):
  eight = np.clip(255 * image, 0, 255).astype(np.uint8)
  if path.suffix == ".npy":
    np.save(path, image)
  elif path.suffix == ".npz":
    np.savez(path, image)
  else:
    Image.fromarray(eight).save(path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "tif", "png", "jpg"])
def test_every_type_of_file_is_read(tmp_path, suffix):
  image = fields.smooth(150, 120, noise=0)
  save(tmp_path / f"a.{suffix}", image)
  whole = whole_fields.read(tmp_path / f"a.{suffix}", FieldReading(size=100), rows=120)
  expected, binning = whole_fields.from_image(image[:120], FieldReading(size=100))
  np.testing.assert_allclose(whole.field, expected, atol=0.05)
  assert whole.shape == (150, 120) and whole.binning == binning == 1.2
  assert "rows 0 to 119" in whole.notes and whole.pixel_size_nm is None


def test_colour_is_averaged_though_crops_refuse_it(tmp_path):
  grey = np.clip(255 * fields.smooth(100, 100), 0, 255).astype(np.uint8)
  coloured = np.stack([grey] * 3, -1)
  coloured[90:95, 10:40] = 255, 0, 0  # a red scale bar
  Image.fromarray(coloured).save(tmp_path / "a.png")
  whole = whole_fields.read(tmp_path / "a.png")
  np.testing.assert_allclose(whole.field, whole_fields.from_image(coloured.mean(-1))[0], atol=1e-5)
  assert any("in colour" in note for note in whole.notes)
  with pytest.raises(MicrographError, match="a.png: it is in colour"):
    readers.read(tmp_path / "a.png")


def test_pieces_cover_a_large_micrograph_at_every_scale(tmp_path):
  image = fields.smooth(400, 480)
  np.save(tmp_path / "a.npy", image)
  found = whole_fields.read_all(tmp_path / "a.npy", FieldReading(size=120, pieces=True))
  assert [whole.binning for whole in found] == [4] + [2] * 4 + [1] * 16
  covered = np.zeros(image.shape)
  for whole in found[5:]:
    row, column = whole.place
    piece = image[row : row + 120, column : column + 120]
    np.testing.assert_allclose(whole.field, whole_fields.to_unit_range(piece), atol=1e-5)
    covered[row : row + 120, column : column + 120] = 1
  assert covered.all()
  plain = whole_fields.read_all(tmp_path / "a.npy", FieldReading(size=120))
  assert len(plain) == 1
  np.testing.assert_array_equal(plain[0].field, found[0].field)


def test_empty_pieces_are_left_out(tmp_path):
  image = fields.smooth(240, 240)
  image[:120, :120] = 0
  np.save(tmp_path / "a.npy", image)
  found = whole_fields.read_all(tmp_path / "a.npy", FieldReading(size=120, pieces=True))
  assert [whole.place for whole in found] == [(0, 0), (0, 120), (120, 0), (120, 120)]


@pytest.mark.parametrize(
  "shape, options, rows, message",
  [
    ((95, 200), {}, None, "a field of 95 x 200 px is left of it"),
    ((1000, 150), {}, None, "a field of 512 x 77 px"),
    ((200, 200), {}, 201, "rows=201: the image has 200"),
    ((200, 200), {}, 0, "rows=0"),
  ],
)
def test_what_is_no_field_is_refused(tmp_path, shape, options, rows, message):
  np.save(tmp_path / "a.npy", fields.smooth(*shape))
  with pytest.raises(MicrographError, match=f"a.npy: .*{message}"):
    whole_fields.read(tmp_path / "a.npy", FieldReading(**options), rows)


def test_a_constant_micrograph_and_a_small_size_are_refused(tmp_path):
  np.save(tmp_path / "a.npy", np.ones((100, 100)))
  with pytest.raises(MicrographError, match="the same intensity"):
    whole_fields.read(tmp_path / "a.npy")
  with pytest.raises(ValueError, match="size=95"):
    FieldReading(size=95)
  with pytest.raises(dataclasses.FrozenInstanceError):
    FieldReading().size = 3


def test_an_archive_of_several_arrays_is_refused(tmp_path):
  np.savez(tmp_path / "a.npz", a=np.ones((100, 100)), b=np.ones((100, 100)))
  with pytest.raises(MicrographError, match=r"a.npz: it holds 2 arrays \(a, b\)"):
    readers.read(tmp_path / "a.npz")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is missing: it holds real micrographs.")
def test_real_fields_end_above_their_information_bars():
  entries = json.loads((REAL / "fields.json").read_text())
  barred = [entry for entry in entries if entry["rows"] and entry["split"] == "train"][:3]
  for entry in barred:
    whole = whole_fields.read(REAL / entry["file"], rows=entry["rows"])
    assert max(whole.field.shape) == 512
    assert whole.field.shape[0] == round(entry["rows"] / whole.binning)
    assert whole.field[-4:].std() > 0.05  # an information bar would be black
