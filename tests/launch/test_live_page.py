"""The page of python -m launch.live."""

import json
import socket

import numpy as np
import pytest

from adaptive_stem_tf.serving.live import drawing
from tests.launch.live_scans import FILES, live, rows
from tests.unit.serving.live import visitor

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
  """What draws has the lowest priority, and other tests keep the cores busy."""
  monkeypatch.setattr(drawing, "_PATIENCE", visitor.PATIENCE)


def free_port():
  """Returns a port that is free."""
  with socket.create_server(("127.0.0.1", 0)) as found:
    return found.getsockname()[1]


def test_a_page_shows_a_scan_until_somebody_stops_it(tmp_path, models, micrograph):
  port = free_port()
  visits = visitor.Visitor(port, stops=1)
  ended = live(
    models,
    f"file:{micrograph}",
    tmp_path,
    "--real_time",
    "--dwell_us=1000000",  # a segment lasts 4 s: the page is drawn at the lowest priority
    "--browser",
    f"--browser_port={port}",
    "--browser_wait_s=240",
  )
  assert ended.code == 0, ended.err
  visits.left()
  assert f"Page: http://127.0.0.1:{port}/" in ended.out and visits.code == 1000
  assert [words["state"] for words in visits.words[-2:]] == ["scanning", "stopped"]
  told = json.loads((tmp_path / "scan.json").read_text())
  assert told["ended_by"] == "Stop in the browser" and told["segments"] < 4
  assert "The scan was ended by Stop in the browser" in ended.out
  assert len(rows(tmp_path / "path.csv")) == 4 * told["segments"]
  assert np.isfinite(np.load(tmp_path / "completion.npy")).all()
  assert {path.name for path in tmp_path.iterdir()} == FILES - {"live.png"}


def test_a_page_ends_with_the_scan(tmp_path, models, micrograph):
  port = free_port()
  visits = visitor.Visitor(port)
  more = ["--decision_us=10", "--browser", f"--browser_port={port}", "--browser_wait_s=240"]
  ended = live(models, f"file:{micrograph}", tmp_path, *more)
  assert ended.code == 0, ended.err
  last = visits.left().words[-1]
  assert last["state"] == "over" and last["text"].startswith("4 of 4 segments") and visits.pictures
  with pytest.raises(OSError):
    socket.create_connection(("127.0.0.1", port))
