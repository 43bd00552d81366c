"""Converts an actor's step and a generator to LiteRT: the fast path, for a control computer beside
the microscope.

It writes these files, all for one scan at a time (shapes are fixed, so that nothing is allocated at
run time):

  step.tflite               signature `step` of the SavedModel
  complete.tflite           signature `complete`
  complete_float16.tflite   the same with weights of 16 bits, if asked for
  complete_int8.tflite      the same with weights of 8 bits, if asked for
  start.npz                 the answer of `start`, and the sizes of scans

Single steps are converted, not whole scans: unrolled recurrences convert badly. Conversion needs
TensorFlow; running the files needs only `serving.edge`, NumPy and ai-edge-litert.
"""

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.evaluation.model import Model
from adaptive_stem_tf.serving import edge, export

FOLDER = edge.FOLDER
PRECISIONS = ("float16", "int8")


def check(model: Model, precisions: Sequence[str] = ()) -> None:
  """Checks that a model can be converted.

  Raises:
    export.ExportError: if a precision is unknown, or LiteRT has no arithmetic for the generator.
  """
  unknown = set(precisions) - set(PRECISIONS)
  if unknown:
    raise export.ExportError(
      f"precision {', '.join(sorted(unknown))} is unknown: choose {' or '.join(PRECISIONS)}."
    )
  if model.experiment.generator.precision != "float32":
    raise export.ExportError(
      f"precision={model.experiment.generator.precision} of the generator has no LiteRT "
      "arithmetic: train or export with --precision=float32."
    )


def convert(model: Model, folder: pathlib.Path, precisions: Sequence[str] = ()) -> None:
  """Writes a model's fast path.

  Args:
    model: the model to convert.
    folder: made if it is missing.
    precisions: of further generators, among PRECISIONS.

  Raises:
    export.ExportError: if it cannot be converted.
  """
  check(model, precisions)
  folder.mkdir(parents=True, exist_ok=True)
  served = export.ServedModel(model)
  start = {name: value.numpy() for name, value in served.start(tf.zeros([1], tf.int64)).items()}
  scan = model.experiment.scan
  np.savez(
    folder / "start.npz", size=scan.image_size, probes=scan.probes, segments=scan.segments, **start
  )
  with tempfile.TemporaryDirectory() as fixed:
    tf.saved_model.save(served, fixed, signatures=served.signatures(1, ("step", "complete")))
    for name, precision in [
      ("step", ""),
      ("complete", ""),
      *(("complete", kind) for kind in precisions),
    ]:
      content = _converted(fixed, name, precision)
      (folder / f"{name}{precision and '_'}{precision}.tflite").write_bytes(content)


def _converted(saved_model, name, precision):
  converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[name])
  if precision:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if precision == "float16":
    converter.target_spec.supported_types = [tf.float16]
  return converter.convert()  # built-in operations only: the runtime has no others
