"""Tests of the TFDS builder of the user's own micrographs, on five small files and a note."""

import json
import pathlib
import shutil
import sys
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import (
  crops,
  field_preparation,
  preparation,
  readers,
  whole_fields,
)
from datasets import load
from datasets.micrographs import file_fields, files, micrographs_dataset_builder
from tests.unit.micrographs import fields

pytest.importorskip("dill", reason="tfds.testing needs dill: pip install dill.")

Builder = micrographs_dataset_builder.Builder
DUMMY = pathlib.Path(micrographs_dataset_builder.__file__).parent / "dummy_data"


class MicrographsTest(tfds.testing.DatasetBuilderTestCase):
  """TFDS's own checks: features, splits without overlap, tags, reloading, no forbidden file
  access.
  """

  DATASET_CLASS = Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["crops_96"]
  SPLITS = {"train": 3, "test": 4}


class MicrographFieldsTest(tfds.testing.DatasetBuilderTestCase):
  """The same for whole fields, one of each file that can be read."""

  DATASET_CLASS = Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["fields_512"]
  SPLITS = {"train": 3, "test": 2}


def _build(tmp_path, manual=DUMMY, config="crops_96"):
  builder = Builder(config=config, data_dir=tmp_path / "data")
  builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
  return {
    split: list(tfds.as_numpy(builder.as_dataset(split=split))) for split in ("train", "test")
  }


def _files(examples):
  return {example["file"].decode() for example in examples}


def test_splits_share_no_file_and_every_micrograph_is_in_one(tmp_path):
  splits = _build(tmp_path)
  train, test = _files(splits["train"]), _files(splits["test"])
  assert len(train) + len(test) == 5 and train and test
  assert train | test == {
    "particles.npy",
    "survey.tif",
    "lattice.png",
    "more/catalyst.jpg",
    "more/film.npy",
  }


def test_crops_are_the_files_pixels(tmp_path):
  splits = _build(tmp_path)
  examples = splits["train"] + splits["test"]
  for example in examples:
    image = readers.read(DUMMY / "micrographs" / example["file"].decode()).image
    row, column = example["row"], example["column"]
    np.testing.assert_array_equal(
      example["image"][..., 0], image[row : row + 96, column : column + 96]
    )
  sizes = {example["file"].decode(): float(example["pixel_size_nm"]) for example in examples}
  assert sizes.pop("survey.tif") == pytest.approx(0.05) and set(sizes.values()) == {0.0}


def test_identical_files_count_once_and_names_do_not_matter(tmp_path):
  manual = tmp_path / "manual"
  shutil.copytree(DUMMY / "micrographs", manual / "micrographs")
  shutil.copy(manual / "micrographs" / "survey.tif", manual / "micrographs" / "zz_copy.tif")
  (manual / "micrographs" / "particles.npy").rename(manual / "micrographs" / "renamed.npy")
  ours, plain = _build(tmp_path / "ours", manual), _build(tmp_path / "plain")
  for split in ("train", "test"):
    names = {name.replace("renamed", "particles") for name in _files(ours[split])}
    assert names == _files(plain[split]) and len(ours[split]) == len(plain[split])


def test_binning_doubles_the_size_of_a_pixel(tmp_path):
  manual = tmp_path / "manual" / "micrographs"
  manual.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for name in "ab":
    np.save(manual / f"{name}.npy", np.cumsum(np.cumsum(rng.standard_normal((192, 192)), 0), 1))
  splits = _build(tmp_path, manual.parent, "binned_96")
  for example in splits["train"] + splits["test"]:
    whole = readers.read(manual / example["file"].decode()).image
    np.testing.assert_allclose(example["image"][3, 5, 0], whole[6:8, 10:12].mean(), rtol=1e-5)


