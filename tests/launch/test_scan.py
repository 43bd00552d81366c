"""python -m launch.scan on files, with a tiny exported model."""

import json

import numpy as np
import pytest
import tifffile

from tests import tiny
from tests.launch import commands


@pytest.fixture
def image(tmp_path):
  """A TIFF of 40 x 40 px of 0.25 nm."""
  path = tmp_path / "image.tif"
  pixels = np.uint16(1000 + 500 * tiny.images(1, 40)[0, ..., 0])
  tifffile.imwrite(path, pixels, imagej=True, resolution=(4.0, 4.0), metadata={"unit": "nm"})
  return path


def scan(image, model, output, *more):
  places = [f"--image={image}", f"--model={model}", f"--output_dir={output}"]
  return commands.launch("scan", *places, "--noprogress", *more)


def summary(*arguments):
  ended = scan(*arguments)
  assert ended.code == 0, ended.err
  return json.loads((arguments[2] / "scan.json").read_text()), ended.out


def test_a_window_is_scanned(tmp_path, model, image):
  told, out = summary(image, model, tmp_path / "out", "--window=3,21", "--normalise=measured")
  assert (
    told["origin_px"] == [3, 21]
    and told["frame_px"] == [16, 16]
    and told["pixel_size_nm"] == pytest.approx(0.25)
  )
  assert (
    told["probing_positions"] == tiny.SEGMENTS * tiny.PROBES and told["normalise"] == "measured"
  )
  assert (
    told["image"] == str(image) and told["model"] == str(model) and told["image_dtype"] == "uint16"
  )
  assert (
    "window of 16 x 16 px at row 3, column 21" in out
    and "10 MSE" in out
    and "--pixel_size_nm" not in out
  )
  assert len(list((tmp_path / "out").iterdir())) == 7


def test_the_centre_is_scanned_after_binning(tmp_path, model, image):
  told, _ = summary(image, model, tmp_path / "out", "--binning=2")
  assert (
    told["origin_px"] == [2, 2]
    and told["image_px"] == [20, 20]
    and told["pixel_size_nm"] == pytest.approx(0.5)
  )


def test_tiles_cover_the_image(tmp_path, model, image):
  told, out = summary(image, model, tmp_path / "out", "--tiles", "--overlap=4")
  assert (
    told["frame_px"] == [40, 40] and len(told["windows"]) == 9 and "9 tiles over 40 x 40 px" in out
  )
  assert np.load(tmp_path / "out" / "completion.npy").shape == (40, 40)


def test_what_is_unusual_is_said(tmp_path, model):
  stored = np.full([20, 20], 7.0)
  stored[0, 0] = np.nan
  np.save(tmp_path / "a.npy", stored)
  told, out = summary(tmp_path / "a.npy", model, tmp_path / "out", "--pixel_size_nm=0.5")
  assert told["pixels_mended"] == 1 and told["pixel_size_nm"] == 0.5
  assert (
    "1 pixels that are not finite are taken as the darkest" in out
    and "constant: there is nothing to see" in out
  )


@pytest.mark.parametrize(
  "more, words",
  [
    (["--window=30,0"], "window=30,0 leaves the image of 40 x 40 px"),
    (["--window=3"], "window=3 is no place"),
    (["--window=1,2", "--tiles"], "window=1,2 and tiles=True disagree"),
    (["--binning=3"], "13 x 13 px, smaller than"),
    (["--tiles", "--overlap=8"], "overlap=8 is out of range"),
    (["--normalise=5,1"], "normalise=5,1 is no range"),
    (["--frame=1"], "frame=1 was asked for"),
    (["--image=none.tif"], "none.tif does not exist"),
    (["--model=none/1"], "model=none/1 does not exist"),
  ],
)
def test_mistakes_are_sentences(tmp_path, model, image, more, words):
  ended = scan(image, model, tmp_path / "out", *more)
  assert ended.code == 1 and words in ended.err and "Traceback" not in ended.err
  assert not (tmp_path / "out").exists()
