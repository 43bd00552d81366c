"""A damaged model is refused by whoever loads it, before it runs."""

import json

import pytest

from adaptive_stem_tf import integrity
from adaptive_stem_tf.compare_fields import exported
from adaptive_stem_tf.serving import corrector, edge, extra, field_scan, local

_CONFIG = {"scan": {"rounds": 4}, "b": [1.5, None]}
_FILES = (
  "saved_model.pb",
  "variables/variables.index",
  "assets.extra/litert/start.npz",
  "assets.extra/litert/step.tflite",
  "assets.extra/litert/complete.tflite",
)
LOADERS = {
  "local": local.LocalModel,
  "fields": field_scan.ExportedFields,
  "compared": exported.ExportedModel,
  "corrector": lambda folder: corrector.Corrector(folder, 96),
  "edge": lambda folder: edge.EdgeModel(folder / extra.FOLDER / "litert"),
}


@pytest.fixture
def folder(tmp_path):
  """NAME/1 with the files of a model, none of which could be loaded."""
  place = tmp_path / "name" / "1"
  for name in _FILES:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(name.encode())
  (place / extra.FOLDER / "config.json").write_text(json.dumps(_CONFIG, indent=2))
  manifest = {
    "config_sha256": integrity.digest_of(_CONFIG),
    "files_sha256": {name: integrity.file_digest(place / name) for name in _FILES},
  }
  (place / extra.FOLDER / "manifest.json").write_text(json.dumps(manifest))
  return place


def flip(file):
  """Changes one bit of a file."""
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 4
  file.write_bytes(content)


def test_what_was_exported_passes(folder):
  assert integrity.damage(folder) is None
  integrity.check(folder)


def test_a_folder_without_a_manifest_passes(folder):
  (folder / extra.FOLDER / "manifest.json").unlink()
  flip(folder / "saved_model.pb")
  assert integrity.damage(folder) is None


@pytest.mark.parametrize("name", _FILES)
def test_each_file_counts(folder, name):
  flip(folder / name)
  assert f"{name} is damaged" in integrity.damage(folder)
  (folder / name).unlink()
  assert f"{name} is missing" in integrity.damage(folder)


def test_the_configuration_counts_but_not_its_layout(folder):
  config = folder / extra.FOLDER / "config.json"
  config.write_text(json.dumps(dict(reversed(_CONFIG.items()))))
  assert integrity.damage(folder) is None
  config.write_text(json.dumps(_CONFIG | {"b": [1.5, 0]}))
  assert "config.json is damaged" in integrity.damage(folder)
  config.write_text("{")
  assert "config.json is damaged" in integrity.damage(folder)
  config.unlink()
  assert "config.json is missing" in integrity.damage(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files_sha256": 3, "config_sha256": ""}'])
def test_a_damaged_manifest_is_no_excuse(folder, text):
  (folder / extra.FOLDER / "manifest.json").write_text(text)
  assert "manifest.json is damaged" in integrity.damage(folder)


@pytest.mark.parametrize("name", LOADERS)
def test_whoever_loads_a_model_looks_first(folder, name):
  if name == "edge" and edge.Interpreter is None:
    pytest.skip("ai-edge-litert is not installed")
  flip(folder / "assets.extra/litert/step.tflite")
  with pytest.raises(integrity.DamagedModelError, match=r"step\.tflite is damaged.*export"):
    LOADERS[name](folder)


def test_a_graph_that_cannot_be_read_is_one_sentence(folder):
  (folder / "saved_model.pb").write_bytes(b"\xff\xff\xff\xff")
  with pytest.raises(integrity.DamagedModelError, match=r"saved_model\.pb cannot be read"):
    extra.read_protos(folder)
