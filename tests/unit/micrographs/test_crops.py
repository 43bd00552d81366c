"""Cutting crops, and the rules that exclude some."""

import numpy as np
import pytest

from adaptive_stem_tf.micrographs import crops
from tests.unit.micrographs import fields

SIZE = 32
SMALL = crops.Cutting(size=SIZE, max_crops=0)


def noise(rng, height=SIZE, width=SIZE):
  return rng.standard_normal([height, width]).astype(np.float32)


def test_binning_averages_and_cuts_off_what_is_left_over():
  image = np.arange(5 * 7, dtype=np.float32).reshape(5, 7)
  np.testing.assert_array_equal(crops.bin_down(image, 2), [[4, 6, 8], [18, 20, 22]])
  assert crops.bin_down(image, 1) is image


@pytest.mark.parametrize(
  "stride, rows, columns",
  [(0, [2, 34, 66], [4, 36]), (20, [4, 24, 44, 64], [0, 20, 40]), (70, [34], [20])],
)
def test_the_grid_is_centred(stride, rows, columns):
  image = fields.smooth(100, 72)
  cut = crops.cut(image, crops.Cutting(size=SIZE, stride=stride, max_crops=0))
  places = [(crop.row, crop.column) for crop in cut.crops]
  assert places == [(row, column) for row in rows for column in columns]
  for crop in cut.crops:
    np.testing.assert_array_equal(
      crop.image, image[crop.row : crop.row + SIZE, crop.column : crop.column + SIZE]
    )


def test_places_are_px_of_the_file_before_binning():
  image = fields.smooth(140, 64, noise=0.0)
  cut = crops.cut(image, crops.Cutting(size=SIZE, binning=2, max_crops=0))
  # 70 px binned, 3 px left over above
  assert [(crop.row, crop.column) for crop in cut.crops] == [(6, 0), (70, 0)]
  np.testing.assert_allclose(cut.crops[0].image[0, 0], image[6:8, 0:2].mean(), rtol=1e-6)


def test_a_micrograph_smaller_than_a_crop_is_refused():
  with pytest.raises(ValueError, match="40 x 40 px is smaller than a crop of 96 x 96 px"):
    crops.cut(np.zeros([40, 40], np.float32), crops.Cutting())
  with pytest.raises(ValueError, match="100 x 100 px binned 2 x 2 is smaller than a crop of 96"):
    crops.cut(np.zeros([100, 100], np.float32), crops.Cutting(binning=2))


@pytest.mark.parametrize(
  "field, value", [("size", 7), ("stride", -1), ("binning", 0), ("max_crops", -1), ("seed", -1)]
)
def test_values_out_of_range_are_refused(field, value):
  with pytest.raises(ValueError, match=f"{field}={value} is out of range"):
    crops.Cutting(**{field: value})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_crop_with_a_pixel_that_is_not_finite_is_dropped(bad):
  image = fields.smooth(32, 64)
  image[3, 40] = bad
  cut = crops.cut(image, SMALL)
  assert [crop.column for crop in cut.crops] == [0] and cut.dropped["not finite"] == 1


def test_constant_and_mostly_clipped_crops_are_flat():
  image = fields.smooth(32, 96)
  image[:, 32:64] = 0.5
  image[:17, 64:] = 1.0  # 17 of 32 rows
  cut = crops.cut(image, SMALL)
  assert [crop.column for crop in cut.crops] == [0] and cut.dropped["flat"] == 2
  image[15:17, 64:] = fields.smooth(2, 32)  # 15 of 32 rows
  assert len(crops.cut(image, SMALL).crops) == 2


def test_a_constant_micrograph_gives_nothing():
  cut = crops.cut(np.full([64, 64], 7, np.float32), SMALL)
  assert not cut.crops and cut.dropped["flat"] == 4


def test_noise_is_vacuum_and_structure_is_not(rng):
  assert crops.excluded(noise(rng), 1e-9) == "vacuum"
  assert crops.excluded(fields.smooth(SIZE, SIZE), 1e-9) is None


def test_noise_ratio_of_noise_of_blocks_and_of_smooth_fields(rng):
  assert crops.noise_ratio(noise(rng, 256, 256)) == pytest.approx(1.0, abs=0.15)
  checks = np.kron(noise(rng, 64, 64), np.ones([4, 4]))
  assert crops.noise_ratio(checks) == pytest.approx(16.0, rel=0.15)  # independent blocks of 4 x 4
  assert crops.noise_ratio(fields.smooth(256, 256, noise=0.0)) > 30


@pytest.mark.parametrize(
  "share, level, rule",
  [(0.03, 0.0, None), (0.01, 0.0, "vacuum"), (0.06, 0.5, "vacuum"), (0.2, 0.5, None)],
)
def test_vacuum_by_contrast_and_noise_together(share, level, rule):
  crop = fields.smooth(96, 96, noise=0.0)
  crop = crop + level * np.random.default_rng(1).standard_normal(crop.shape).astype(np.float32)
  assert (crops.noise_ratio(crop) < 16) == (level > 0)
  assert crops.excluded(crop, crops._contrast(crop) / share) == rule


def test_near_duplicates_of_one_micrograph_are_dropped():
  tile = fields.smooth(SIZE, SIZE, noise=0.0)
  image = np.concatenate([tile, 3 * tile + 1, fields.smooth(SIZE, SIZE, 5), tile], 1)
  image += 0.01 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
  cut = crops.cut(image, SMALL)
  assert [crop.column for crop in cut.crops] == [0, 64] and cut.dropped["near-duplicate"] == 2


def test_crops_beyond_the_limit_are_drawn_at_random_from_the_seed():
  image = fields.smooth(200, 200)
  cuts = [crops.cut(image, crops.Cutting(size=SIZE, max_crops=5, seed=seed)) for seed in (0, 0, 1)]
  places = [[(crop.row, crop.column) for crop in cut.crops] for cut in cuts]
  assert places[0] == places[1] != places[2] and places[0] == sorted(places[0])
  assert [len(place) for place in places] == [5, 5, 5] and cuts[0].dropped[
    "beyond --max_crops"
  ] == 31
