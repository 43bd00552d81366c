"""python -m launch.live drives an Open Beam Interface, within limits, until a signal."""

import datetime
import json
import os
import signal

import numpy as np
import pytest
import tifffile

from tests.launch.live_scans import FILES, live, rows
from tests.unit.serving.live import peer

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


TIMES = ("began_utc", "ended_utc")


def drive(models, other, output, *more):
  """Scans a field of 64 x 64 nm by a peer's Open Beam Interface, whatever decisions take."""
  place = f"obi:127.0.0.1:{other.port}"
  field = ("--pixel_size_nm=2", "--full_field_nm=128", "--late=wait")
  return live(models, place, output, *field, *more)


def test_an_open_beam_interface_is_driven(tmp_path, models):
  other, before = peer.Peer(), datetime.datetime.now(datetime.timezone.utc)
  before -= datetime.timedelta(milliseconds=1)  # which times are rounded to
  ended = drive(
    models,
    other,
    tmp_path,
    "--normalise=0,65532",
    "--max_beam_us=1000",
    "--current_pa=10",
    "--note=with the beam blanked by hand",
  )
  other.close()
  assert ended.code == 0, ended.err
  assert {path.name for path in tmp_path.iterdir()} == FILES - {"live.png"} and other.blanked
  told = json.loads((tmp_path / "scan.json").read_text())
  assert told["segments"] == 4 and "ten_mse" not in told
  of = told["instrument"]
  assert (of["backend"], of["address"]) == ("obi", f"127.0.0.1:{other.port}")
  assert (of["first_code"], of["full_field_nm"]) == ([6144, 6144], 128)
  assert (of["dwell_us_asked"], of["dwell_us"], of["beam_on_us"]) == (10, 8, 16 * 8)
  assert (of["settle_us"], of["blanker_us"], of["blanker"]) == (0, 0, "pin")
  assert of["heartbeat_ms"] == 100 and of["limits"] == {"max_beam_us": 1000}
  assert of["positions"] == 16 and of["note"] == "with the beam blanked by hand"
  # 10 pA are 62.4 electrons in a us; the field is 32 px of 2 nm.
  assert of["electrons_per_position"] == pytest.approx(8 * 62.415, rel=1e-4)
  assert of["electrons"] == pytest.approx(128 * 62.415, rel=1e-4)
  assert of["electrons_per_nm2"] == pytest.approx(
    128 * 62.415 / of["field_width_nm"] ** 2, rel=1e-4
  )
  assert of["field_width_nm"] == 2 * of["field_px"] == 2 * len(np.load(tmp_path / "completion.npy"))
  began, ended_utc = (datetime.datetime.fromisoformat(of[name]) for name in TIMES)
  assert before <= began <= ended_utc <= datetime.datetime.now(datetime.timezone.utc)
  assert of["calibration"] is None and of["software"] == {}
  with tifffile.TiffFile(tmp_path / "completion.tif") as tiff:
    assert json.loads(tiff.imagej_metadata["Info"])["instrument"] == of
  measured = [float(row["intensity"]) for row in rows(tmp_path / "path.csv")]
  assert measured == [peer.sample(pixel.x, pixel.y) for pixel in other.pixels if not pixel.blanked]


def test_a_dry_run_sends_nothing(tmp_path, models):
  ended = live(
    models,
    "obi:nowhere:1",
    tmp_path / "out",
    "--pixel_size_nm=2",
    "--full_field_nm=128",
    "--dry_run",
  )
  assert ended.code == 0 and "Nothing was sent. 16 positions at codes [" in ended.out, ended.err
  assert "the beam on for 128 us in all" in ended.out and not (tmp_path / "out").exists()


def test_limits_end_a_scan_and_a_scan_is_not_written_over(tmp_path, models):
  other = peer.Peer()
  arguments = [
    f"obi:127.0.0.1:{other.port}",
    tmp_path,
    "--pixel_size_nm=2",
    "--full_field_nm=128",
    "--late=wait",
    "--max_beam_us=100",
    f"--segment_log={tmp_path / 'segments.csv'}",
  ]
  ended = live(models, *arguments)
  assert ended.code == 1 and "beyond max_beam_us=100: it is not sent" in ended.err
  assert json.loads((tmp_path / "scan.json").read_text())["segments"] == 3
  lit = [pixel for pixel in other.pixels if not pixel.blanked]
  assert sum(pixel.dwell + 1 for pixel in lit) / 8 <= 100 and other.blanked
  assert [row["event"] for row in rows(tmp_path / "segments.csv")] == ["sent", "measured"] * 3
  ended = live(models, *arguments)
  assert ended.code == 1 and "holds a scan" in ended.err and len(lit) == 12
  other.close()


def test_a_peer_that_dies_is_a_sentence(tmp_path, models):
  other = peer.Peer(fault="die", at=7)
  ended = drive(models, other, tmp_path, "--picture")
  other.close()
  assert (
    ended.code == 1
    and "error: the Open Beam Interface" in ended.err
    and "Traceback" not in ended.err
  )
  told = json.loads((tmp_path / "scan.json").read_text())
  assert "the Open Beam Interface" in told["ended_by"] and told["segments"] == 1
  path = rows(tmp_path / "path.csv")
  assert len(path) == 4  # the first segment, which was measured
  assert float(path[0]["intensity"]) == peer.sample(other.pixels[0].x, other.pixels[0].y)


class Signalling(peer.Peer):
  """Sends this process a signal when the 7th pixel is scanned."""

  number = signal.SIGTERM

  def _pixel(self, *arguments):
    super()._pixel(*arguments)
    if len(self.pixels) == 7:
      os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
  "number, name, code",
  [
    (signal.SIGTERM, "SIGTERM", 143),
    (signal.SIGINT, "Ctrl-C", 130),
    (signal.SIGUSR1, "SIGUSR1", 128 + signal.SIGUSR1),
  ],
)
def test_a_signal_ends_the_scan_and_what_was_measured_is_written(
  tmp_path, models, number, name, code
):
  before = signal.getsignal(number)
  other = Signalling()
  other.number = number
  ended = drive(models, other, tmp_path)
  other.close()
  assert ended.code == code and f"ended by {name}" in ended.out, ended.err
  assert {path.name for path in tmp_path.iterdir()} == FILES - {"live.png"} and other.blanked
  told = json.loads((tmp_path / "scan.json").read_text())
  assert told["ended_by"] == name and told["segments"] == 2
  lit = [pixel for pixel in other.pixels if not pixel.blanked]
  assert len(lit) == 8 and other.pixels[-1][:2] == (6144, 6144)  # parked in the corner
  measured = [float(row["intensity"]) for row in rows(tmp_path / "path.csv")]
  assert measured == [peer.sample(pixel.x, pixel.y) for pixel in lit]
  assert signal.getsignal(number) is before
