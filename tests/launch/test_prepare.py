"""python -m launch.prepare on folders of files."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from adaptive_stem_tf.micrographs import field_folder, field_set
from launch import field_specimens
from tests import disks
from tests.launch import commands
from tests.unit.micrographs import fields

MICROGRAPHS = pathlib.Path(__file__).parents[2].parent / "shared" / "data" / "micrographs"


@pytest.fixture
def folder(tmp_path):
  """Four micrographs, a picture in colour and a broken file."""
  place = tmp_path / "files"
  place.mkdir()
  for seed in range(4):
    np.save(place / f"{seed}.npy", 10 * fields.smooth(64, 100, seed))
  Image.fromarray(np.random.default_rng(0).integers(0, 255, [64, 64, 3], np.uint8)).save(
    place / "photo.png"
  )
  (place / "broken.tif").write_bytes(b"II*\0")
  return place


def prepare(folder, output, *more):
  return commands.launch(
    "prepare", f"--input={folder}", f"--output={output}", "--size=16", "--noprogress", *more
  )


def test_a_folder_becomes_crops_that_can_be_trained_and_evaluated_on(tmp_path, folder, eagerly):
  ended = prepare(folder, tmp_path / "out" / "crops.npy")
  assert ended.code == 0, ended.err
  assert (
    "photo.png: SKIPPED: it is in colour" in ended.out
    and "4 files read, 2 skipped, 0 copies" in ended.out
  )
  assert {path.name for path in (tmp_path / "out").iterdir()} == {
    "crops.npy",
    "crops.json",
    "crops_report.json",
    "crops.png",
  }
  images = np.load(tmp_path / "out" / "crops.npy")
  entries = json.loads((tmp_path / "out" / "crops.json").read_text())
  assert images.shape == (len(entries), 16, 16, 1) and len(entries) > 40
  failed = json.loads((tmp_path / "out" / "crops_report.json").read_text())["failed"]
  assert {pathlib.Path(path).name for path in failed} == {"photo.png", "broken.tif"}
  assert commands.train(tmp_path / "run", tmp_path / "out" / "crops.npy", iterations=1).code == 0
  ended = commands.launch(
    "evaluate", f"--workdir={tmp_path / 'run'}", f"--output_dir={tmp_path / 'run'}"
  )
  result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
  tested = {entry["file"] for entry in entries if entry["split"] == "test"}
  assert {row["source"] for row in result["per_image"]} == {f"{folder}/{name}" for name in tested}


def prepare_fields(folder, output, *more):
  return commands.launch(
    "prepare", "--fields", f"--input={folder}", f"--output={output}", "--noprogress", *more
  )


def test_a_folder_becomes_whole_fields(tmp_path, folder):
  for seed in range(3):
    np.save(folder / f"field{seed}.npy", fields.smooth(150 + seed, 200, 9 + seed))
  (tmp_path / "rows.json").write_text('{"field0.npy": 120}')
  ended = prepare_fields(
    folder, tmp_path / "out" / "fields.npz", "--field_size=100", f"--rows={tmp_path / 'rows.json'}"
  )
  assert ended.code == 1 and "no field is left" in ended.err  # 75 x 100 px
  ended = prepare_fields(
    folder, tmp_path / "out" / "fields.npz", "--field_size=160", f"--rows={tmp_path / 'rows.json'}"
  )
  assert ended.code == 0, ended.err
  assert (
    "3 files read, 6 skipped, 0 copies" in ended.out and "1 fields of 1 files test" in ended.out
  )
  assert "0.npy: SKIPPED: a field of 64 x 100 px is left of it" in ended.out
  names = {path.name for path in (tmp_path / "out").iterdir()}
  assert names == {"fields.npz", "fields.json", "fields_report.json", "fields.png"}
  loaded = field_set.load(tmp_path / "out" / "fields.npz")
  shapes = {entry["file"]: field.shape for field, entry in zip(*loaded)}
  assert shapes == {"field0.npy": (96, 160), "field1.npy": (121, 160), "field2.npy": (122, 160)}
  report = json.loads((tmp_path / "out" / "fields_report.json").read_text())
  assert len(report["failed"]) == 6 and report["reading"]["size"] == 160


def test_a_folder_becomes_a_folder_of_whole_fields_one_at_a_time(tmp_path, monkeypatch):
  place = tmp_path / "files"
  place.mkdir()
  for seed in range(3):
    np.save(place / f"field{seed}.npy", fields.smooth(150 + seed, 200, 9 + seed))
  assert prepare_fields(place, tmp_path / "fields.npz").code == 0
  expected = field_set.load(tmp_path / "fields.npz")
  ended = prepare_fields(place, tmp_path / "out")
  assert ended.code == 0 and "fields.json (provenance)" in ended.out, ended.err
  assert {path.name for path in (tmp_path / "out").iterdir()} == {
    *(f"field_{number:06d}.npy" for number in range(3)), "fields.json", "fields_report.json",
    "fields.png"}  # fmt: skip
  stored = field_folder.load(tmp_path / "out")
  assert [{**entry, "array": None} for entry in stored.entries] == [
    {**entry, "array": None} for entry in expected.entries
  ]
  for ours, theirs in zip(stored.fields, expected.fields, strict=True):
    np.testing.assert_array_equal(ours.read(), theirs.astype(np.float16))
  (tested,) = field_specimens.read([str(tmp_path / "out")], 512, "test")
  assert tested.source == expected.entries[-1]["file"]
  np.testing.assert_allclose(tested.image, expected.fields[-1], atol=1e-3)


def test_the_same_seed_gives_the_same_crops(tmp_path, folder):
  options = [["--seed=1"], ["--seed=1"], ["--seed=2"]]
  for name, more in zip("abc", options):
    assert prepare(folder, tmp_path / f"{name}.npy", "--max_crops=6", *more).code == 0
  first, again, other = (np.load(tmp_path / f"{name}.npy") for name in "abc")
  np.testing.assert_array_equal(first, again)
  assert first.shape != other.shape or not np.array_equal(first, other)


def test_strict_stops_at_a_broken_file(tmp_path, folder):
  ended = prepare(folder, tmp_path / "crops.npy", "--strict")
  assert (
    ended.code == 1
    and "broken.tif cannot be read" in ended.err
    and "--strict stops here" in ended.err
  )
  assert not (tmp_path / "crops.npy").exists()


@pytest.mark.parametrize(
  "arguments, words",
  [
    (["--input=none*", "--output=a.npy"], "none* matches no file"),
    (["--input=.", "--output=a.png"], "a.png does not end in .npy"),
    (["--output=a.npy"], "input"),
    (["--input=.", "--output=a.npy", "--size=4"], "size"),
    (["--input=.", "--output=a.npy", "--fields"], "a.npy does not end in .npz"),
    (["--input=.", "--output=a.npz", "--fields", "--field_size=64"], "field_size"),
    (["--input=.", "--output=a.npz", "--fields", "--rows=x.json"], "neither a number of rows"),
  ],
)
def test_wrong_flags_are_sentences(arguments, words):
  ended = commands.launch("prepare", *arguments)
  assert ended.code and words in ended.err + ended.out and "Traceback" not in ended.err


def test_one_micrograph_is_not_enough(tmp_path, folder):
  ended = prepare(folder / "0.npy", tmp_path / "crops.npy")
  assert (
    ended.code == 1
    and "crops come from 1 micrograph" in ended.err
    and not list(tmp_path.glob("crops*"))
  )


def test_all_seven_real_files(tmp_path):
  pytest.importorskip(
    "rsciio", reason="RosettaSciIO is an extra: pip install 'adaptive-stem-tf[microscopy]'."
  )
  if not MICROGRAPHS.is_dir():
    pytest.skip(f"{MICROGRAPHS} is missing: it holds real micrographs.")
  ended = commands.launch(
    "prepare", f"--input={MICROGRAPHS}", f"--output={tmp_path / 'a.npy'}", "--noprogress"
  )
  assert ended.code == 0, ended.err
  assert "7 files read, 0 skipped, 0 copies left out" in ended.out
  entries = json.loads((tmp_path / "a.json").read_text())
  assert len({entry["file"] for entry in entries}) == 7
  sizes = {entry["file"]: entry["pixel_size"] for entry in entries}
  assert sizes["oxide_survey.dm4"] == "0.05859 nm" and sizes["dysco3_uint8.png"] == "unknown"


@pytest.mark.parametrize("room", [0, 1000, 20_000])
def test_on_a_full_disk_what_was_there_stays(tmp_path, folder, room):
  """The first file does not fit, or one of those that belong to it."""
  output, names = tmp_path / "out", ("crops.npy", "crops.json", "crops_report.json", "crops.png")
  output.mkdir()
  for name in names:
    (output / name).write_text("of before")
  with disks.full(room):
    ended = prepare(folder, output / "crops.npy", "--max_crops=2")
  assert ended.code == 1 and "Traceback" not in ended.err
  assert f"{output} cannot be written: " in ended.err and "Free some space" in ended.err
  assert {path.name: path.read_text() for path in output.iterdir()} == dict.fromkeys(
    names, "of before"
  )
