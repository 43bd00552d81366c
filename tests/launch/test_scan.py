"""python -m launch.scan on files, with a tiny exported model."""

import csv
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


@pytest.mark.parametrize("more, count", [([], 1), (["--tiles", "--overlap=4"], 9)])
def test_paths_that_see_too_little_are_warned_of(tmp_path, model, image, more, count):
  rng = np.random.default_rng(0)
  noise = tmp_path / "noise.npy"
  np.save(noise, rng.normal(size=[40, 40]))  # segments say nothing of each other
  told, out = summary(noise, model, tmp_path / "out", *more)
  assert len(told["unforeseen_share_by_window"]) == count
  assert min(told["unforeseen_share_by_window"]) > 0.7
  assert f"Warning: {told['sampling_warning']}" in out
  start = "9 of 9 tiles: segments of" if count > 1 else "segments of this scan say 0%"
  assert told["sampling_warning"].startswith(start)
  again, out = summary(image, model, tmp_path / "again")
  shares = again["unforeseen_share_by_window"]
  assert bool(again["sampling_warning"]) == (shares[0] > 0.7) == ("Warning" in out)


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


@pytest.fixture
def folder(tmp_path, image):
  """A folder of two micrographs and of files that are none."""
  place = tmp_path / "micrographs"
  (place / "more").mkdir(parents=True)
  for file in (place / "a.tif", place / "more" / "b.tif"):
    file.write_bytes(image.read_bytes())
  np.save(place / "a.npy", np.zeros([3, 3]))
  (place / "README.md").write_text("two micrographs")
  return place


@pytest.mark.parametrize("pattern", ["micrographs", "micrographs/**/*"])
def test_the_files_of_a_folder_are_scanned_one_by_one(tmp_path, model, folder, pattern):
  output = tmp_path / "out"
  ended = scan(tmp_path / pattern, model, output)
  assert ended.code == 0, ended.err
  with open(output / "scans.csv", newline="") as file:
    rows = {row["file"]: row for row in csv.DictReader(file)}
  scanned = {"a.tif": output / "a.tif", "more/b.tif": output / "more" / "b"}
  for name, place in scanned.items():
    row, summary = rows[str(folder / name)], json.loads((place / "scan.json").read_text())
    assert row["folder"] == str(place) and row["rows_px"] == "16" and row["error"] == ""
    assert float(row["ten_mse"]) == summary["ten_mse"]["filtered"]
    assert float(row["ssim"]) == summary["ssim"]["filtered"] and row["pixel_size_nm"]
  assert "smaller than the 16 x 16 px" in rows[str(folder / "a.npy")]["error"]
  assert len(rows) == 3 and "2 of 3 files were scanned" in ended.out
  assert "a.npy is left out: the image is 3 x 3 px" in ended.out


def test_folders_without_a_micrograph_are_refused(tmp_path, model, folder):
  (tmp_path / "empty").mkdir()
  ended = scan(tmp_path / "empty", model, tmp_path / "out")
  assert ended.code == 1 and "matches no file" in ended.err
  ended = scan(f"{folder}/*.npy", model, tmp_path / "out")
  assert ended.code == 1 and "none of the 1 files" in ended.err


def test_an_information_bar_is_said_and_cut(tmp_path, model):
  image = np.uint8(100 + 100 * tiny.images(1, 200)[0, ..., 0])
  image[-24:] = 0
  image[-14:-8, 20:180:12] = 255
  tifffile.imwrite(tmp_path / "bar.tif", image)
  ended = scan(tmp_path / "bar.tif", model, tmp_path / "out")
  assert "what looks like an information bar begins at row 173: --rows=173 cuts it off" in ended.out
  told, out = summary(tmp_path / "bar.tif", model, tmp_path / "cut", "--rows=173")
  assert told["image_px"] == [173, 200] and told["rows"] == 173 and "bar begins" not in out
  ended = scan(tmp_path / "bar.tif", model, tmp_path / "no", "--rows=201")
  assert ended.code == 1 and "rows=201: the image has 200" in ended.err


def test_files_say_how_they_were_made(tmp_path, model, image):
  told, out = summary(image, model, tmp_path / "out", "--note=oxide, first try")
  of = told["instrument"]
  assert (of["backend"], of["address"], of["note"]) == ("file", str(image), "oxide, first try")
  assert of["began_utc"] <= of["ended_utc"] and of["ended_utc"].endswith("+00:00")
  assert told["software"].startswith("adaptive-stem-tf ")
  assert told["command"].startswith(f"python -m launch.scan --image={image} --model=")
  psnr, ssim = (told[name]["filtered"] for name in ("psnr_db", "ssim"))
  assert f"(PSNR {psnr:.1f} dB, SSIM {ssim:.3f})" in out and -1 < ssim < 1
  with tifffile.TiffFile(tmp_path / "out" / "completion.tif") as file:
    assert json.loads(file.imagej_metadata["Info"]) == told