def test_whole_fields_keep_their_shapes_without_information_bars(tmp_path):
  manual = tmp_path / "manual" / "micrographs"
  manual.mkdir(parents=True)
  # 6.npy is too small: 55 px high after binning.
  for seed, shape in enumerate([(130, 100)] * 6 + [(110, 1024)]):
    np.save(manual / f"{seed}.npy", fields.smooth(*shape, seed))
  (manual / "rows.json").write_text('{"0.npy": 101}')
  splits = _build(tmp_path, manual.parent, "fields_512")
  examples = {e["file"].decode(): e for e in splits["train"] + splits["test"]}
  assert examples.keys() == {f"{i}.npy" for i in range(6)} and splits["train"] and splits["test"]
  assert examples["0.npy"]["image"].shape == (101, 100, 1)
  rows = {file["file"]: file["rows"] for file in _report(tmp_path)["files"]}
  assert rows == {**dict.fromkeys(examples), "0.npy": 101}
  for name, rows in (("0.npy", 101), ("2.npy", None)):
    expected = whole_fields.read(manual / name, rows=rows)
    np.testing.assert_array_equal(examples[name]["image"][..., 0], expected.field)
    gini = strata.gini(expected.field)
    assert examples[name]["gini"] == pytest.approx(gini)
    assert strata.STRATA[examples[name]["stratum"]] == strata.stratum(gini)


def test_fields_are_loaded_as_a_list(tmp_path):
  manual = tmp_path / "downloads" / "manual" / "micrographs"
  manual.mkdir(parents=True)
  for seed in range(5):
    np.save(manual / f"{seed}.npy", fields.smooth(100 + seed, 120, seed))
  loaded = load.load_fields("micrographs/fields_512", "train", str(tmp_path))
  assert len(loaded) == 4 and all(field.shape[1] == 120 for field in loaded)
  assert len({field.shape for field in loaded}) == 4
  with pytest.raises(ValueError, match="differ in size: load them with load_fields"):
    load.load_split("micrographs/fields_512", "train", str(tmp_path))


@pytest.mark.parametrize(
  "count, message", [(None, "micrographs, which does not exist"), (1, "holds 1 different files")]
)
def test_too_little_is_refused(tmp_path, count, message):
  (tmp_path / "manual" / "other").mkdir(parents=True)
  if count:
    shutil.copytree(DUMMY / "micrographs" / "more", tmp_path / "manual" / "micrographs")
    (tmp_path / "manual" / "micrographs" / "catalyst.jpg").unlink()
  with pytest.raises((FileNotFoundError, ValueError), match=message):
    _build(tmp_path, tmp_path / "manual")


def test_it_can_be_trained_on(tmp_path):
  names = {"particles.npy": "train", "survey.tif": "train", "lattice.png": "test"}
  sources = [files.Source(i, name, names[name]) for i, name in enumerate(names)]
  with (
    mock.patch.object(
      Builder,
      "_split_generators",
      lambda self, _: {
        split: self._generate_examples(self._maker(DUMMY / "micrographs", sources), split)
        for split in ("train", "test")
      },
    ),
    mock.patch.object(Builder, "MANUAL_DOWNLOAD_INSTRUCTIONS", None),
  ):
    assert load.load_split("micrographs", "train", str(tmp_path)).shape == (3, 96, 96, 1)


@pytest.mark.parametrize("config", ["crops_96", "fields_512"])
def test_beam_is_asked_for_only_where_it_is_needed(config, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)  # as if it were not installed
  monkeypatch.delitem(sys.modules, "datasets.micrographs.beam_files", raising=False)
  with pytest.raises(
    RuntimeError,
    match=f"{config}_beam is built on Apache Beam, which is not installed.*or choose {config}.$",
  ):
    _build(tmp_path, config=f"{config}_beam")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
  """A folder of thirteen micrographs of which some show the same."""
  folder = tmp_path_factory.mktemp("manual") / "micrographs"
  folder.mkdir()
  images = [fields.smooth(200, 300, seed) for seed in range(8)]
  again = fields.smooth(200, 300, 20)
  again[4:100, 6:102] = 3 * images[5][4:100, 6:102]  # one crop, brighter
  images += [2 * np.kron(images[1], np.ones([2, 2])), images[2] + 0.01, again]
  images.append(np.full([200, 300], np.nan))  # cannot be used
  images.append(np.random.default_rng(0).random([200, 300]))  # vacuum: gives no crop
  for number, image in enumerate(images):
    np.save(folder / f"{number:02d}.npy", image.astype(np.float32))
  (folder / "notes.txt").write_text("no micrograph")
  return folder.parent


def _report(tmp_path):
  (place,) = (tmp_path / "data").rglob("*_report.json")
  return json.loads(place.read_text())


