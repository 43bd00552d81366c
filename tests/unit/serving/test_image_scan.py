"""Windows and tiles of a micrograph, and what is written of their scans."""

import csv
import json

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from hypothesis import strategies as st

from adaptive_stem_tf import specimens
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.micrographs import readers
from adaptive_stem_tf.serving import image_scan, outputs, scan_picture
from adaptive_stem_tf.serving.scan_result import ScanResult
from adaptive_stem_tf.serving.scanner import Scans
from tests import tiny
from tests.unit.serving import scanning

COUNT = tiny.SEGMENTS * tiny.PROBES
IMAGE = Normalisation("image")


class Copier:
  """Scans as a Scanner does, and completes without an error."""

  size, segments, probes, filter_sigma, folder, corrector = 16, 2, 3, 0.0, "copier", None

  def scan(self, windows, normalisation):
    positions = np.broadcast_to(np.arange(12.0).reshape(6, 2), [len(windows), 6, 2])
    pixels = positions.astype(int)
    values = windows[:, pixels[0, :, 0], pixels[0, :, 1]]
    mask = np.zeros([len(windows), 16, 16])
    mask[:, pixels[0, :, 0], pixels[0, :, 1]] = 1
    return Scans(
      positions,
      values,
      np.stack([windows * mask, mask], -1),
      windows,
      windows.min((1, 2)),
      windows.max((1, 2)),
      np.full(len(windows), 0.5),
    )


def test_windows():
  assert image_scan.window_corner((40, 51), 16, None) == (12, 17)
  assert image_scan.window_corner((40, 51), 16, (24, 35)) == (24, 35)
  for window in ((25, 0), (0, 36), (-1, 0)):
    with pytest.raises(
      ValueError, match=f"window={window[0]},{window[1]} leaves the image of 40 x 51 px"
    ):
      image_scan.window_corner((40, 51), 16, window)
  with pytest.raises(
    ValueError, match="15 x 51 px, smaller than the 16 x 16 px that the model scans"
  ):
    image_scan.window_corner((15, 51), 16, None)


@hypothesis.given(st.integers(16, 120), st.integers(16, 120), st.integers(0, 7))
def test_tiles_cover_the_image_and_overlap(height, width, overlap):
  corners = image_scan.tile_corners((height, width), 16, overlap)
  covered = np.zeros([height, width], int)
  for row, column in corners:
    assert 0 <= row <= height - 16 and 0 <= column <= width - 16
    covered[row : row + 16, column : column + 16] += 1
  assert covered.min() >= 1 and len(set(corners)) == len(corners)
  for axis in (0, 1):
    assert (np.diff(sorted({corner[axis] for corner in corners})) <= 16 - overlap).all()


@pytest.mark.parametrize("overlap", [-1, 8])
def test_an_overlap_out_of_range_is_refused(overlap):
  with pytest.raises(ValueError, match=f"overlap={overlap} is out of range"):
    image_scan.tile_corners((40, 40), 16, overlap)


def test_tiles_are_joined_where_they_belong():
  image = scanning.micrograph()
  corners = image_scan.tile_corners(image.shape, 16, 5)
  result = image_scan.scan(Copier(), image, corners, IMAGE)
  np.testing.assert_allclose(result.completion, image, rtol=1e-6)
  assert result.origin == (0, 0) and result.truth.shape == image.shape
  measured = result.partial[..., 1] > 0
  np.testing.assert_array_equal(result.partial[measured][:, 0], image[measured])
  rows, columns = result.positions.astype(int).T
  np.testing.assert_array_equal(result.intensities, image[rows, columns])
  assert measured[rows, columns].all() and measured.sum() == len(set(zip(rows, columns)))
  np.testing.assert_array_equal(result.errors["raw"], 0)


def test_overlaps_are_blended_linearly():
  class Numbers(Copier):
    def scan(self, windows, normalisation):
      return (
        super()
        .scan(windows, normalisation)
        ._replace(completions=np.arange(len(windows))[:, None, None] * np.ones([1, 16, 16]))
      )

  result = image_scan.scan(Numbers(), np.ones([16, 28]), [(0, 0), (0, 12)], IMAGE)
  np.testing.assert_allclose(
    result.completion[5], [0] * 12 + [0.2, 0.4, 0.6, 0.8] + [1] * 12, rtol=1e-6
  )


def test_a_window_is_scanned_with_its_own_range_and_errors_by_hand(scanner):
  image = scanning.micrograph()
  result = image_scan.scan(scanner, image, [(7, 11)], IMAGE, 0.5)
  window = image[7:23, 11:27]
  np.testing.assert_array_equal(result.truth, window)
  assert result.origin == (7, 11) and result.about["windows"] == [[7, 11]]
  unit = lambda values: 2 * (values - window.min()) / np.ptp(window) - 1
  filtered = specimens.low_pass(tf.constant(unit(window)[None, ..., None]), 2.5).numpy()[0, ..., 0]
  for name, target in (("raw", unit(window)), ("filtered", filtered)):
    error = 10 * np.mean((unit(result.completion) - target) ** 2)
    np.testing.assert_allclose(result.errors[name], [error], rtol=1e-4)


def test_many_tiles_are_the_same_as_each_alone(scanner):
  image = scanning.micrograph(52, 52)
  corners = image_scan.tile_corners(image.shape, 16, 4)
  assert len(corners) == 16
  result = image_scan.scan(scanner, image, [*corners, *corners[:3]], IMAGE)
  alone = image_scan.scan(scanner, image, [corners[5]], IMAGE)
  mine = result.windows == 5
  np.testing.assert_allclose(result.positions[mine], alone.positions + corners[5], atol=1e-3)
  np.testing.assert_array_equal(
    result.segments[mine], np.repeat(np.arange(tiny.SEGMENTS), tiny.PROBES)
  )
  assert len(result.errors["raw"]) == 19


