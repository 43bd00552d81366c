"""Whole scans of Nion Swift's simulated microscope, the other side of which nobody here wrote."""

import csv
import json

import numpy as np
import pytest

from adaptive_stem_tf import installation
from adaptive_stem_tf.serving import outputs
from adaptive_stem_tf.serving.live import nion_swift, usim
from adaptive_stem_tf.serving.live.orientation import Orientation
from tests.launch import commands

pytestmark = pytest.mark.slow
FIELD = nion_swift.SwiftField(96, 2.0, (30.0, -20.0))
NOISE = 0.3 * 10  # uSim's, of every px, for each us


@pytest.fixture(scope="module")
def simulated():
  pytest.importorskip(
    "nion.usim_device", reason="nionswift-usim is not installed (extra `nionswift`)"
  )
  return usim.instrument()


def scan(output, *arguments):
  """Scans with launch.live; returns the summary, positions [n, 2] px and intensities [n]."""
  ended = commands.launch(
    "live", "--microscope=swift:usim", f"--output_dir={output}", "--nopicture", *arguments
  )
  assert ended.code == 0, ended.err
  with open(output / "path.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  column = lambda name: np.array([float(row[name]) for row in rows])
  positions = np.stack([column("row_px"), column("column_px")], 1)
  return json.loads((output / "scan.json").read_text()), positions, column("intensity")


def exact(positions):
  """Returns how many of uSim's flakes lie at positions [n, 2] px of FIELD."""
  sample = pytest.importorskip("nion.usim_device.SampleSimulator").RectangleFlakeSample(1000)
  metres = lambda pair: np.array([pair.y, pair.x]) * 1e9
  corners = np.array([metres(flake.position_m) for flake in sample.features])
  sizes = np.array([[f.size_m.height, f.size_m.width] for f in sample.features]) * 1e9
  nm = (positions - FIELD.size / 2) * FIELD.pixel_nm + FIELD.centre_nm
  return (np.abs(nm[:, None] - corners) <= sizes / 2).all(-1).sum(-1)


def lines(rng, count, pitch, angles):
  """Returns straight lines [n, 2] px through the middle of FIELD."""
  steps = [pitch * np.array([np.sin(angle), np.cos(angle)]) for angle in np.radians(angles)]
  along = np.arange(count)[:, None] - (count - 1) / 2
  return [rng.uniform(30, 66, 2) + along * step for step in steps]


@pytest.mark.parametrize(
  "count, pitch, handling, angles",
  [
    (20, 1.5, nion_swift.Handling(lines=(1,)), range(0, 360, 5)),  # as usim.scope has it
    # Line scans where uSim draws them right (usim.py): short pitches, and shallow or short ones.
    (20, 0.2, nion_swift.Handling(), [-20, -10, 0, 10, 20, 160, 170, 180, 190, 200] * 6),
    (3, 0.2, nion_swift.Handling(), range(0, 360, 2)),
  ],
)
def test_segments_are_measured_where_they_are_asked(
  simulated, rng, monkeypatch, count, pitch, handling, angles
):
  parked = []
  monkeypatch.setattr(
    simulated.device, "set_scan_context_probe_position", lambda _, place: parked.append(place)
  )
  asked = lines(rng, count, pitch, list(angles))
  with nion_swift.NionSwift(simulated, FIELD, handling=handling) as scope:
    assert simulated.controller.GetVal("C_Blank") == 1
    measured = np.concatenate([scope.probe(line) for line in asked])
    assert simulated.controller.GetVal("C_Blank") == 1 and scope.lit >= 10 * len(measured)
  assert [(place.y, place.x) for place in parked] == [(0, 0)] * 2  # before and after
  true = 10 * exact(np.concatenate(asked))
  assert true.std() > NOISE and np.std(measured - true) < 1.2 * NOISE


def test_a_path_is_scanned(tmp_path, simulated):
  folder = installation.model(installation.CROPS)
  told, positions, intensities = scan(
    tmp_path, f"--model={folder}", "--pixel_size_nm=2", "--field_centre_nm=30,-20", "--late=wait"
  )
  assert told["segments"] == 20 and len(positions) == 400
  of = told["instrument"]
  assert of["field_centre_nm"] == [30, -20] and of["beam_on_us"] > 400 * 10
  assert of["blanker"] == "C_Blank" and "nionswift-usim" in of["software"]
  assert told["ten_mse"]["filtered"] > 0
  assert np.std(intensities - 10 * exact(positions)) < 1.2 * NOISE


def test_it_is_calibrated_against_its_own_raster(tmp_path, simulated):
  seen = usim.specimen(simulated, nion_swift.SwiftField(128, 3.0))
  outputs.write_tiff(tmp_path / "raster.tif", Orientation(True, 90.0).view(seen, 128), 3.2)
  file = tmp_path / "calibration.json"
  ended = commands.launch(
    "calibrate",
    "--microscope=swift:usim",
    "--field_size=128",
    "--pixel_size_nm=3",
    f"--reference={tmp_path / 'raster.tif'}",
    f"--output={file}",
  )
  assert ended.code == 0, ended.err
  told = json.loads(file.read_text())
  assert told["mirrored"] and told["rotation_deg"] == pytest.approx(90, abs=0.5)
  assert told["length_scale"] == pytest.approx(3.2 / 3, rel=0.01)
  told, positions, intensities = scan(
    tmp_path / "out", "--pixel_size_nm=2", "--late=wait", f"--calibration={file}"
  )
  assert told["instrument"]["calibration"]["mirrored"]
  # What is at (row, column) of the picture is at (column, row) of the scan, and nearer.
  at = 48 + (positions[:, ::-1] - 48) * 2 / 3.2 * 3 / FIELD.pixel_nm - np.array([30, -20]) / 2
  inside = np.std(intensities - 10 * exact(at))
  assert inside < 0.5 * np.std(intensities - 10 * exact(at[:, ::-1]))


def test_a_whole_field_is_scanned(tmp_path, simulated):
  told, positions, intensities = scan(
    tmp_path, "--fields", "--field_size=96", "--pixel_size_nm=2", "--field_centre_nm=30,-20"
  )
  assert told["distinct_pixels"] == len(positions) == 401
  assert np.std(intensities - 10 * exact(positions + 0.5)) < 1.2 * NOISE
  specimen = usim.specimen(simulated, FIELD)
  middles = np.stack(np.mgrid[:96, :96], -1).reshape(-1, 2) + 0.5
  assert np.corrcoef(specimen.ravel(), exact(middles))[0, 1] > 0.95
  errors = {name: error["ten_mse_filtered"] for name, error in told["errors"].items()}
  assert 0 < errors["completion"] < 1.5 * errors["interpolation"]
