import hashlib
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from adaptive_stem_tf.micrographs import field_preparation, readers
from datasets.public_stem import collect, manifest

_KIND = "HAADF"
REAL = pathlib.Path(__file__).parents[4] / "shared" / "data"


def blob(content):
  return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
  """Serves two files of one repository, and has a manifest of them."""
  random = np.random.default_rng(0)
  images = {name: random.integers(0, 255, (200, 210), np.uint8) for name in ("a b.png", "c.png")}
  root = tmp_path / "server" / "owner" / "name" / "0123"
  (root / "data").mkdir(parents=True)
  files = []
  for name, image in images.items():
    Image.fromarray(image).save(root / "data" / name)
    name_of_content = blob((root / "data" / name).read_bytes())[: 40 if name == "c.png" else 12]
    entry = ("name+c.png", "test", "190", "SEM") if name == "c.png" else ("", "", "", "")
    files.append(
      manifest.File("owner/name", "0123", f"data/{name}", "MIT", name_of_content, *entry)
    )
  crops = [
    manifest.Crop("owner/name", "data/gone.png", 0, 0, 1, manifest.FIGURE),
    manifest.Crop("owner/name", "data/a b.png", 4, 8, 2, _KIND),
    manifest.Crop("owner/name", "data/c.png", 100, 110, 1, _KIND),
  ]
  monkeypatch.setattr(manifest, "files", lambda: files)
  monkeypatch.setattr(manifest, "crops", lambda: crops)
  return (tmp_path / "server").as_uri(), images


def test_crops_are_binned_cut_and_scaled(server, tmp_path):
  address, images = server
  collect.collect_crops(tmp_path / "out", address)
  crops = np.load(tmp_path / "out" / "96x96_stem_crops.npy")
  about = json.loads((tmp_path / "out" / "96x96_stem_crops.json").read_text())
  assert crops.shape == (3, 96, 96, 1) and crops.dtype == np.float32
  part = images["c.png"][100:196, 110:206].astype(float)
  np.testing.assert_allclose(
    crops[2, ..., 0], (part - part.min()) / (part.max() - part.min()), atol=1e-6
  )
  corner = images["a b.png"][8:10, 16:18].mean(), images["a b.png"][8:10, 18:20].mean()
  first = crops[1, 0, :2, 0]
  binned = images["a b.png"].reshape(100, 2, 105, 2).mean((1, 3))[4:100, 8:104]
  np.testing.assert_allclose(first, (corner - binned.min()) / np.ptp(binned), atol=1e-6)
  assert [entry["file"] for entry in about] == ["data/a b.png", "data/a b.png", "data/c.png"]


def test_fields_have_an_index_that_comparisons_read(server, tmp_path):
  collect.collect_fields(tmp_path / "out", server[0])
  fields = tmp_path / "out" / "fields"
  index = field_preparation.Index.parse(str(fields / "fields.json"))
  assert {place.name for place in fields.iterdir()} == {"name+c.png", "fields.json"}
  picture = str(fields / "name+c.png")
  assert index.rows(picture) == 190 and index.split(picture) == "test"
  np.testing.assert_array_equal(readers.read(picture).image, server[1]["c.png"])


def test_other_content_is_refused(server, tmp_path):
  file = manifest.files()[0]._replace(git_blob="0" * 40)
  with pytest.raises(ValueError, match="is not the file of the manifest"):
    collect.download(file, tmp_path / "out", server[0])
  assert not list((tmp_path / "out").rglob("*.png"))


def test_what_is_there_is_not_downloaded_again(server, tmp_path):
  file = manifest.files()[0]
  place = collect.download(file, tmp_path / "out", server[0])
  assert collect.download(file, tmp_path / "out", "file:///nowhere") == place
  place.write_bytes(b"cut short")
  with pytest.raises(OSError, match="cannot be downloaded"):
    collect.download(file, tmp_path / "out", "file:///nowhere")


def test_the_manifest_is_whole():
  files, crops = manifest.files(), manifest.crops()
  assert len(files) == 69 and len(crops) == 494
  assert {crop[:2] for crop in crops} <= {(file.repository, file.path) for file in files}
  assert all(len(file.commit) == 40 and len(file.git_blob) in (12, 40) for file in files)
  assert all(file.licence for file in files)
  train, test = ({crop[:2] for crop in part} for part in (crops[:395], crops[395:]))
  assert not train & test
  assert not {crop.kind for crop in crops[395:]} & {manifest.FIGURE}
  fields = [file for file in files if file.field]
  assert len(fields) == 45 and {file.split for file in fields} == {"train", "test"}


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is not here.")
def test_recipes_give_the_crops():
  """Crops of the files that are at hand equal those that the results are of."""
  expected = np.load(REAL / "stem_crops" / "96x96_stem_crops.npy", mmap_mode="r")
  names = {(file.repository, file.path): file for file in manifest.files() if file.field}
  compared = 0
  for crop, values in zip(manifest.crops(), expected):
    if crop[:2] in names and compared < 40:
      place = REAL / "fields" / names[crop[:2]].field
      assert names[crop[:2]].is_content(place.read_bytes())
      image = readers.read(place, colour=True).image
      np.testing.assert_allclose(manifest.cut(image, crop), values[..., 0], atol=1e-6)
      compared += 1
  assert compared == 40
