"""Folders of exports that were killed, and of those that go on."""

import os
import platform
import signal
import subprocess
import sys
import uuid

import pytest

from adaptive_stem_tf.serving import unfinished

WRITES = """
import sys, time
from adaptive_stem_tf.serving import unfinished
with unfinished.folder(sys.argv[1]) as place:
  (place / "saved_model.pb").write_text("half")
  print(place, flush=True)
  time.sleep(600)
"""


def names(folder):
  """Returns what a folder holds."""
  return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_export_left_is_removed_and_what_another_writes_is_not(tmp_path):
  writer = subprocess.Popen(
    [sys.executable, "-c", WRITES, str(tmp_path / "1")], stdout=subprocess.PIPE, text=True
  )
  try:
    theirs = writer.stdout.readline().strip()
    with unfinished.folder(tmp_path / "1") as ours:
      assert len(names(tmp_path)) == 2 and os.path.exists(f"{theirs}/saved_model.pb")
      writer.send_signal(signal.SIGKILL)
      writer.wait()
      with unfinished.folder(tmp_path / "2") as next_one:
        assert names(tmp_path) == sorted([ours.name, next_one.name])
  finally:
    writer.kill()
    writer.wait()
  assert not names(tmp_path)


# Parameters are the same in every process, so that tests can be shared among several.
@pytest.mark.parametrize(
  "pattern", ["1", "notes.tmp", "1.{}.tmp", "1.another.{}.tmp", "x.{here}.{}.tmp"]
)
def test_what_is_not_known_to_be_abandoned_stays(tmp_path, pattern):
  name = pattern.format(uuid.uuid4().hex, here=platform.node())
  (tmp_path / name).mkdir()
  with unfinished.folder(tmp_path / "2"):
    pass
  assert names(tmp_path) == [name]


def test_nothing_is_removed_where_folders_cannot_be_locked(tmp_path, monkeypatch):
  left = tmp_path / f"1.{platform.node()}.{uuid.uuid4().hex}.tmp"
  left.mkdir()

  def fail(*_):
    raise OSError("no locks available")

  monkeypatch.setattr(unfinished.fcntl, "flock", fail)
  with unfinished.folder(tmp_path / "2") as ours:
    assert ours.is_dir()
  assert names(tmp_path) == [left.name]


def test_a_folder_that_another_took_for_abandoned_is_made_again(tmp_path, monkeypatch):
  locked, lost = unfinished._lock, []

  def lock(place):
    if not lost:  # the other export is faster
      lost.append(place)
      place.rmdir()
    return locked(place)

  monkeypatch.setattr(unfinished, "_lock", lock)
  with unfinished.folder(tmp_path / "1") as ours:
    assert ours.is_dir() and ours not in lost
