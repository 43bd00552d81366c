"""Loads the whole fields that the flags name, into memory or as files that crops are read from."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import field_config, specimen_store
from adaptive_stem_tf.micrographs import field_folder, field_set
from adaptive_stem_tf.micrographs.field_folder import StoredField
from adaptive_stem_tf.training import workdir
from datasets.simulated_stem import whole_fields

SIMULATED = "simulated_stem/fields_512"
_FEW = 200  # fields that are drawn anew rather than kept in a data set, which takes minutes


class Drawn(list):
  """A list of fields, each as often as it is drawn, whose repr is short."""

  def __repr__(self) -> str:
    """Returns the number of fields: Sonnet's repr of a learner shows its arguments."""
    return f"<{len(self)} fields>"


class TrainingFields(NamedTuple):
  """Fields to train on."""

  simulated: np.ndarray  # [N, S, S, 1] float16
  measured: Sequence[np.ndarray | StoredField]  # [H, W, 1] float16
  sources: list[str]  # the file of each measured field
  simulated_share: float  # of the draws, if there are both simulated and measured fields

  def repeated(self) -> list[np.ndarray | StoredField]:
    """Returns each field as often as it is drawn: all micrographs equally often."""
    simulated: list[np.ndarray | StoredField] = list(self.simulated)
    if not self.measured:
      return Drawn(simulated)
    files: dict[str, list[np.ndarray | StoredField]] = {}
    for field, source in zip(self.measured, self.sources):
      files.setdefault(source, []).append(field)
    share = self.simulated_share if simulated else 0.0
    if share:
      repeats = max(1, round(len(simulated) * (1 - share) / share / len(files)))
    else:
      repeats = max(map(len, files.values()))
    measured = [fields[i % len(fields)] for fields in files.values() for i in range(repeats)]
    return Drawn((simulated if share else []) + measured)

  def digestible(self) -> dict[str, np.ndarray | workdir.InFiles]:
    """Returns arrays for a workdir's digests: the same whether fields are in memory or in files."""
    stored = [field for field in self.measured if isinstance(field, StoredField)]
    flat = [field.ravel() for field in self.measured if isinstance(field, np.ndarray)]
    fields: np.ndarray | workdir.InFiles = np.concatenate([np.zeros(0, np.float16), *flat])
    if stored:
      pixels = sum(field.shape[0] * field.shape[1] for field in stored)
      values = lambda: (field.read().astype(np.float16).ravel() for field in stored)
      stamp = field_folder.stamp(stored)
      fields = workdir.InFiles((pixels,), np.dtype(np.float16), values, stamp)
    return {"simulated_fields": self.simulated, "fields": fields}


def load(
  data: field_config.FieldData, crop: int, store: pathlib.Path | None = None
) -> TrainingFields:
  """Loads --simulated_fields and --fields, training split, and says how many there are.

  Args:
    data: names the fields.
    crop: side of training crops, px; smaller fields are left out.
    store: folder that fields are written to, unless they are there, and read from as crops are cut;
      fields in a folder of NumPy files are read there instead. None for all in memory.

  Raises:
    ValueError: if nothing is left to train on.
    writing.WriteError: if `store` cannot be written.
  """
  measured, sources = [], []
  if data.fields:
    small = 0
    for field, source in _measured(data.fields, store):
      if min(field.shape[:2]) >= crop:
        measured.append(field)
        sources.append(source)
      else:
        small += 1
    left_out = f" ({small} smaller than {crop} px are left out)" if small else ""
    print(f"{data.fields}: {len(measured)} fields of {len(set(sources))} files{left_out}.")
  simulated = np.zeros([0, crop, crop, 1], np.float16)
  if data.simulated_fields:
    simulated = _simulated(data.simulated_fields, store)
    print(f"{SIMULATED}: {len(simulated)} fields.")
  if not measured and not len(simulated):
    raise ValueError(
      f"fields={data.fields!r} and simulated_fields={data.simulated_fields} leave no field of at "
      f"least {crop} px to train on: give more fields, or a smaller --crop."
    )
  return TrainingFields(simulated, measured, sources, data.simulated_share)


def _measured(fields, store) -> Iterator[tuple[np.ndarray | StoredField, str]]:
  """Yields training fields [H, W, 1] float16, and the file of each."""
  if store is None:
    for field, entry in field_set.read(fields, "train"):
      yield field[..., None].astype(np.float16), entry["file"]
    return
  folder = pathlib.Path(fields)
  if not folder.is_dir():
    folder = store / "fields"
    if not (folder / field_folder.INDEX).exists():
      field_folder.write(folder, field_set.read(fields, "train"))
  stored = field_folder.load(folder, "train")
  yield from zip(stored.fields, (entry["file"] for entry in stored.entries))


def _simulated(count, store):
  """Returns the first fields of the training split [N, S, S, 1] float16."""
  if store is None:
    return np.concatenate([chunk.astype(np.float16) for chunk in _drawn(count)])
  file = store / "simulated_fields.npy"
  if not file.exists():
    size = whole_fields.SIZE
    specimen_store.write(file, _drawn(count), (count, size, size, 1), np.float16)
  return specimen_store.read(file, np.float16)


def _drawn(count) -> Iterator[np.ndarray]:
  """Yields the first fields of the training split, some at a time."""
  if count <= _FEW:
    yield whole_fields.draw_training_fields(count)
    return
  from datasets import load as dataset_loader  # TFDS takes seconds to import

  yield from dataset_loader.chunks(SIMULATED, f"train[:{count}]", _FEW)
