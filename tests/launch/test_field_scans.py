"""launch.scan and launch.live with --fields, on a tiny exported model."""

import csv
import json
import socket

import numpy as np
import pytest

from adaptive_stem_tf.serving import field_scan
from launch import microscopes
from tests import exports as exports_lib
from tests import tiny
from tests.launch import commands
from tests.unit.serving.live import peer, visitor

IMAGES = ("mask", "partial_scan", "completion", "uncertainty", "interpolation")


@pytest.fixture(scope="module")
def fields(exports):
  """A scanner of whole fields, exported."""
  return exports(exports_lib.FIELDS)


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory):
  """A micrograph of 70 x 48 px of intensities about 1000."""
  path = tmp_path_factory.mktemp("micrographs") / "micrograph.npy"
  np.save(path, 1000 + 300 * tiny.images(1, 70)[0, :, :48, 0])
  return path


def summary(ended, output):
  assert ended.code == 0, ended.err
  return json.loads((output / "scan.json").read_text())


def scan(fields, micrograph, output, *more):
  places = [f"--image={micrograph}", f"--model={fields}", f"--output_dir={output}"]
  return commands.launch("scan", "--fields", *places, *more)


def test_a_field_of_any_size_is_scanned(tmp_path, fields, micrograph):
  output = tmp_path / "out"
  ended = scan(fields, micrograph, output, "--coverage=0.1", "--pixel_size_nm=0.5")
  told = summary(ended, output)
  assert told["frame_px"] == [70, 48] and told["distinct_pixels"] == 336
  assert told["positions_by_round"] == [84, 126, 126]
  assert told["errors"]["completion"]["ten_mse_filtered"] < 0.5
  images = {name: np.load(output / f"{name}.npy") for name in IMAGES}
  assert all(image.shape == (70, 48) for image in images.values())
  with open(output / "path.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  truth = np.load(micrograph)
  for row in rows[::50]:
    place = int(row["row_px"]), int(row["column_px"])
    assert images["mask"][place] == 1 and float(row["row_nm"]) == 0.5 * place[0]
    assert float(row["intensity"]) == pytest.approx(truth[place], rel=1e-5)
  assert (output / "scan.png").is_file() and "PSNR" in ended.out


def test_what_was_measured_before_is_completed(tmp_path, fields, micrograph):
  """The same positions and the same range of intensities give the same completion."""
  before, after = tmp_path / "before", tmp_path / "after"
  same = ["--normalise=500,1500", "--pixel_size_nm=0.5"]
  assert scan(fields, micrograph, before, "--coverage=0.1", *same).code == 0
  partial = f"--partial={before / 'partial_scan.tif'}"
  places = [f"--model={fields}", f"--output_dir={after}", "--normalise=500,1500"]
  ended = commands.launch("scan", "--fields", partial, *places)
  told = summary(ended, after)
  assert "336 positions (10.00%) that were measured before" in ended.out
  assert told["partial"] == str(before / "partial_scan.tif") and told["distinct_pixels"] == 336
  assert told["pixel_size_nm"] == pytest.approx(0.5) and "errors" not in told
  for name in IMAGES:
    found, expected = (np.load(folder / f"{name}.npy") for folder in (after, before))
    np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)


def test_the_range_of_what_was_measured_before_counts(tmp_path, fields):
  partial = np.full([40, 48], np.nan, np.float32)
  partial[::4, ::3] = np.random.default_rng(0).lognormal(5, 1, [10, 16])
  np.save(tmp_path / "partial.npy", partial)
  places = [f"--partial={tmp_path / 'partial.npy'}", f"--model={fields}"]
  told = summary(commands.launch("scan", "--fields", *places, f"--output_dir={tmp_path}"), tmp_path)
  ends = np.percentile(partial[::4, ::3], [0.1, 99.9])
  assert told["black_and_white"] == pytest.approx(ends, rel=1e-5)


@pytest.mark.parametrize(
  "more, words",
  [
    ([], "nothing to scan: give --image=FILE, or --partial=FILE"),
    (["--image=a.tif", "--partial=b.tif"], "image=a.tif and partial=b.tif disagree"),
    (["--partial=b.tif", "--nofields"], "partial=b.tif and fields=False disagree"),
    (["--partial=b.tif", "--coverage=0.1"], "coverage=0.1 and partial=b.tif disagree"),
    (["--partial=b.tif", "--rows=9"], "rows=9 and partial=b.tif disagree"),
    (["--partial=b.tif"], "b.tif does not exist"),
  ],
)
def test_partial_scans_that_mean_nothing_are_refused(tmp_path, more, words):
  ended = commands.launch("scan", "--fields", f"--output_dir={tmp_path}", *more)
  assert ended.code == 1 and words in ended.err


def test_a_micrograph_is_no_partial_scan(tmp_path, fields, micrograph):
  places = [f"--partial={micrograph}", f"--model={fields}", f"--output_dir={tmp_path}"]
  ended = commands.launch("scan", "--fields", *places)
  assert ended.code == 1 and "has no pixel that was not measured" in ended.err


