"""python -m launch.calibrate, and launch.live --calibration, on digital twins and a peer."""

import json
import pathlib
import re

import numpy as np
import pytest
from scipy import ndimage

from adaptive_stem_tf.serving import outputs
from adaptive_stem_tf.serving.live.orientation import Orientation
from tests import exports as exports_lib
from tests.launch import commands
from tests.unit.serving.live import peer

LIES = Orientation(False, 90.0)  # how the scan lies that makes the reference


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory) -> pathlib.Path:
  """A micrograph of 100 x 120 px without symmetry, of intensities from 500 to 700."""
  path = tmp_path_factory.mktemp("micrographs") / "micrograph.npy"
  image = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(100, 120)), 4.0)
  image = (image - image.min()) / np.ptp(image)
  np.save(path, 500 + 200 * image)
  return path


@pytest.fixture(scope="module")
def reference(micrograph) -> pathlib.Path:
  """What the instrument's own software shows of the central 64 px, with a px of 0.48 nm."""
  path, image = micrograph.with_name("reference.tif"), np.load(micrograph)
  outputs.write_tiff(path, LIES.view(image[18:82, 28:92], 64), 0.48)
  return path


def calibrate(output, *more):
  return commands.launch("calibrate", f"--output={output}", *more)


def test_a_twin_is_calibrated_and_scanned_as_the_reference_shows_it(
  tmp_path, micrograph, reference, exports
):
  file = tmp_path / "calibration.json"
  ended = calibrate(
    file,
    f"--microscope=file:{micrograph}",
    f"--reference={reference}",
    "--pixel_size_nm=0.5",
    "--field_size=64",
    "--positions=400",
    "--max_beam_us=4000",
    "--dose=400",
  )
  assert ended.code == 0, ended.err
  told = json.loads(file.read_text())
  image = np.load(micrograph)[18:82, 28:92]
  assert told["mirrored"] is False and told["rotation_deg"] == 90
  assert told["black"] == pytest.approx(image.min())
  assert np.quantile(image, 0.97) < told["white"] < image.max() + 30  # shot noise
  assert told["length_scale"] == pytest.approx(0.96, rel=0.02) and told["full_field_nm"] is None
  measured = told["measured"]
  assert measured["beam_on_us"] == 4000 and measured["positions"] == 400
  assert measured["correlation"] > 0.8 and measured["utc"].endswith("+00:00")
  assert "not mirrored, turned by 90.0 degrees counterclockwise" in ended.out
  assert "The beam was on for 4000 us in all" in ended.out

  model = exports(exports_lib.PLAIN)
  ended = commands.launch(
    "live",
    f"--model={model}",
    f"--microscope=file:{micrograph}",
    f"--calibration={file}",
    f"--output_dir={tmp_path / 'out'}",
    "--pixel_size_nm=0.5",
    "--nopicture",
  )
  assert ended.code == 0, ended.err
  scan = json.loads((tmp_path / "out" / "scan.json").read_text())
  assert scan["intensities_of_black_and_white"] == [told["black"], told["white"]]
  said = scan["instrument"]["calibration"]
  assert said["file"] == str(file) and said["rotation_deg"] == 90
  assert scan["pixel_size_nm"] == pytest.approx(0.5 * told["length_scale"])
  partial = np.load(tmp_path / "out" / "partial_scan.npy")
  side, (height, width) = len(partial), np.load(micrograph).shape
  first = (height - side) // 2, (width - side) // 2
  field = np.load(micrograph)[first[0] : first[0] + side, first[1] : first[1] + side]
  seen, mask = LIES.view(field, side), partial[..., 1] > 0
  np.testing.assert_allclose(partial[..., 0][mask], seen[mask], rtol=1e-5)
  assert np.abs(partial[..., 0] - field)[mask].max() > 1  # and not as the file has it


