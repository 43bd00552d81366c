"""Downloads the public micrographs behind the documented results (launch.collect)."""

import json
import pathlib
import shutil
import urllib.error
import urllib.request

import numpy as np
import tqdm

from adaptive_stem_tf import writing
from adaptive_stem_tf.micrographs import readers
from datasets.public_stem import manifest

_TIMEOUT = 60  # s


def collect_fields(folder: pathlib.Path, server: str) -> None:
  """Writes the whole micrographs to fields/, with their index."""
  files = [file for file in manifest.files() if file.field]
  target = folder / "fields"
  target.mkdir(parents=True, exist_ok=True)
  for file in tqdm.tqdm(files, "fields", disable=None):
    shutil.copyfile(download(file, folder, server), target / file.field)
  index = [
    {
      "file": file.field,
      "repo": file.repository,
      "licence": file.licence,
      "rows": int(file.rows) if file.rows else None,
      "split": file.split,
      "modality": file.modality,
    }
    for file in files
  ]
  writing.text(target / "fields.json", json.dumps(index, indent=1))


def collect_crops(folder: pathlib.Path, server: str) -> None:
  """Writes the crops and their provenance.

  Crops whose recipe is not known, all of which train, are replaced by other training crops.
  """
  by_place = {(file.repository, file.path): file for file in manifest.files()}
  recoverable = [crop for crop in manifest.crops() if crop.kind != manifest.FIGURE]
  images = {}
  for place in tqdm.tqdm(dict.fromkeys(crop[:2] for crop in recoverable), "crops", disable=None):
    images[place] = readers.read(download(by_place[place], folder, server), colour=True).image
  substitutes = iter(recoverable)  # training crops are first
  crops = [next(substitutes) if crop.kind == manifest.FIGURE else crop for crop in manifest.crops()]
  array = np.stack([manifest.cut(images[crop[:2]], crop) for crop in crops])[..., None]
  about = [
    {"source": crop.repository, "file": crop.path, "kind": crop.kind, "y": crop.row,
     "x": crop.column, "bin": crop.binning, "licence": by_place[crop[:2]].licence}
    for crop in crops
  ]  # fmt: skip
  with writing.together(folder, last="96x96_stem_crops.npy") as unfinished:
    np.save(unfinished / "96x96_stem_crops.npy", array)
    (unfinished / "96x96_stem_crops.json").write_text(json.dumps(about, indent=1))


def download(file: manifest.File, folder: pathlib.Path, server: str) -> pathlib.Path:
  """Returns the place of a file in `folder`, after it was downloaded and checked if it was missing.

  Raises:
    ConnectionError: if it cannot be downloaded.
    ValueError: if its content is not that of the manifest.
  """
  place = folder / "files" / file.repository / file.path
  if place.is_file() and file.is_content(place.read_bytes()):
    return place
  url = file.url(server)
  try:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
      content = answer.read()
  except urllib.error.URLError as error:
    raise ConnectionError(
      f"{url} cannot be downloaded: {error}; look for it by hand: {place}"
    ) from error
  if not file.is_content(content):
    raise ValueError(f"{url} is not the file of the manifest: its Git blob is not {file.git_blob}.")
  with writing.whole(place) as unfinished:
    unfinished.write_bytes(content)
  return place
