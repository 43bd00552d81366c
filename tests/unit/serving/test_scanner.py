"""Scanning arrays with a SavedModel."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.intensities import IntensityRange, Normalisation
from adaptive_stem_tf.scan import baselines
from adaptive_stem_tf.serving import local, stepping
from adaptive_stem_tf.serving.live import deciding, loop, twin
from adaptive_stem_tf.serving.live import model as live_model
from adaptive_stem_tf.serving.local import ModelError
from adaptive_stem_tf.serving.scanner import Scanner
from tests import tiny
from tests.unit.serving import scanning

IMAGE = Normalisation("image")
COUNT = tiny.SEGMENTS * tiny.PROBES


@pytest.fixture
def windows():
  """Intensities of 18 windows, more than are scanned at a time."""
  return 150 + 50 * tiny.images(18)[..., 0]


def test_a_scan_is_the_models(adaptive, scanner, windows):
  trained, _ = adaptive
  scans = scanner.scan(windows, IMAGE)
  ranges = IntensityRange(windows.min((1, 2)), windows.max((1, 2)))
  expected = trained.scan_all(ranges.to_unit(windows)[..., None])
  np.testing.assert_allclose(scans.positions, expected.positions, atol=1e-3)
  back = ranges.from_unit(expected.completions[..., 0])
  np.testing.assert_allclose(scans.completions, back, atol=0.02)
  np.testing.assert_array_equal(scans.partial[..., 1], expected.partial[..., 1])
  np.testing.assert_array_equal(scans.low, ranges.low)


def test_what_is_measured_is_what_lies_under_the_beam(scanner, windows):
  scans = scanner.scan(windows, IMAGE)
  assert scans.positions.shape == (18, COUNT, 2)
  pixels = np.clip(np.floor(scans.positions), 0, tiny.SIZE - 1).astype(int)
  for i in range(18):
    rows, columns = pixels[i].T
    np.testing.assert_array_equal(scans.intensities[i], windows[i, rows, columns])
    np.testing.assert_array_equal(scans.partial[i, rows, columns, 0], windows[i, rows, columns])
    assert scans.partial[i, ..., 1].sum() == len(set(zip(rows, columns)))


@pytest.mark.parametrize("normalisation", [IMAGE, Normalisation("measured")])
def test_gain_and_offset_of_the_detector_do_not_matter(scanner, windows, normalisation):
  one, other = (scanner.scan(shown, normalisation) for shown in (windows, 8 * windows + 1000))
  np.testing.assert_allclose(other.positions, one.positions, atol=1e-3)
  np.testing.assert_allclose((other.completions - 1000) / 8, one.completions, atol=0.05)


def test_measured_range_is_the_first_segments(scanner, windows):
  scans = scanner.scan(windows, Normalisation("measured"))
  first = scans.intensities[:, : tiny.PROBES]
  np.testing.assert_array_equal(scans.low, first.min(1))
  np.testing.assert_array_equal(scans.high, first.max(1))
  assert not np.allclose(scans.completions, scanner.scan(windows, IMAGE).completions, atol=1.0)


def test_a_known_range_is_used_and_the_model_sees_outliers(scanner, windows):
  own = scanner.scan(windows[:1], IMAGE)
  known = scanner.scan(windows[:1], Normalisation("known", float(own.low[0]), float(own.high[0])))
  np.testing.assert_allclose(known.completions, own.completions, atol=1e-3)
  middle = Normalisation("known", 140.0, 160.0)
  whole, clipped = scanner.scan(windows, middle), scanner.scan(np.clip(windows, 140, 160), middle)
  assert not np.array_equal(whole.completions, clipped.completions)
  assert whole.intensities.max() > 160  # what was measured is told as it is


def test_a_model_trained_on_measured_ranges_scans_alike_whatever_drives_it(tmp_path, windows):
  """A file, a live scan, a client step by step and the signature `scan`, of intensities in the
  detector's units.
  """
  trained, folder = scanning.exported(tmp_path, normalise="measured")
  windows = np.float32(
    [windows[0], windows[1], np.where(np.arange(tiny.SIZE)[:, None] < 13, 120.0, windows[2])]
  )
  expected = trained.scan_all(windows[..., None])
  # nothing seen at first
  assert np.ptp(windows[2][tuple(expected.positions[2, : tiny.PROBES].astype(int).T)]) == 0
  measured, follows = Normalisation("measured"), live_model.ExportedModel(folder)
  served = local.LocalModel(folder)
  scans = Scanner(folder).scan(windows, measured)
  driven = stepping.scan_images(served, windows[..., None], served.geometry, "measured")
  whole = served.scan(windows[..., None])
  for i, window in enumerate(windows):
    scope = twin.DigitalTwin(window, twin.Faults(dwell=10.0))
    live = loop.run(
      scope, follows, deciding.Simulated(follows, scope.clock, lambda _: 0.0), measured.start(1)
    )
    found = (
      (scans.positions[i], scans.completions[i]),
      (driven.path[i], driven.completion[i, ..., 0]),
      (whole["path"][i], whole["completion"][i, ..., 0]),
      (live.positions, live.completion),
    )
    for positions, completion in found:
      inside = [np.clip(path, 0, tiny.SIZE - 1) for path in (positions, expected.positions[i])]
      np.testing.assert_allclose(*inside, atol=1e-3)
      np.testing.assert_allclose(completion, expected.completions[i, ..., 0], atol=0.02)


def test_a_constant_window_is_scanned(scanner):
  for normalisation in (IMAGE, Normalisation("measured")):
    scans = scanner.scan(np.full([1, tiny.SIZE, tiny.SIZE], 7.0), normalisation)
    np.testing.assert_array_equal(scans.completions, 7.0)


def test_a_fixed_path_is_followed(tmp_path, windows):
  path = baselines.spiral(tiny.experiment().scan, 4.0)
  trained, folder = scanning.exported(tmp_path, path, path="spiral", pitch=4.0)
  scans = Scanner(folder).scan(windows[:2], IMAGE)
  np.testing.assert_array_equal(scans.positions, [path, path])
  expected = trained.scan_all(windows[:2, ..., None])
  np.testing.assert_array_equal(scans.partial[..., 1], expected.partial[..., 1])


def test_other_windows_are_refused(scanner):
  with pytest.raises(
    ValueError, match=r"shape \[1, 40, 40\] were given: the model scans \[B, 16, 16\]"
  ):
    scanner.scan(np.zeros([1, 40, 40]), IMAGE)


def test_folders_without_a_model_are_refused(adaptive, tmp_path):
  _, folder = adaptive
  with pytest.raises(ModelError, match="none does not exist: give a folder NAME/VERSION"):
    Scanner(tmp_path / "none")
  with pytest.raises(ModelError, match="holds no saved_model.pb: give a folder NAME/VERSION"):
    Scanner(tmp_path)
  with pytest.raises(
    ModelError, match="holds no saved_model.pb: give a version of it, such as .*/1"
  ):
    Scanner(folder.parent)
  shutil.copytree(folder, tmp_path / "1")
  (tmp_path / "1" / "assets.extra" / "config.json").write_text("{}")
  (tmp_path / "1" / "assets.extra" / "manifest.json").unlink()  # which would tell
  with pytest.raises(
    ModelError, match="config.json is missing or not the configuration of a model"
  ):
    Scanner(tmp_path / "1")


def test_a_model_of_something_else_is_refused(adaptive, tmp_path):
  module = tf.Module()
  module.call = tf.function(lambda x: x, [tf.TensorSpec([], tf.float32)])
  tf.saved_model.save(module, str(tmp_path / "1"))
  shutil.copytree(adaptive[1] / "assets.extra", tmp_path / "1" / "assets.extra")
  (tmp_path / "1" / "assets.extra" / "manifest.json").unlink()  # of the other files
  with pytest.raises(ModelError, match="has no signature start, step, complete, scan"):
    Scanner(tmp_path / "1")