def _places(splits):
  return {
    split: {
      (e["file"].decode(), e.get("row", 0), e.get("column", 0)): e["image"] for e in splits[split]
    }
    for split in splits
  }


def test_near_duplicates_of_all_files_are_left_out_as_by_prepare(tmp_path, many):
  places = _places(_build(tmp_path, many))
  folder, cutting = many / "micrographs", crops.Cutting()
  names = micrographs_dataset_builder._without_copies(epath.Path(folder))
  collection = preparation.Collection(cutting)
  for name in (name for name in names if name not in ("notes.txt", "11.npy")):
    collection.add(preparation.crops_of(folder / name, cutting)._replace(path=name))
  assert places["train"].keys() | places["test"].keys() == {
    (file.path, crop.row, crop.column) for file in collection.files for crop in file.cut.crops
  }
  report = _report(tmp_path)
  assert report["copies"] == collection.copies and len(report["copies"]) == 2
  assert report["failed"].keys() == {"notes.txt", "11.npy"}
  assert [file["file"] for file in report["files"]] == [file.path for file in collection.files]
  for file, expected in zip(report["files"], collection.files):
    assert file["dropped"] == {**expected.cut.dropped, "for the split": 0}
    assert file["crops"] == len(expected.cut.crops)
    assert file["sha256"] == readers.sha256(folder / file["file"])
    split = next((s for s in places if any(file["file"] == place[0] for place in places[s])), None)
    assert file["split"] == split
  assert sum(file["dropped"]["near-duplicate"] for file in report["files"]) == 1


def test_copies_of_whole_fields_are_left_out_as_by_prepare(tmp_path, many):
  splits = _build(tmp_path, many, "fields_512")
  folder, reading = many / "micrographs", whole_fields.FieldReading()
  names = micrographs_dataset_builder._without_copies(epath.Path(folder))
  collection = field_preparation.Collection(reading, field_preparation.Index())
  for name in (name for name in names if name not in ("notes.txt", "11.npy")):
    collection.add(str(folder / name))
  assert _files(splits["train"]) | _files(splits["test"]) == {
    pathlib.Path(file.path).name for file in collection.files
  }
  short = lambda path: pathlib.Path(path).name
  report = _report(tmp_path)
  assert report["copies"] == {short(a): short(b) for a, b in collection.copies.items()}
  pairs = {frozenset(pair) for pair in report["copies"].items()}
  assert pairs == {frozenset(("01.npy", "08.npy")), frozenset(("02.npy", "09.npy"))}
  assert report["failed"].keys() == {"notes.txt", "11.npy"}
  prepared = {entry["file"]: entry for entry in collection.prepare().entries}
  for file in report["files"]:
    expected = prepared[file["file"]]
    assert {**file, "split": "", "source": ""} == {**expected, "split": "", "source": ""}
    assert file["file"].encode() in {example["file"] for example in splits[file["split"]]}


def test_a_report_has_the_order_of_the_files(tmp_path):
  """Beam gives entries in any order."""
  reader = file_fields.FieldReader("", whole_fields.FieldReading(), field_preparation.Index())
  entries = [
    files.Entry(files.Source(order, f"{order}.npy", "train"), "", "", {"order": order})
    for order in (2, 0, 1)
  ]
  files.write_report(reader, str(tmp_path / "report.json"), entries)
  report = json.loads((tmp_path / "report.json").read_text())
  assert [file["order"] for file in report["files"]] == [0, 1, 2]


@pytest.mark.parametrize("config", ["crops_96", "fields_512"])
def test_beam_builds_the_same(config, tmp_path, many, monkeypatch):
  pytest.importorskip(
    "apache_beam", reason="Apache Beam is an extra: pip install 'adaptive-stem-tf[beam]'."
  )
  from datasets.micrographs import beam_files

  monkeypatch.setattr(beam_files, "_FILES_PER_PAIR", 1)  # so that there are several groups
  plain, beam = tmp_path / "plain", tmp_path / "beam"
  expected, places = (
    _places(_build(folder, many, config=config))
    for folder, config in ((plain, config), (beam, f"{config}_beam"))
  )
  for split in ("train", "test"):
    assert places[split].keys() == expected[split].keys()
    for place, image in expected[split].items():
      np.testing.assert_array_equal(image, places[split][place])
  assert _report(beam) == _report(plain)
