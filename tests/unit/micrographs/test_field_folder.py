"""Fields in files, of which windows are read."""

import json

import numpy as np
import pytest

from adaptive_stem_tf.micrographs import field_folder, field_set


@pytest.fixture
def folder(tmp_path):
  """A set of two training fields and a test field."""
  random = np.random.default_rng(0)
  pairs = [
    (random.uniform(-1, 1, [8, 5 + number]), {"file": "abb"[number], "split": split})
    for number, split in enumerate(["train", "train", "test"])
  ]
  field_folder.write(tmp_path, pairs)
  return tmp_path


def test_windows_are_those_of_the_field(folder):
  first, second = field_folder.load(folder, "train").fields
  assert first.shape == (8, 5, 1) and second.shape == (8, 6, 1)
  window = second[2:5, 1:4]
  assert window.dtype == np.float16 and window.shape == (3, 3, 1)
  np.testing.assert_array_equal(window[..., 0], np.load(second.file)[2:5, 1:4])
  assert field_set.load(folder, "test").sources == ["b"]


def test_fields_of_single_precision_are_taken_as_training_takes_them(folder):
  values = np.random.default_rng(1).uniform(-1, 1, [8, 5]).astype(np.float32)
  np.save(folder / "field_000000.npy", values)
  (first, _) = field_folder.load(folder, "train").fields
  np.testing.assert_array_equal(first[:, :][..., 0], values.astype(np.float16))
  np.testing.assert_array_equal(field_set.load(folder).fields[0], values)


@pytest.mark.parametrize(
  ("array", "words"),
  [
    (np.zeros([4, 4, 1], np.float16), r"shape \[4, 4, 1\]: a field is \[H, W\]"),
    (np.zeros([4, 4], np.uint8), "holds uint8"),
    (np.full([4, 4], 40, np.float32), r"from 40 to 40: fields are in \[-1, 1\]"),
    (np.full([4, 4], np.nan, np.float32), "from nan to nan"),
    (np.zeros([0, 4], np.float32), r"shape \[0, 4\]"),
  ],
)
def test_other_arrays_are_refused(folder, array, words):
  np.save(folder / "field_000001.npy", array)
  with pytest.raises(ValueError, match=f"field_000001.npy .*{words}"):
    field_set.load(folder)


def test_broken_folders_are_refused(folder, tmp_path):
  (folder / "field_000002.npy").write_bytes(b"no array")
  with pytest.raises(ValueError, match="field_000002.npy cannot be read as a NumPy array"):
    field_set.load(folder)
  (folder / "field_000002.npy").unlink()
  with pytest.raises(FileNotFoundError, match="field_000002.npy"):
    field_set.load(folder)
  index = folder / "fields.json"
  for entries, words in (
    ([{"file": "a.tif", "split": "train"}], "is no index of fields: write"),
    ([{"array": "field_000000.npy", "file": "a"}], "does not name its file and its split"),
  ):
    index.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=words):
      field_set.load(folder)
  index.unlink()
  with pytest.raises(FileNotFoundError, match="fields.json does not exist: it names"):
    field_set.load(folder)
