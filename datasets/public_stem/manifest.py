"""The files and crops that make up the public data, from files.tsv and crops.tsv beside this."""

import csv
import hashlib
import pathlib
import urllib.parse
from typing import NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).parent
SERVER = "https://raw.githubusercontent.com"  # as GitHub serves files of public repositories
SIZE = 96  # px, side of a crop
FIGURE = "WEMD-96-downsampled-figure"  # kind of crops whose recipe is not known


class File(NamedTuple):
  """A file of a public repository."""

  repository: str  # OWNER/NAME
  commit: str
  path: str  # in the repository
  licence: str
  git_blob: str  # the first 12 or all 40 hexadecimal digits of Git's name for its content
  field: str  # name of its whole field; empty if it has none
  split: str  # of its field, train or test
  rows: str  # number of rows of its field, above an information bar; empty for all
  modality: str

  def url(self, server: str = SERVER) -> str:
    """Returns the address of the file."""
    return "/".join((server, self.repository, self.commit, urllib.parse.quote(self.path)))

  def is_content(self, content: bytes) -> bool:
    """Returns whether bytes are the content of the file, by Git's SHA-1."""
    header = b"blob %d\0" % len(content)
    name = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    return name.startswith(self.git_blob)


class Crop(NamedTuple):
  """A crop of a file; places are in px after binning."""

  repository: str
  path: str
  row: int
  column: int
  binning: int
  kind: str


def files() -> list[File]:
  """Returns all files that fields and crops come from."""
  return [File(**entry) for entry in _table("files.tsv")]


def crops() -> list[Crop]:
  """Returns the crops in order: the first 80 % train, the rest test, and no file is in both."""
  return [
    Crop(
      entry["repository"],
      entry["path"],
      int(entry["row"]),
      int(entry["column"]),
      int(entry["binning"]),
      entry["kind"],
    )
    for entry in _table("crops.tsv")
  ]


def cut(image: np.ndarray, crop: Crop) -> np.ndarray:
  """Returns a crop [SIZE, SIZE] float32 of an image [H, W], its least and greatest at 0 and 1.

  Raises:
    ValueError: if the crop is not inside the image.
  """
  height, width = (side // crop.binning for side in image.shape)
  if crop.row + SIZE > height or crop.column + SIZE > width:
    raise ValueError(f"{crop.path} has {image.shape} px: {crop} is outside; is it the right file?")
  rows = slice(crop.row * crop.binning, (crop.row + SIZE) * crop.binning)
  columns = slice(crop.column * crop.binning, (crop.column + SIZE) * crop.binning)
  part = np.asarray(image[rows, columns], np.float64)
  binned = part.reshape(SIZE, crop.binning, SIZE, crop.binning).mean((1, 3))
  low, high = binned.min(), binned.max()
  return ((binned - low) / (high - low)).astype(np.float32)


def _table(name):
  with (FOLDER / name).open(newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))
