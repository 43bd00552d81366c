"""The page of launch.live in a real browser."""

import json
import os
import pathlib
import threading

import numpy as np
import pytest

from tests.launch import chromium, commands
from tests.launch.test_live_page import free_port

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium is installed"),
]
TEXT = "document.getElementById('text').textContent"
# Where screenshots are kept, to be looked at; else they go with the test.
KEPT = os.environ.get("SCREENSHOTS")


@pytest.fixture(scope="module")
def lattice(tmp_path_factory):
  """A lattice of 256 px, with noise, and a hole."""
  rows, columns = np.mgrid[:256, :256]
  atoms = np.exp(-((rows % 12 - 6) ** 2 + (columns % 12 - 6) ** 2) / 8.0)
  hole = (rows - 90) ** 2 + (columns - 120) ** 2 < 40**2
  noise = np.random.default_rng(0).normal(0, 30, rows.shape)
  path = tmp_path_factory.mktemp("images") / "lattice.npy"
  np.save(path, 1000 + 800 * atoms * ~hole + noise)
  return path


class Person(threading.Thread):
  """Opens the page, looks at it, and presses a button."""

  def __init__(self, address, profile, shots, sees, button):
    super().__init__(daemon=True)
    self._address, self._profile, self._shots, self._sees = address, profile, shots, sees
    self._button = button
    self.failure, self.said = None, {}
    self.start()

  def run(self):
    try:
      self._visit()
    except BaseException as error:
      self.failure = error

  def _visit(self):
    browser = chromium.Chromium(self._profile)
    try:
      browser.open(self._address)
      browser.wait(self._sees)
      browser.wait("document.getElementById('picture').naturalWidth > 500")
      browser.screenshot(self._shots / "scanning.png")
      if self._button == "blank":  # that is heard without the process that serves the page
        browser.evaluate("socket.send = () => {}")
      browser.evaluate(f"document.getElementById('{self._button}').click()")
      browser.wait("document.getElementById('state').textContent.includes('was stopped')")
      browser.wait("socket.readyState === WebSocket.CLOSED")  # its end changes nothing
      browser.screenshot(self._shots / "stopped.png")
      for name in ("state", "text"):
        self.said[name] = browser.evaluate(f"document.getElementById('{name}').textContent")
      self.said["disabled"] = browser.evaluate("document.getElementById('stop').disabled")
    finally:
      browser.close()


@pytest.mark.parametrize(
  "kind, more, sees, button",
  [
    (
      "fields",
      ["--fields", "--field_size=128", "--dwell_us=100000"],
      f"{TEXT}.includes('planned')",
      "stop",
    ),
    ("path", ["--dwell_us=200000"], f"parseInt({TEXT}) >= 3", "blank"),
  ],
)
def test_a_person_watches_and_stops_a_scan(tmp_path, lattice, kind, more, sees, button):
  shots = pathlib.Path(KEPT or tmp_path) / kind
  shots.mkdir(parents=True, exist_ok=True)
  port = free_port()
  person = Person(f"http://127.0.0.1:{port}/", tmp_path / "profile", shots, sees, button)
  ended = commands.launch(
    "live",
    f"--microscope=file:{lattice}",
    f"--output_dir={tmp_path / 'out'}",
    "--real_time",
    "--pixel_size_nm=0.02",
    "--browser",
    f"--browser_port={port}",
    "--browser_wait_s=120",
    *more,
  )
  assert ended.code == 0, ended.err
  person.join(60)
  assert person.failure is None and not person.is_alive(), person.failure
  assert person.said["state"] == "The scan was stopped" and person.said["disabled"]
  told = json.loads((tmp_path / "out" / "scan.json").read_text())
  assert told["ended_by"] == f"{'Stop' if button == 'stop' else 'Blank now'} in the browser"
  unit = "segments" if kind == "path" else "probing_positions"
  assert person.said["text"].startswith(f"{told[unit]} of ")
