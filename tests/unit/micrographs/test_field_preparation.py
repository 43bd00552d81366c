"""Tests of sets of whole fields: their index, split, copies, and files."""

import json

import numpy as np
import pytest

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import field_preparation, field_set, whole_fields
from adaptive_stem_tf.micrographs.field_preparation import Collection, Index
from adaptive_stem_tf.micrographs.whole_fields import FieldReading
from tests.unit.micrographs import fields


@pytest.fixture
def files(tmp_path):
  """Five micrographs of different shapes."""
  paths = []
  for seed in range(5):
    path = tmp_path / "in" / f"{seed}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, fields.smooth(100 + 5 * seed, 120, seed))
    paths.append(str(path))
  return paths


def collect(paths, index=None, seed=0, **reading):
  collection = Collection(FieldReading(**reading), index or Index(), seed)
  for path in paths:
    collection.add(path)
  return collection


def test_fields_and_provenance_belong_together(files):
  prepared = collect(files).prepare()
  assert len(prepared.fields) == len(prepared.entries) == 5
  for field, entry in zip(*prepared):
    path = next(path for path in files if path.endswith(entry["file"]))
    np.testing.assert_array_equal(field, whole_fields.read(path).field)
    assert entry["shape"] == list(field.shape) and entry["bin"] == 1
    assert entry["gini"] == strata.gini(field)
    assert entry["stratum"] == strata.stratum(entry["gini"])
    assert len(entry["sha256"]) == 64


def test_one_file_in_five_tests_and_the_seed_says_which(files):
  splits = []
  for seed in (0, 0, 1, 2, 3):
    entries = collect(files, seed=seed).prepare().entries
    assert [entry["split"] for entry in entries] == ["train"] * 4 + ["test"]
    splits.append(entries[-1]["file"])
  assert splits[0] == splits[1] and len(set(splits)) > 1


def test_pieces_are_in_the_split_of_their_file(files):
  for seed, path in enumerate(files):
    np.save(path, fields.smooth(200, 200 + seed, seed))
  entries = collect(files, size=100, pieces=True).prepare().entries
  assert len(entries) > 15
  of = {}
  for entry in entries:
    of.setdefault(entry["file"], set()).add(entry["split"])
  assert len(of) == 5 and all(len(splits) == 1 for splits in of.values())


def test_the_index_gives_rows_split_and_licence(tmp_path, files):
  index = tmp_path / "index.json"
  index.write_text(
    json.dumps(
      [
        {"file": "0.npy", "rows": 97, "split": "test", "licence": "MIT", "commit": "abc"},
        {"file": "1.npy", "rows": None, "split": "train"},
        {"file": "2.npy", "rows": None, "split": "test"},
      ]
    )
  )
  entries = {e["file"]: e for e in collect(files[:3], Index.parse(str(index))).prepare().entries}
  assert entries["0.npy"]["shape"] == [97, 120] and entries["0.npy"]["rows"] == 97
  assert entries["0.npy"]["licence"] == "MIT" and "commit" not in entries["0.npy"]
  splits = {name: entry["split"] for name, entry in entries.items()}
  assert splits == {"0.npy": "test", "1.npy": "train", "2.npy": "test"}


def test_rows_by_name_or_for_all(tmp_path, files):
  (tmp_path / "rows.json").write_text('{"0.npy": 98}')
  index = Index.parse(str(tmp_path / "rows.json"))
  assert index.rows(files[0]) == 98 and index.rows(files[1]) is None
  assert Index.parse("99").rows(files[3]) == 99 and Index.parse("").rows(files[3]) is None


@pytest.mark.parametrize(
  "text, error, message",
  [
    (None, FileNotFoundError, "neither a number of rows nor a JSON file"),
    ("[1, 2]", ValueError, "is no index of files"),
    ("3", ValueError, "is no index of files"),
    ("{", ValueError, "is no index of files"),
  ],
)
def test_a_wrong_index_is_refused(tmp_path, text, error, message):
  path = tmp_path / "index.json"
  if text is not None:
    path.write_text(text)
  with pytest.raises(error, match=message):
    Index.parse(str(path))


def test_a_wrong_split_is_refused(files):
  with pytest.raises(ValueError, match="its split is 'validate'"):
    collect(files, Index({"0.npy": {"split": "validate"}})).prepare()


def test_copies_are_left_out(tmp_path, files):
  copy, larger = str(tmp_path / "copy.npy"), str(tmp_path / "larger.npy")
  np.save(copy, 3 * np.load(files[1]) + 7)
  np.save(larger, np.kron(np.load(files[2]), np.ones([2, 2])))
  collection = collect([*files, copy, larger])
  assert collection.copies == {copy: files[1], larger: files[2]}
  assert len(collection.prepare().fields) == 5


def test_each_copy_is_of_the_first_of_its_shape(tmp_path, files):
  other = np.load(files[1])
  np.save(tmp_path / "part.npy", other[:-4])  # a field of its own, though it looks alike
  np.save(tmp_path / "copy.npy", other[:-4] - 1)
  part, copy = str(tmp_path / "part.npy"), str(tmp_path / "copy.npy")
  assert collect([*files, part, copy]).copies == {copy: part}


def test_too_few_files_are_refused(files):
  with pytest.raises(ValueError, match="no field is left"):
    collect([]).prepare()
  with pytest.raises(ValueError, match="fields come from 1 micrograph"):
    collect(files[:1]).prepare()
  assert len(collect(files[:1], Index({"0.npy": {"split": "test"}})).prepare().fields) == 1


def test_a_set_is_read_as_it_was_written(tmp_path, files):
  prepared = collect(files).prepare()
  field_set.write(tmp_path / "fields.npz", *prepared)
  everything = field_set.load(tmp_path / "fields.npz")
  assert everything.entries == prepared.entries
  for field, expected in zip(everything.fields, prepared.fields):
    np.testing.assert_array_equal(field, expected)
    assert field.dtype == np.float32
  test = field_set.load(tmp_path / "fields.npz", "test")
  assert test.sources == [prepared.entries[-1]["file"]]
  np.testing.assert_array_equal(test.fields[0], prepared.fields[-1])


def test_broken_sets_are_refused(tmp_path, files):
  with pytest.raises(ValueError, match="does not end in .npz"):
    field_set.load(tmp_path / "fields.npy")
  with pytest.raises(FileNotFoundError, match="fields.npz does not exist"):
    field_set.load(tmp_path / "fields.npz")
  fields_, entries = collect(files).prepare()
  field_set.write(tmp_path / "fields.npz", fields_, entries[:-1])
  with pytest.raises(ValueError, match="holds 5 fields and its .json 4 entries"):
    field_set.load(tmp_path / "fields.npz")
  field_set.write(tmp_path / "fields.npz", fields_[:2], entries[:2])
  with pytest.raises(ValueError, match="no field of the split test"):
    field_set.load(tmp_path / "fields.npz", "test")
  with pytest.raises(ValueError, match="split='validation' is unknown"):
    field_set.load(tmp_path / "fields.npz", "validation")


def test_what_was_done_is_said(files):
  collection = Collection(FieldReading(), Index())
  assert collection.add(files[0]).startswith("100 x 120 px, ")
  assert field_preparation.strata.STRATA[2] in collection.add(files[1])
