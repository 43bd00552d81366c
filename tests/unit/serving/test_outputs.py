"""Files of images, as others read them."""

import numpy as np
import pytest
import tifffile

from adaptive_stem_tf.micrographs import readers
from adaptive_stem_tf.serving import outputs

IMAGE = np.float32(np.arange(48).reshape(6, 8))


def test_sizes_and_origins_are_in_the_tags_of_gatan_and_imagej(tmp_path):
  file = tmp_path / "image.tif"
  outputs.write_tiff(file, IMAGE, 0.25, (4, 2))
  with tifffile.TiffFile(file) as tiff:
    tags = {tag.code: tag.value for tag in tiff.pages[0].tags}
    assert tiff.imagej_metadata["unit"] == "nm"
  columns_then_rows = [tags[code] for code in (65003, 65004, 65006, 65007, 65009, 65010)]
  assert columns_then_rows == ["nm", "nm", 0.5, 1.0, 0.25, 0.25]
  again = readers.read(file)
  assert again.pixel_size_nm == pytest.approx(0.25)
  np.testing.assert_array_equal(again.image, IMAGE)


def test_an_unknown_size_is_not_written(tmp_path):
  outputs.write_tiff(tmp_path / "image.tif", IMAGE, None)
  with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
    assert not {tag.code for tag in tiff.pages[0].tags} & {65003, 65006, 65009}
  assert readers.read(tmp_path / "image.tif").pixel_size_nm is None


def test_rosettasciio_reads_sizes_and_origins(tmp_path):
  rsciio = pytest.importorskip("rsciio.tiff", reason="the extra `microscopy` is not installed")
  outputs.write_tiff(tmp_path / "image.tif", IMAGE, 0.25, (4, 2))
  axes = rsciio.file_reader(tmp_path / "image.tif")[0]["axes"]
  assert [(axis["units"], axis["scale"], axis["offset"]) for axis in axes] == [
    ("nm", 0.25, 1.0),
    ("nm", 0.25, 0.5),
  ]
