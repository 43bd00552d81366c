"""Sizes of pixels in the private tags of scanning electron microscopes; animations."""

import pathlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from adaptive_stem_tf.micrographs import readers
from adaptive_stem_tf.micrographs.micrograph import MicrographError

FIELDS = pathlib.Path(__file__).parents[3].parent / "shared" / "data" / "fields"
PIXELS = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9)
ZEISS, HELIOS = 34118, 34682  # tags


def write(path, *tags):
  tifffile.imwrite(path, PIXELS, extratags=[(*tag, True) for tag in tags])
  return path


def zeiss(*lines):
  return ZEISS, "s", 0, "\r\n".join(["0", *lines, ""])


@pytest.mark.parametrize(
  "lines, nm",
  [
    (["AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 48.83 nm"], 48.83),
    (["AP_PIXEL_SIZE", "Pixel Size = 2 nm", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 1 nm"], 1.0),
    (["AP_PIXEL_SIZE", "Pixel Size = 450.0 pm"], 0.45),
    (
      ["AP_PIXEL_SIZE", "Pixel Size = 3 nm", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 0.0 fm"],
      3.0,
    ),
    (["AP_WD", "WD = 4.5 mm"], None),
  ],
)
def test_zeiss(tmp_path, lines, nm):
  read = readers.read(write(tmp_path / "image.tif", zeiss(*lines)))
  assert read.pixel_size_nm == (nm and pytest.approx(nm))


@pytest.mark.parametrize("section", ["Scan", "EScan", "IScan"])
def test_fei_and_thermo_fisher(tmp_path, section):
  text = f"[User]\r\nUser=us\r\n[{section}]\r\nPixelWidth=1.5e-09\r\nPixelHeight=1.5e-09\r\n"
  read = readers.read(write(tmp_path / "image.tif", (HELIOS, "s", 0, text)))
  assert read.pixel_size_nm == pytest.approx(1.5)


def test_gatan(tmp_path):
  tags = [(65009, "d", 1, 0.25), (65010, "d", 1, 0.25), (65003, "s", 0, "nm")]
  assert readers.read(write(tmp_path / "image.tif", *tags)).pixel_size_nm == 0.25
  tags[1] = (65010, "d", 1, 0.5)
  read = readers.read(write(tmp_path / "image.tif", *tags))
  assert read.pixel_size_nm is None and "not square" in read.notes[0]


@pytest.mark.parametrize(
  "name, nm",
  [
    ("dvtxc+fibresem__sampledata__sample.01_img08.tif", 9.766),
    ("jni+skan__doc__example-data__inf1.tif", 1.07917),
    ("DeMarcoLab+fibsem__fibsem__detection__test_image_2.tif", 97.6562),
  ],
)
def test_files_of_microscopes(name, nm):
  if not FIELDS.is_dir():
    pytest.skip(f"{FIELDS} is missing: it holds real micrographs.")
  read = readers.read(FIELDS / name)
  assert read.pixel_size_nm == pytest.approx(nm, rel=1e-3)


@pytest.mark.parametrize("frame", [0, 2])
def test_a_gif_is_a_stack(tmp_path, frame):
  frames = [Image.fromarray(PIXELS + 40 * i) for i in range(3)]
  frames[0].save(tmp_path / "stack.gif", save_all=True, append_images=frames[1:])
  read = readers.read(tmp_path / "stack.gif", frame)
  np.testing.assert_allclose(read.image, PIXELS + 40 * frame, atol=1)
  assert read.notes[0] == f"a stack of 3 images: frame {frame} is taken (counted from 0)"
  with pytest.raises(MicrographError, match="frame=3 was asked for, and it has 3: count from 0"):
    readers.read(tmp_path / "stack.gif", 3)


@pytest.mark.parametrize("suffix", [".gif", ".bmp"])
def test_single_pictures(tmp_path, suffix):
  Image.fromarray(PIXELS).save(tmp_path / f"image{suffix}")
  read = readers.read(tmp_path / f"image{suffix}")
  np.testing.assert_array_equal(read.image, PIXELS)