def test_electrons_are_a_budget_and_bring_noise(tmp_path, fields, micrograph):
  dose = ["--electrons=4000", "--electrons_per_pixel=20", "--contiguous"]
  told = summary(scan(fields, micrograph, tmp_path, *dose), tmp_path)
  assert told["distinct_pixels"] == 200 and told["contiguous"]
  measured = np.load(tmp_path / "partial_scan.npy")[np.load(tmp_path / "mask.npy") > 0]
  # Counts of few electrons take few values.
  assert len(np.setdiff1d(measured, np.float32(np.load(micrograph)))) > 10


@pytest.mark.parametrize(
  "more, words",
  [
    (["--coverage=0.1", "--electrons=9", "--electrons_per_pixel=2"], "both are the budget"),
    (["--electrons=9"], "needs electrons_per_pixel"),
    (["--tiles"], "tiles=True and fields=True disagree"),
    (["--coverage=0.0001"], "the budget is 0 positions"),
    (["--nofields", "--coverage=0.1"], "coverage=0.1 and fields=False disagree"),
  ],
)
def test_budgets_that_mean_nothing_are_refused(tmp_path, fields, micrograph, more, words):
  ended = scan(fields, micrograph, tmp_path, *more)
  assert ended.code == 1 and words in ended.err


def test_a_digital_twin_is_scanned_in_rounds(tmp_path, fields, micrograph):
  faults = ["--dose=100", "--lag_us=5", "--decision_us=1000", "--dwell_us=2"]
  ended = commands.launch(
    "live", "--fields", f"--model={fields}", f"--microscope=file:{micrograph}",
    f"--output_dir={tmp_path}", "--field_size=48", "--coverage=0.1", "--window=20,0", *faults,
  )  # fmt: skip
  told = summary(ended, tmp_path)
  assert told["origin_px"] == [20, 0]
  path = np.loadtxt(tmp_path / "path.csv", delimiter=",", skiprows=1)
  rows, columns = np.nonzero(np.load(tmp_path / "mask.npy"))
  assert sorted(map(tuple, path[:, 1:3])) == sorted(zip(rows + 20, columns))
  assert told["distinct_pixels"] == 230 and told["twin"]["dose"] == 100
  assert told["beam_waited_us"] == pytest.approx(2 * 1000)


def test_a_field_is_rehearsed_before_the_microscope_is_opened(
  tmp_path, fields, micrograph, monkeypatch
):
  done, opened = [], microscopes.Opened
  rehearse = field_scan.rehearse
  monkeypatch.setattr(
    field_scan, "rehearse", lambda *given: done.append("rehearsed") or rehearse(*given)
  )
  monkeypatch.setattr(
    microscopes, "Opened", lambda side: done.append(f"opened {side}") or opened(side)
  )
  ended = commands.launch(
    "live", "--fields", f"--model={fields}", f"--microscope=file:{micrograph}",
    f"--output_dir={tmp_path}", "--field_size=48", "--coverage=0.1",
  )  # fmt: skip
  assert ended.code == 0 and done == ["rehearsed", "opened 48"]


def test_a_page_shows_a_field_until_somebody_stops_it(tmp_path, fields, micrograph):
  with socket.create_server(("127.0.0.1", 0)) as found:
    port = found.getsockname()[1]
  visits = visitor.Visitor(port, stops=1)
  ended = commands.launch(
    "live", "--fields", f"--model={fields}", f"--microscope=file:{micrograph}",
    f"--output_dir={tmp_path}", "--field_size=48", "--coverage=0.1", "--real_time",
    "--dwell_us=60000", "--browser", f"--browser_port={port}", "--browser_wait_s=60",
  )  # fmt: skip
  told = summary(ended, tmp_path)
  assert told["ended_by"] == "Stop in the browser" and 0 < told["probing_positions"] < 230
  assert [words["state"] for words in visits.left().words[-2:]] == ["scanning", "stopped"]
  assert visits.words[-1]["text"].startswith(f"{told['probing_positions']} of 230 positions")
  mask = np.load(tmp_path / "mask.npy")
  assert (
    mask.sum() == told["distinct_pixels"]
    and np.isfinite(np.load(tmp_path / "completion.npy")).all()
  )
  assert "ended by Stop in the browser" in ended.out


def test_a_scan_generator_scans_a_field_in_rounds(tmp_path, fields):
  other = peer.Peer()
  ended = commands.launch(
    "live", "--fields", f"--model={fields}", f"--microscope=obi:127.0.0.1:{other.port}",
    f"--output_dir={tmp_path}", "--field_size=48", "--coverage=0.1", "--plan_ahead=0.25",
    "--pixel_size_nm=1", "--full_field_nm=96", "--normalise=0,65535",
  )  # fmt: skip
  other.close()
  told = summary(ended, tmp_path)
  assert told["distinct_pixels"] == 230
  lit = [(pixel.y, pixel.x) for pixel in other.pixels if not pixel.blanked]
  assert len(lit) == len(set(lit)) == 230 and other.blanked
  # The middle of each pixel: codes are half a px, 85.3 codes, further; rows are y.
  codes = np.array(lit)
  scale = 16384 / 96
  at = np.floor((codes - (8192 - 24 * scale)) / scale).astype(int)
  with open(tmp_path / "path.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  assert [(int(row["row_px"]), int(row["column_px"])) for row in rows] == list(map(tuple, at))
  assert [float(row["intensity"]) for row in rows] == [peer.sample(x, y) for y, x in lit]