def test_pixels_that_are_not_finite_become_the_darkest():
  image, count = image_scan.mend(np.array([[np.nan, 2.0], [5.0, np.nan]]))
  assert image.tolist() == [[2.0, 2.0], [5.0, 2.0]] and count == 2


def read_path(folder):
  with open(folder / "path.csv", newline="") as file:
    return list(csv.DictReader(file))


def test_what_is_written(scanner, tmp_path):
  image = scanning.micrograph()
  result = image_scan.scan(scanner, image, [(7, 11)], IMAGE, 0.5)
  folder = outputs.write_scan(tmp_path / "a" / "b", result)
  assert {path.name for path in folder.iterdir()} == {
    "path.csv",
    "partial_scan.npy",
    "partial_scan.tif",
    "completion.npy",
    "completion.tif",
    "scan.json",
    "scan.png",
  }
  rows = read_path(folder)
  assert len(rows) == COUNT and [row["probe"] for row in rows[:6]] == ["0", "1", "2", "3", "0", "1"]
  assert [row["segment"] for row in rows] == [str(k // tiny.PROBES) for k in range(COUNT)]
  assert float(rows[0]["row_px"]) == 7 + 8 and float(rows[0]["column_nm"]) == (11 + 8) * 0.5
  for row in rows:
    pixel = [
      min(max(int(float(row[name])), first), first + 15)
      for name, first in (("row_px", 7), ("column_px", 11))
    ]
    assert float(row["intensity"]) == pytest.approx(image[tuple(pixel)], rel=1e-5)
  told = json.loads((folder / "scan.json").read_text())
  assert told["ten_mse"] == {
    name: pytest.approx(error.item()) for name, error in result.errors.items()
  }
  assert told["normalise"] == "image" and told["origin_px"] == [7, 11] and told["seconds"] >= 0
  assert (
    told["distinct_pixels"] == result.partial[..., 1].sum() == told["distinct_pixels_share"] * 256
  )


def test_images_are_written_for_numpy_and_for_imagej(scanner, tmp_path):
  result = image_scan.scan(scanner, scanning.micrograph(), [(7, 11)], IMAGE, 0.5)
  folder = outputs.write_scan(tmp_path, result)
  np.testing.assert_array_equal(np.load(folder / "completion.npy"), result.completion)
  np.testing.assert_array_equal(np.load(folder / "partial_scan.npy"), result.partial)
  read = readers.read(folder / "completion.tif")
  np.testing.assert_array_equal(read.image, result.completion)
  assert read.pixel_size_nm == pytest.approx(0.5)
  measured = tifffile.imread(folder / "partial_scan.tif")
  np.testing.assert_array_equal(np.isnan(measured), result.partial[..., 1] == 0)


def without_truth():
  frame = np.zeros([16, 16])
  partial = np.stack([np.eye(16), np.eye(16)], -1)
  return ScanResult(
    np.stack([np.arange(16.0)] * 2, -1),
    np.ones(16),
    np.zeros(16, int),
    np.repeat([0, 1], 8),
    partial,
    frame,
    None,
    (0, 0),
    None,
    None,
    {"model": "none"},
  )


def test_a_live_scan_knows_no_truth_and_perhaps_no_size(tmp_path):
  folder = outputs.write_scan(tmp_path, without_truth())
  told = json.loads((folder / "scan.json").read_text())
  assert "ten_mse" not in told and told["model"] == "none" and told["distinct_pixels"] == 16
  assert list(read_path(folder)[0]) == [
    "window",
    "segment",
    "probe",
    "row_px",
    "column_px",
    "intensity",
  ]
  assert readers.read(folder / "completion.tif").pixel_size_nm is None


def titles(drawn):
  return [axes.get_title() for axes in drawn.axes if axes.get_title()]


def test_the_picture_shows_an_error_only_where_the_truth_is_known(scanner):
  assert len(titles(scan_picture.draw(without_truth()))) == 3
  result = image_scan.scan(scanner, scanning.micrograph(), [(7, 11)], IMAGE)
  shown = titles(scan_picture.draw(result))
  assert len(shown) == 4 and f"10 MSE {result.errors['filtered'][0]:.3f} (filtered)" in shown[3]


def test_the_error_is_drawn_on_what_the_number_is_of(scanner):
  result = image_scan.scan(scanner, scanning.micrograph(), [(7, 11)], IMAGE)
  exact = result._replace(completion=_filtered(result.truth, scanner.filter_sigma))
  assert np.abs(scan_picture.draw(exact).axes[3].images[0].get_array()).max() < 1e-3
  raw = result._replace(completion=result.truth)
  assert np.abs(scan_picture.draw(raw).axes[3].images[0].get_array()).max() > 1


def _filtered(image, sigma):
  given = tf.constant(image[None, ..., None], tf.float32)
  return specimens.low_pass(given, sigma).numpy()[0, ..., 0]


@pytest.mark.parametrize(
  "size, text", [(None, None), (0.5, "2 nm"), (0.01, "0.02 nm"), (400.0, "1 µm"), (300, "1 µm")]
)
def test_the_scale_bar_is_a_round_length(size, text):
  drawn = scan_picture.draw(without_truth()._replace(pixel_size_nm=size))
  assert [bar.txt_label.get_text() for bar in drawn.axes[0].artists] == (
    [] if text is None else [text]
  )
