"""Files that commands read, damaged: a bit flipped, or the end cut off.

  python -m tests.campaigns.files --cases=200        # of each kind

Counts what came of reading each: `refused` in a sentence, `same` (what was damaged makes no
difference), and what has to be 0: `silent`, something else was read; `traceback`, an error that is
not told in a sentence. Pixels of a micrograph that has no checksum are no business of ours: there
another image counts as `read`.
"""

import collections
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image

from adaptive_stem_tf.micrographs import field_set, readers
from adaptive_stem_tf.serving import edge, extra, field_scan, local, repository, servables, signals
from adaptive_stem_tf.serving.live import model as live_model
from launch import flags
from tests import exports
from tests.campaigns import report

SENTENCES = flags.MISTAKES
EXTRA = pathlib.Path("assets.extra")
SHIPPED = pathlib.Path(__file__).parents[2] / "savedmodels"
OF_MICROGRAPHS = ("npy", "npz", "png", "jpg", "tif", "gif", "hspy")


def scans(folder: pathlib.Path) -> list[np.ndarray]:
  """Returns what a model decides and completes, by TensorFlow and by LiteRT."""
  found = []
  for scanner in (local.LocalModel(folder), edge.EdgeModel(folder / EXTRA / "litert")):
    answer = scanner.start(1)
    size, probes, _ = scanner.geometry
    observation = np.linspace(-1, 1, probes, dtype=np.float32)[None]
    found.append(scanner.step(observation, answer)["angle"])
    partial = np.linspace(-1, 1, 2 * size**2, dtype=np.float32)
    found.append(scanner.complete(partial.reshape(1, size, size, 2)))
  found.append(np.array(live_model.ExportedModel(folder).filter_sigma))
  return found


def fields(folder: pathlib.Path) -> list[np.ndarray]:
  """Returns what a model of whole fields completes."""
  model = field_scan.ExportedFields(folder)
  image = np.linspace(-1, 1, 40 * 40, dtype=np.float32).reshape(1, 40, 40, 1)
  mask = (np.indices((40, 40)).sum(0) % 3 == 0).astype(np.float32)[None, ..., None]
  answer = model.call("complete", partial_field=image * mask, mask=mask)
  return [answer["completion"], np.array([model.rounds, model.filter_sigma])]


def served(folder: pathlib.Path) -> list[np.ndarray]:
  """Returns which versions a server would serve."""
  models = repository.models(repository.read(folder / "models.config"))
  loaded = servables.Servables(models)
  return [np.array(sorted(map(str, loaded._versions.items())))]


def same(found, expected) -> bool:
  """Returns whether everything that was read is what it was before, NaN included."""
  return len(found) == len(expected) and all(
    one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    for one, other in zip(found, expected)
  )


class Damaging:
  """Damages one file, reads, and puts it back."""

  def __init__(self, file: pathlib.Path, read, pixels: bool = False):
    self._file, self._read, self._pixels = file, read, pixels
    self._content, self._expected = file.read_bytes(), read()

  def check(self, case) -> str:
    """Returns what came of it."""
    flip, place, bit = case
    content, at = self._content, int(place * len(self._content))
    if flip:
      changed = content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
    else:
      changed = content[:at]
    self._file.write_bytes(changed)
    try:
      if same(self._read(), self._expected):
        return "same"
      return "read" if self._pixels else "silent"
    except SENTENCES:
      return "refused"
    except Exception as error:
      return f"traceback: {type(error).__name__}"
    finally:
      self._file.write_bytes(content)


CASES = st.tuples(
  st.booleans(), st.floats(0, 1, exclude_max=True, allow_subnormal=False), st.integers(0, 7)
)


def micrographs(folder: pathlib.Path):
  """Yields files of micrographs."""
  image = np.random.default_rng(0).integers(0, 255, [40, 50], dtype=np.uint8)
  for suffix in OF_MICROGRAPHS:
    file = folder / f"image.{suffix}"
    if suffix == "npy":
      np.save(file, image)
    elif suffix == "npz":
      np.savez_compressed(file, image)
    elif suffix == "tif":
      tifffile.imwrite(file, image, compression="zlib", resolution=(2.0, 2.0))
    elif suffix == "hspy":
      with contextlib.suppress(RuntimeError):
        signals.write_hspy(file, signals.of_image(image, "image", 0.5, {}))
    else:
      Image.fromarray(image).save(file)
    if file.exists():
      yield file


def run(cases: int, seed: int):
  """Runs the campaign; returns the counts of every kind of file."""
  with tempfile.TemporaryDirectory() as place:
    root = pathlib.Path(place)
    return {
      **run_micrographs(cases, seed, root),
      **run_config(cases, seed, root),
      **run_models(cases, seed, root),
    }


def run_models(cases: int, seed: int, root: pathlib.Path):
  """Damages the files of exported models, tiny ones and those that come with the project."""
  tiny_ones = exports.Exports(root / "exports")
  models = (
    ("lstm", tiny_ones("lstm"), scans),
    (exports.FIELDS, tiny_ones(exports.FIELDS), fields),
    ("savedmodels/adaptive_stem", SHIPPED / "adaptive_stem" / "1", scans),
    ("savedmodels/adaptive_fields", SHIPPED / "adaptive_fields" / "1", fields),
  )
  found: dict[str, collections.Counter] = {}
  for name, source, read in models:
    folder = shutil.copytree(source, root / "damaged" / name / "1")
    for file in sorted(folder.rglob("*")):
      if file.is_file() and file.name != extra.WARM_UP:  # which no command of ours reads
        damaging = Damaging(file, lambda read=read, folder=folder: read(folder))
        kind = f"{name}: {file.relative_to(folder)}"
        found[kind] = report.each(CASES, cases, seed, damaging.check)
        print(f"{kind}: {dict(found[kind])}", file=sys.stderr, flush=True)
  return found


def run_micrographs(cases: int, seed: int, root: pathlib.Path):
  """Damages micrographs."""
  found: dict[str, collections.Counter] = {}
  for file in micrographs(root):
    read = lambda file=file: [readers.read(file, colour=True).image]
    damaging = Damaging(file, read, pixels=True)
    found[file.suffix] = report.each(CASES, cases, seed, damaging.check)
  archive = root / "fields.npz"
  field = np.random.default_rng(0).uniform(-1, 1, [40, 50]).astype(np.float32)
  field_set.write(archive, [field], [{"file": "a", "split": "train"}])
  damaging = Damaging(archive, lambda: field_set.load(archive).fields)
  found["fields.npz"] = report.each(CASES, cases, seed, damaging.check)
  damaging = Damaging(archive.with_suffix(".json"), lambda: field_set.load(archive).fields)
  found["fields.json"] = report.each(CASES, cases, seed, damaging.check)
  return found


def run_config(cases: int, seed: int, root: pathlib.Path):
  """Damages a models.config, of models that are not there."""
  config = root / "models.config"
  repository.add_labels(config, "lstm", 1, ["stable"])
  damaging = Damaging(config, lambda: served(root), pixels=True)
  return {"models.config": report.each(CASES, cases, seed, damaging.check)}


if __name__ == "__main__":
  report.counts(__doc__, 200, run)
