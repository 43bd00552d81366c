"""Which files launch.scan scans, and into which folders."""

import csv

import pytest

from adaptive_stem_tf import writing
from launch import scan_files

SUMMARY = {"frame_px": [4, 5], "probing_positions": 2, "pixel_size_nm": None, "warning": "few"}
ERRORS = {"ten_mse_filtered": 0.1, "psnr_filtered_db": 20.0, "ssim_filtered": 0.5}


class Scan:
  """Remembers what it scanned; refuses files whose name has an x."""

  def __init__(self):
    self.calls = {}

  def __call__(self, file, folder):
    if "x" in file.rpartition("/")[2].partition(".")[0]:
      raise ValueError("it is broken")
    self.calls[file] = folder
    return {**SUMMARY, "errors": {"completion": ERRORS}}


@pytest.fixture
def files(tmp_path, monkeypatch):
  """Micrographs, and a file that is none, in a folder."""
  monkeypatch.chdir(tmp_path)
  for name in ("a.tif", "a.png", "more/b.tif", "x.tif", "fields.json"):
    place = tmp_path / "in" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"")


@pytest.mark.parametrize("pattern", ["in", "in/**/*", "in/[a-x]*"])
def test_each_file_has_a_folder_and_a_line(files, pattern, capsys):
  scan = Scan()
  scan_files.each(pattern, "out", scan)
  folders = {"in/a.tif": "out/a.tif", "in/a.png": "out/a.png", "in/more/b.tif": "out/more/b"}
  if pattern == "in/[a-x]*":
    folders.pop("in/more/b.tif")
  assert scan.calls == folders
  with open("out/scans.csv", newline="") as stream:
    rows = {row.pop("file"): row for row in csv.DictReader(stream)}
  assert set(rows) == {*folders, "in/x.tif"}
  assert rows["in/x.tif"]["error"] == "it is broken" and not rows["in/x.tif"]["folder"]
  row = rows["in/a.tif"]
  assert (row["rows_px"], row["columns_px"], row["positions"]) == ("4", "5", "2")
  assert (row["ten_mse"], row["psnr_db"], row["ssim"]) == ("0.1", "20.0", "0.5")
  assert (row["warning"], row["pixel_size_nm"], row["error"]) == ("few", "", "")
  out = capsys.readouterr().out
  assert "in/x.tif is left out: it is broken" in out
  assert f"{len(folders)} of {len(folders) + 1} files were scanned" in out


def test_a_full_disk_ends_the_scan_of_several(files):
  """It is no mistake of a file; those that were scanned before have their lines."""
  scan = Scan()

  def full(file, folder):
    if file == "in/more/b.tif":
      raise writing.WriteError(f"{folder} cannot be written")
    return scan(file, folder)

  with pytest.raises(writing.WriteError, match="out/more/b cannot be written"):
    scan_files.each("in/**/*", "out", full)
  with open("out/scans.csv", newline="") as stream:
    assert [row["file"] for row in csv.DictReader(stream)] == ["in/a.png", "in/a.tif"]


def test_one_file_is_scanned_into_the_folder_itself(files):
  scan = Scan()
  scan_files.each("in/a.tif", "out", scan)
  assert scan.calls == {"in/a.tif": "out"}
  with pytest.raises(ValueError, match="it is broken"):
    scan_files.each("in/x.tif", "out", scan)


def test_nothing_to_scan_is_a_sentence(files):
  with pytest.raises(FileNotFoundError, match="matches no file"):
    scan_files.each("in/*.dm4", "out", Scan())
  with pytest.raises(ValueError, match="none of the 1 files of in/x"):
    scan_files.each("in/x*", "out", Scan())
