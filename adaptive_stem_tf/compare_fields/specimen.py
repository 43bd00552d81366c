"""A field that scans are compared on."""

from typing import NamedTuple

import numpy as np

from adaptive_stem_tf.fields import strata


class FieldSpecimen(NamedTuple):
  """A field, its target, and its properties."""

  file: str
  source: str  # what intervals resample: the file, or a simulated field's seed
  kind: str  # of simulated specimen, or modality; empty if unknown
  image: np.ndarray  # [H, W] float32 in [-1, 1], the scanned field
  target: np.ndarray  # [H, W] float32, low-pass filtered
  truth: np.ndarray | None  # [H, W] float32, noiseless and filtered alike; None if unknown
  gini: float
  stratum: str


def make(
  file: str, image: np.ndarray, source: str = "", kind: str = "", truth: np.ndarray | None = None
) -> FieldSpecimen:
  """Makes a specimen from a field.

  Args:
    file: its name.
    image: [H, W] in [-1, 1].
    source: common to fields that resemble each other; the file if empty.
    kind: of specimen.
    truth: [H, W], noiseless; None if unknown.
  """
  image = np.asarray(image, np.float32)
  low_pass = lambda field: strata.low_pass(field).astype(np.float32)
  coefficient = strata.gini(image)
  return FieldSpecimen(
    file, source or file, kind, image, low_pass(image), None if truth is None else low_pass(truth),
    coefficient, strata.stratum(coefficient)
  )  # fmt: skip