def test_an_open_beam_interface_is_calibrated_by_a_period(tmp_path, monkeypatch, exports):
  # A grating: 8 sqrt(10) lines over the range of codes.
  monkeypatch.setattr(peer, "sample", lambda x, y: ((8 * x + 24 * y) & 0x3FFF) << 2)
  other = peer.Peer(dark=8)
  arguments = [
    f"--microscope=obi:127.0.0.1:{other.port}",
    "--pixel_size_nm=1",
    "--full_field_nm=400",
    "--field_size=256",
    "--positions=256",
    f"--period_nm={1.1 * 400 / (8 * 10**0.5)}",
  ]
  ended = calibrate(tmp_path / "limited.json", *arguments, "--max_beam_us=2000")
  assert ended.code == 1 and "beyond max_beam_us=2000: it is not sent" in ended.err
  assert other.blanked and not (tmp_path / "limited.json").exists()
  assert all(pixel.blanked for pixel in other.pixels)
  file = tmp_path / "calibration.json"
  ended = calibrate(file, *arguments, "--max_beam_us=2048")
  assert ended.code == 0, ended.err
  told = json.loads(file.read_text())
  assert told["full_field_nm"] == pytest.approx(1.1 * 400, rel=0.01)
  assert told["black"] == 8 and told["measured"]["black_sd"] == 0 and not told["mirrored"]
  assert "Mirror and turn are taken as none" in ended.out and "full_field_nm is 4" in ended.out
  lit = [pixel for pixel in other.pixels if not pixel.blanked]
  assert len(lit) == 256 and other.blanked
  other.close()
  dry = ["--microscope=obi:nowhere:1", "--pixel_size_nm=1", "--dry_run"]
  ended = calibrate(tmp_path / "dry.json", *dry, "--full_field_nm=400", "--positions=256")
  assert ended.code == 0 and "Nothing was sent. 256 positions" in ended.out, ended.err
  assert not (tmp_path / "dry.json").exists()
  believed, straight, turned = (
    _codes(exports, tmp_path, *dry, flag)
    for flag in ("--full_field_nm=400", f"--calibration={file}", f"--calibration={_turned(file)}")
  )
  np.testing.assert_allclose(turned, 16384 - straight[::-1], atol=1)
  np.testing.assert_allclose(believed - 8192, 1.1 * (straight - 8192), atol=10)
  assert believed.max() > 8192 + 200


def _codes(exports, folder, *flags):
  """Returns the least and the greatest code that a scan would send, [2, 2]."""
  model, output = exports(exports_lib.PLAIN), folder / "out"
  ended = commands.launch("live", f"--model={model}", f"--output_dir={output}", *flags)
  assert ended.code == 0 and "Nothing was sent" in ended.out, ended.err
  return np.array(re.findall(r"\[(\d+), (\d+)\]", ended.out), float)


def _turned(file):
  content = json.loads(file.read_text()) | {"rotation_deg": 180.0}
  turned = file.with_name("turned.json")
  turned.write_text(json.dumps(content))
  return turned


@pytest.mark.parametrize(
  "flags, said",
  [
    (["--normalise=0,1"], "normalise=0,1 is for scans"),
    (["--calibration=c.json"], "calibration=c.json is for scans"),
    (["--positions=5000"], "positions=5000 must be 16 to 4096"),
    (["--reference=nowhere.tif"], "nowhere.tif"),
    (["--reference_pixel_size_nm=1"], "reference_pixel_size_nm needs --reference"),
    (["--period_nm=3"], "period_nm needs the size of a px"),
    (["--period_nm=3", "--pixel_size_nm=0.5"], "no lines with a spacing of about 6 px"),
    (["--reference=FILE"], "black and white were measured: --normalise=520.8"),
    (["--field_size=200"], "too few for field_size=200: give at most --field_size=100,"),
    (["--output=/dev/null/no.json"], "/dev/null cannot be written: "),
  ],
)
def test_mistakes_are_sentences_and_nothing_is_written(tmp_path, micrograph, flags, said):
  noise = tmp_path / "noise.npy"
  np.save(noise, np.random.default_rng(0).normal(size=(64, 64)))
  flags = [flag.replace("FILE", str(noise)) for flag in flags]
  output = tmp_path / "calibration.json"
  ended = calibrate(output, f"--microscope=file:{micrograph}", "--field_size=64", *flags)
  assert ended.code == 1 and said in ended.err and "Traceback" not in ended.err, ended.err
  assert not output.exists()


def test_calibrations_are_not_written_over_nor_used_for_what_they_are_not_of(tmp_path, micrograph):
  file = tmp_path / "calibration.json"
  content = {"microscope": "obi:here:1", "black": 0, "white": 9, "full_field_nm": 100.0}
  file.write_text(json.dumps(content))
  ended = calibrate(file, f"--microscope=file:{micrograph}")
  assert ended.code == 1 and f"output={file} exists" in ended.err
  live = lambda *more: commands.launch(
    "live", "--fields", f"--output_dir={tmp_path}", f"--calibration={file}", *more
  )
  ended = live(f"--microscope=file:{micrograph}")
  assert ended.code == 1 and "is of obi:here:1, and microscope=file:" in ended.err
  for flag in ("--normalise=1,2", "--full_field_nm=50"):
    ended = live("--microscope=obi:there:1", "--pixel_size_nm=1", flag)
    assert ended.code == 1 and "both say it; leave one out" in ended.err
  file.write_text("{}")
  ended = live("--microscope=obi:there:1")
  assert ended.code == 1 and "it lacks black, microscope, white" in ended.err
