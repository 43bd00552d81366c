"""Loads the whole fields that the flags name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import field_config
from adaptive_stem_tf.micrographs import field_set
from datasets.simulated_stem import whole_fields

SIMULATED = "simulated_stem/fields_512"
_FEW = 200  # fields that are drawn anew rather than kept in a data set, which takes minutes


class TrainingFields(NamedTuple):
  """Fields to train on."""

  simulated: np.ndarray  # [N, S, S, 1] float16
  measured: list[np.ndarray]  # [H, W, 1] float16
  sources: list[str]  # the file of each measured field
  simulated_share: float  # of what is drawn, where there are both

  def repeated(self) -> list[np.ndarray]:
    """Returns fields as often as they are drawn: each micrograph as often as any other."""
    simulated = list(self.simulated)
    if not self.measured:
      return simulated
    files: dict[str, list[np.ndarray]] = {}
    for field, source in zip(self.measured, self.sources):
      files.setdefault(source, []).append(field)
    share = self.simulated_share if simulated else 0.0
    wanted = len(simulated) * (1 - share) / share if share else max(map(len, files.values()))
    each = max(1, round(wanted / len(files))) if share else round(wanted)
    measured = [fields[i % len(fields)] for fields in files.values() for i in range(each)]
    return (simulated if share else []) + measured

  def digestible(self) -> dict[str, np.ndarray]:
    """Returns what a workdir keeps digests of."""
    flat = [field.ravel() for field in self.measured] or [np.zeros(0, np.float16)]
    return {"simulated_fields": self.simulated, "fields": np.concatenate(flat)}


def load(data: field_config.FieldData, crop: int) -> TrainingFields:
  """Loads --simulated_fields and --fields, training split, and says how many there are.

  Args:
    data: which fields.
    crop: side of training crops, px; smaller fields are left out.

  Raises:
    ValueError: if nothing is left to train on.
  """
  measured, sources = [], []
  if data.fields:
    fields = field_set.load(data.fields, "train")
    for field, source in zip(fields.fields, fields.sources):
      if min(field.shape) >= crop:
        measured.append(field[..., None].astype(np.float16))
        sources.append(source)
    small = len(fields.fields) - len(measured)
    left_out = f" ({small} smaller than {crop} px are left out)" if small else ""
    print(f"{data.fields}: {len(measured)} fields of {len(set(sources))} files{left_out}.")
  simulated = np.zeros([0, crop, crop, 1], np.float16)
  if data.simulated_fields:
    simulated = _simulated(data.simulated_fields).astype(np.float16)
    print(f"{SIMULATED}: {len(simulated)} fields.")
  if not measured and not len(simulated):
    raise ValueError(
      f"fields={data.fields!r} and simulated_fields={data.simulated_fields} leave no field of at "
      f"least {crop} px to train on: give more fields, or a smaller --crop."
    )
  return TrainingFields(simulated, measured, sources, data.simulated_share)


def _simulated(count):
  """Returns the first fields of the training split [N, S, S, 1]."""
  if count <= _FEW:
    return whole_fields.draw_training_fields(count)
  from datasets import load as dataset_loader  # TFDS takes seconds to import

  return dataset_loader.load_split(SIMULATED, f"train[:{count}]")
