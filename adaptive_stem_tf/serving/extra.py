"""Files that a SavedModel has in its assets.extra.

config.json                  the configuration that the model was trained with
manifest.json                where it comes from, SHA-256 of configuration and files, and what its
                             signatures mean
tf_serving_warmup_requests   one PredictionLog for each signature, which servers replay when they
                             load the model
litert/                      the fast path, if asked for (see `serving.litert`)
"""

import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

import adaptive_stem_tf
from adaptive_stem_tf import integrity
from adaptive_stem_tf.serving import contract
from adaptive_stem_tf.settings import Composite

FOLDER = integrity.FOLDER
WARM_UP = "tf_serving_warmup_requests"  # the name that servers look for
_SIGNATURES = {
  "complete": "completes partial scans",
  "correct": "completes partial scans that a microscope distorted, and corrects the distortion",
  "serving_default": "is complete, or correct where there is that",
  "survey": "begins scans of whole fields: even positions, a share of the budget",
  "plan": "decides which positions of whole fields a round measures, and completes them so far",
  "decide": "gives the actor's log weights for what is seen of the cells of whole fields",
  "start": (
    "starts as many scans as there are ids: the state and the first segment's probing positions"
  ),
  "step": (
    "takes what was measured along a segment and the state, returns the next segment and state"
  ),
  "scan": (
    "scans whole images and completes them, for use without a microscope; if the model was "
    "trained with normalise=measured, intensities may have any unit here, and come back in it"
  ),
}
_TENSORS = {
  "partial_scan": "intensity in [-1, 1], 0 where not measured; 1 where measured, 0 elsewhere",
  "completion": "intensities, about in [-1, 1]",
  "corrected": "intensities, about in [-1, 1], where they are without distortion",
  "partial_field": "intensity in [-1, 1], 0 where not measured",
  "mask": "1 where measured, 0 elsewhere",
  "standard_deviation": "of the completion's error, as the generator expects it",
  "interpolation": "the classical interpolation that the completion starts from",
  "smooth_interpolation": "an interpolation of a greater bandwidth",
  "rows": "H, px, the same for all fields of a batch",
  "columns": "W, px, the same for all fields of a batch",
  "budget": "positions that are measured in all",
  "rounds": "rounds that are decided after the survey",
  "round_number": "the round to decide, from 1",
  "seed": "chooses one of 16,384 even patterns; the same throughout a scan",
  "next_mask": "1 where something is measured after the round, 0 elsewhere",
  "next_positions": "(row, column) in px of the round's positions, -1 after the last",
  "features": "what a policy sees of cells",
  "gradient": "log of the mean squared gradient of cells, centred",
  "uncertainty": "log of the expected squared error of cells",
  "valid": "share of a cell inside the field",
  "log_weights": "log of the density of positions that is asked for, but for a constant",
  "scan_id": "any numbers: only how many there are matters",
  "observation": "intensities measured at the positions that the last answer asked for, in [-1, 1]",
  "image": "intensities in [-1, 1]",
  "angle": (
    "direction of the next segment, rad in (-pi, pi], from the row axis towards the column axis"
  ),
  "positions": (
    "where to probe next: (row, column) in px, origin top-left; outside the image its border is "
    "read"
  ),
  "path": "every probing position: (row, column) in px",
  "state_position": "start of the segment being scanned: (row, column) in px",
  "state_direction": "step between its probing positions: (row, column) in px",
}
_STATE = "part of the recurrent state: hand back what the last answer gave"


def write(
  saved_model: pathlib.Path, output: pathlib.Path, experiment: Composite, iteration: int | None
) -> None:
  """Writes configuration, manifest and warm-up requests of a SavedModel into its assets.extra.

  Args:
    saved_model: folder that holds the SavedModel, with a folder assets.extra.
    output: NAME/VERSION, the name that it will get.
    experiment: its configuration.
    iteration: of training; None if unknown.
  """
  folder = saved_model / FOLDER
  (folder / integrity.CONFIG).write_text(experiment.to_json())
  signatures = contract.of_protos(read_protos(saved_model))
  if has_serving_api() and not (folder / WARM_UP).exists():
    write_warm_up(folder / WARM_UP, output.parent.name, signatures)
  (folder / integrity.MANIFEST).write_text(
    json.dumps(
      {
        "model": output.parent.name,
        "version": int(output.name),
        "iteration": iteration,
        "adaptive_stem_tf": adaptive_stem_tf.__version__,
        "tensorflow": tf.__version__,
        "config_sha256": config_hash(experiment),
        "files_sha256": {
          str(file.relative_to(saved_model)): integrity.file_digest(file)
          for file in sorted(saved_model.rglob("*"))
          if file.is_file() and file.parent != folder
        },
        "signatures": describe(signatures),
      },
      indent=1,
    )
  )


def config_hash(experiment: Composite) -> str:
  """Returns the SHA-256 of a configuration (see `integrity.digest_of`)."""
  return integrity.digest_of(json.loads(experiment.to_json()))


def read_protos(saved_model: pathlib.Path) -> dict[str, meta_graph_pb2.SignatureDef]:
  """Returns the signatures of a SavedModel by name, without loading it.

  Raises:
    integrity.DamagedModelError: if its graph cannot be read.
  """
  file = saved_model / integrity.GRAPH
  try:
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
  except message.DecodeError as error:
    raise integrity.DamagedModelError(
      f"{file} cannot be read ({error}): is it complete?"
    ) from error
  if not proto.meta_graphs:
    raise integrity.DamagedModelError(f"{file} has no graph: is it complete?")
  return dict(proto.meta_graphs[0].signature_def)


def describe(signatures: Mapping[str, contract.Signature]) -> dict[str, Any]:
  """Explains signatures for people: every tensor with its shape, type and meaning."""

  def explained(tensors):
    """Returns shape, type and meaning of tensors, by name."""
    return {name: f"{tensors[name]}: {_TENSORS.get(name, _STATE)}" for name in sorted(tensors)}

  return {
    name: {
      "does": _SIGNATURES[name],
      "takes": explained(signature.inputs),
      "gives": explained(signature.outputs),
    }
    for name, signature in sorted(signatures.items())
  }


def has_serving_api() -> bool:
  """Returns whether the protocol of TensorFlow Serving is installed."""
  return importlib.util.find_spec("tensorflow_serving") is not None


def write_warm_up(
  file: pathlib.Path,
  name: str,
  signatures: Mapping[str, contract.Signature],
  examples: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> None:
  """Writes one request for each signature: from `examples` or, without them, zeros of batch 1."""
  from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

  with tf.io.TFRecordWriter(str(file)) as writer:
    for signature_name, signature in sorted(signatures.items()):
      request = predict_pb2.PredictRequest()
      request.model_spec.name, request.model_spec.signature_name = name, signature_name
      for key, tensor in signature.inputs.items():
        if examples is None:
          value = np.zeros([size or 1 for size in tensor.shape], tensor.dtype.as_numpy_dtype)
        else:
          value = examples[signature_name][key]
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      writer.write(log.SerializeToString())
