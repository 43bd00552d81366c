"""The campaigns, in short forms: what has to be 0 is 0."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests.campaigns import disk, files, kill, peer, requests

ROOT = pathlib.Path(__file__).parents[2]


def test_a_beam_stays_in_its_field_whatever_the_peer_does():
  found = peer.run(24, seed=1)
  assert not {"lit_outside", "left_on", "wrong", "lost", "broken"} & set(found), found
  assert found["kept"] + found["whole"] > 5


def test_malformed_requests_are_refused_and_valid_ones_answered():
  found = requests.run(150, seed=1)
  bad = {"wrong", "accepted", "internal", "dropped"}
  assert not bad & {result.removeprefix("nearly: ") for result in found}, found
  assert found["refused"] > 50 and found["nearly: refused"] > 20


def test_damaged_files_are_told(tmp_path):
  for counts in files.run_config(6, 1, tmp_path).values():
    assert not [result for result in counts if result.startswith(("silent", "traceback"))], counts


def call(name, cases, only):
  """Runs a campaign as a command, since it forks, or makes file systems; returns its counts."""
  command = [sys.executable, "-m", f"tests.campaigns.{name}", f"--cases={cases}", f"--only={only}"]
  ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  if "unshare" in ended.stderr.partition(":")[0]:
    pytest.skip(f"file systems cannot be made here: {ended.stderr}")
  assert ended.returncode == 0, ended.stderr
  return json.loads(ended.stdout[ended.stdout.index("{") :])[only]


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written():
  found = call("disk", 3, "prepare")
  assert found["told"] > 5 and not any(map(disk.is_bad, found)), found


@pytest.mark.slow
def test_a_kill_leaves_nothing_half_written():
  found = call("kill", 4, "prepare")
  assert not any(set(result.replace(":", " ").split()) & set(kill.BAD) for result in found), found
