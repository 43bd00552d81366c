"""Where specimens come from: the JSON beside a NumPy file of them."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple


class Provenance(NamedTuple):
  """Of the images of a file, in their order."""

  sources: list[str]  # the file that each was cut from
  kinds: list[str] | None  # what it shows; None if unknown


def read(path: str, count: int) -> Provenance | None:
  """Reads where each of `count` images comes from in the JSON of provenance beside them, if there
  is one.
  """
  file = pathlib.Path(path).with_suffix(".json")
  if not file.is_file():
    return None
  entries = json.loads(file.read_text())
  if not isinstance(entries, list) or not all(
    isinstance(entry, dict) and "file" in entry for entry in entries
  ):
    raise ValueError(
      f"{file} is not a list of one object with a 'file' per image: repair or remove it."
    )
  if len(entries) != count:
    raise ValueError(
      f"{file} has {len(entries)} entries and {path} holds {count} images: repair or remove it."
    )
  kinds = [str(entry["kind"]) for entry in entries if "kind" in entry]
  return Provenance(
    [f"{entry.get('source', '')}/{entry['file']}" for entry in entries],
    kinds if len(kinds) == count else None,
  )
