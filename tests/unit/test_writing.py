"""Files are written whole or not at all."""

import errno
import os
import pathlib

import numpy as np
import pytest
from matplotlib import figure

from adaptive_stem_tf import writing
from adaptive_stem_tf.evaluation import style
from tests import disks

NAMES = ("a.txt", "b.txt", "c.txt")


def contents(folder):
  return {path.name: path.read_text() for path in folder.iterdir()}


def write_together(folder, text):
  with writing.together(folder, last="b.txt") as unfinished:
    for name in NAMES:
      (unfinished / name).write_text(text)


def test_a_text_is_written_into_a_new_folder_and_replaced(tmp_path):
  file = tmp_path / "new" / "folder" / "file.txt"
  for text in ("first", "second"):
    writing.text(file, text)
    assert contents(file.parent) == {"file.txt": text}


@pytest.mark.parametrize("room", [0, 3])
def test_on_a_full_disk_what_was_there_stays(tmp_path, room):
  file = tmp_path / "file.txt"
  file.write_text("of before")
  with disks.full(room), pytest.raises(writing.WriteError) as error:
    writing.text(file, "of now")
  assert contents(tmp_path) == {"file.txt": "of before"}
  assert str(error.value) == (
    f"{file} cannot be written: File too large. Free some space, or choose another folder."
  )


def test_what_is_interrupted_leaves_nothing(tmp_path):
  with pytest.raises(KeyboardInterrupt), writing.whole(tmp_path / "file") as unfinished:
    unfinished.write_text("half")
    raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_what_a_link_leads_to_is_replaced(tmp_path):
  (tmp_path / "file").write_text("of before")
  (tmp_path / "link").symlink_to("file")
  writing.text(tmp_path / "link", "of now")
  assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "of now"


def test_devices_are_written_to_as_they_are():
  writing.text("/dev/null", "of now")
  assert not pathlib.Path("/dev/null").is_file()


def test_files_that_belong_together_are_replaced_together(tmp_path):
  write_together(tmp_path / "new", "first")
  write_together(tmp_path / "new", "second")
  assert contents(tmp_path / "new") == dict.fromkeys(NAMES, "second")


def test_none_is_replaced_if_one_does_not_fit(tmp_path):
  write_together(tmp_path, "of before")
  with disks.full(6), pytest.raises(writing.WriteError, match=f"^{tmp_path} cannot be written"):
    write_together(tmp_path, "more than fits")
  assert contents(tmp_path) == dict.fromkeys(NAMES, "of before")


def test_a_file_within_others_is_told_by_what_all_become(tmp_path):
  with (
    disks.full(6),
    pytest.raises(writing.WriteError, match=f"^{tmp_path} cannot be written"),
    writing.together(tmp_path, last="b.txt") as unfinished,
  ):
    writing.text(unfinished / "b.txt", "more than fits")


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_leaves_no_two_times_side_by_side(tmp_path, monkeypatch, moves):
  """Wherever it falls, the file that says that the others are there is not beside older ones."""
  write_together(tmp_path, "of before")
  replace, moved = pathlib.Path.replace, []

  def killed(path, target):
    if len(moved) == moves:
      raise KeyboardInterrupt
    moved.append(target)
    return replace(path, target)

  monkeypatch.setattr(pathlib.Path, "replace", killed)
  with pytest.raises(KeyboardInterrupt):
    write_together(tmp_path, "of now")
  assert "b.txt" not in contents(tmp_path)
  monkeypatch.undo()
  write_together(tmp_path, "at last")
  assert contents(tmp_path) == dict.fromkeys(NAMES, "at last")


def test_what_a_kill_left_is_removed(tmp_path):
  for name in ("b.txt.files.tmp/a.txt", "b.txt.files.tmp/of_another_time"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("half")
  write_together(tmp_path, "whole")
  assert contents(tmp_path) == dict.fromkeys(NAMES, "whole")


def test_room_is_tried_and_given_back(tmp_path):
  writing.check_room(tmp_path / "new", 1000)
  with disks.full(999), pytest.raises(writing.WriteError, match=f"^{tmp_path}/new cannot"):
    writing.check_room(tmp_path / "new", 1000)
  assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
  "number, advice", [(errno.ENOSPC, "Free some space"), (errno.EROFS, "that you may write to")]
)
def test_errors_say_what_to_do(number, advice):
  with pytest.raises(writing.WriteError) as error, writing.explained("place"):
    raise OSError(number, os.strerror(number), "place/file")
  assert str(error.value).startswith(f"place/file cannot be written: {os.strerror(number)}. ")
  assert advice in str(error.value)


def test_numpy_and_pictures_say_it_too(tmp_path):
  canvas = figure.Figure(figsize=(1, 1))
  canvas.subplots()
  frames = np.random.default_rng(0).integers(0, 255, [2, 30, 30, 3], np.uint8)
  with disks.full(300):
    with (
      pytest.raises(writing.WriteError, match="requested and .* written. Free some space"),
      writing.whole(tmp_path / "a.npy") as unfinished,
      open(unfinished, "wb") as stream,
    ):
      np.save(stream, np.zeros(1000))
    for vector in (False, True):
      with pytest.raises(writing.WriteError, match="a.png cannot be written: File too large"):
        style.save(canvas, tmp_path / "a.png", vector=vector)
    with pytest.raises(writing.WriteError, match="a.gif cannot be written: File too large"):
      style.save_animation(tmp_path / "a.gif", list(frames))
  assert not list(tmp_path.iterdir())
