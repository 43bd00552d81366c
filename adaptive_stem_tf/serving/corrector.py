"""Exports a distortion correction as a SavedModel, and runs one (METHOD section 10).

Its signature `correct` has the input of an exported scanner's `complete`, and replaces it:

  correct   partial_scan [B, S, S, 2]   -> corrected [B, S, S, 1]
"""

import os
import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.serving import contract, export, extra, local

SIGNATURE = "correct"


class ServedCorrector(tf.Module):
  """The function behind the signature."""

  def __init__(self, corrector: generator_lib.Generator):
    super().__init__(name="served_corrector")
    self.corrector = corrector

  def correct(self, partial_scan: tf.Tensor) -> dict[str, tf.Tensor]:
    """Completes and corrects partial scans [B, S, S, 2]."""
    return {
      "corrected": self.corrector(export.finite(partial_scan, "partial_scan"), is_training=False)
    }


def write(
  corrector: generator_lib.Generator,
  experiment: Correction,
  output: str | os.PathLike,
  iteration: int | None = None,
) -> pathlib.Path:
  """Writes a SavedModel to `output` = NAME/VERSION, whole or not at all.

  Raises:
    export.ExportError: if the version is not a positive integer, or exists already.
  """
  served, size = ServedCorrector(corrector), experiment.scan.image_size
  spec = tf.TensorSpec([None, size, size, 2], tf.float32, "partial_scan")
  signatures = {SIGNATURE: tf.function(served.correct, autograph=False).get_concrete_function(spec)}
  return export.write(served, signatures, SIGNATURE, output, experiment, iteration)


class Corrector:
  """A SavedModel that corrects."""

  def __init__(self, folder: str | os.PathLike, size: int):
    """Loads NAME/VERSION.

    Args:
      folder: of the SavedModel.
      size: side of the partial scans to correct, px.

    Raises:
      local.ModelError: if there is no such folder, it is not a corrector, or it corrects scans of
        another size.
    """
    self.folder = pathlib.Path(folder)
    local.check_folder(self.folder, "corrector")
    signatures = contract.of_protos(extra.read_protos(self.folder))
    if SIGNATURE not in signatures:
      raise local.ModelError(
        f"corrector={folder} has no signature {SIGNATURE}: give what `python -m launch.export "
        "--workdir=` wrote of a run of launch.train_distortion."
      )
    side = signatures[SIGNATURE].inputs["partial_scan"].shape[1]
    if side != size:
      raise local.ModelError(
        f"corrector={folder} corrects scans of {side} px and the model scans {size} px: give one "
        "that was trained for the model's scans."
      )
    self._loaded = tf.saved_model.load(str(self.folder))

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes and corrects partial scans [B, S, S, 2]: [B, S, S, 1]."""
    return self._loaded.signatures[SIGNATURE](partial_scan=tf.convert_to_tensor(partial_scans))[
      "corrected"
    ].numpy()
