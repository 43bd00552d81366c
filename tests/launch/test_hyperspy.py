"""What is written, as HyperSpy opens it: images, units, the place of a window in its file."""

import json

import numpy as np
import pytest

import adaptive_stem_tf as stem
from adaptive_stem_tf import installation
from tests.launch import commands

pytestmark = pytest.mark.slow
WINDOW = (7, 20)  # row and column of the window, px
SIZE = 0.25  # nm


@pytest.fixture(scope="module")
def hs():
  return pytest.importorskip(
    "hyperspy.api", reason="HyperSpy is not installed: pip install hyperspy"
  )


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory):
  """A micrograph of 120 x 130 px."""
  rows, columns = np.mgrid[:120, :130]
  file = tmp_path_factory.mktemp("hyperspy") / "micrograph.npy"
  np.save(file, 100 + 20 * np.sin(rows / 9) * np.cos(columns / 7))
  return file


def axes(signal):
  """Returns units, pixel size and offset of rows and columns."""
  columns, rows = signal.axes_manager.signal_axes
  return [
    (axis.units, pytest.approx(axis.scale), pytest.approx(axis.offset)) for axis in (rows, columns)
  ]


@pytest.mark.parametrize("fields", [False, True])
def test_windows_that_were_scanned_lie_where_they_were(hs, micrograph, tmp_path, fields):
  name = installation.FIELDS if fields else installation.CROPS
  ended = commands.launch(
    "live",
    f"--model={installation.model(name)}",
    f"--microscope=file:{micrograph}",
    f"--window={WINDOW[0]},{WINDOW[1]}",
    f"--pixel_size_nm={SIZE}",
    f"--output_dir={tmp_path}",
    "--decision_us=10",
    *(["--fields", "--field_size=96"] if fields else ["--nopicture"]),
  )
  assert ended.code == 0, ended.err
  for name in ("completion", "partial_scan", *(["uncertainty"] if fields else [])):
    signal = hs.load(tmp_path / f"{name}.tif")
    assert axes(signal) == [("nm", SIZE, SIZE * offset) for offset in WINDOW], name
    if name == "partial_scan":  # NaN where nothing was measured
      assert 0.03 < np.isfinite(signal.data).mean() < 0.06
    else:
      written = np.load(tmp_path / f"{name}.npy").astype(np.float32)
      np.testing.assert_array_equal(signal.data, written)


def test_scans_of_signals_come_back_as_signals(hs, micrograph, tmp_path):
  signal = hs.signals.Signal2D(np.load(micrograph))
  for axis in signal.axes_manager.signal_axes:
    axis.scale, axis.units = SIZE, "nm"
  scan = stem.load().scan(signal, coverage=0.1)
  assert scan.pixel_size_nm == SIZE
  own = hs.signals.Signal2D(**scan.to_signal())
  for other in (own, *(hs.load(scan.save(tmp_path / f"scan.{kind}")) for kind in ("hspy", "tif"))):
    assert isinstance(other, hs.signals.Signal2D) and axes(other) == [("nm", SIZE, 0.0)] * 2
    np.testing.assert_array_equal(other.data, scan.completion)
  assert own.metadata.General.title == "completion"
  info = other.original_metadata.IJMetadata.Info
  assert json.loads(info)["coverage"] == pytest.approx(0.1)
