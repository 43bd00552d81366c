"""The HTTP form of TensorFlow Serving's API: status, metadata and predictions in rows or columns.

For tests and for machines without tensorflow_model_server, whose api_rest documentation
this follows. Row format: `instances`, one object an example (or its value, if a signature
takes one tensor); column format: `inputs`, one object of whole tensors. Errors are
{"error": sentence} with the HTTP status that belongs to the code.
"""

import json
import re
import urllib.parse
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from adaptive_stem_tf.serving import contract, request_tensors
from adaptive_stem_tf.serving import servables as servables_lib

_WHICH = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_WHICH + r":(classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_WHICH + r"(/metadata)?", re.IGNORECASE)
_HTTP = {
  tf.errors.INVALID_ARGUMENT: 400,
  tf.errors.FAILED_PRECONDITION: 400,
  tf.errors.OUT_OF_RANGE: 400,
  tf.errors.NOT_FOUND: 404,
  tf.errors.RESOURCE_EXHAUSTED: 429,
  tf.errors.UNIMPLEMENTED: 501,
  tf.errors.UNAVAILABLE: 503,
  tf.errors.DEADLINE_EXCEEDED: 504,
}


def signatures_of(version: servables_lib.Version) -> get_model_metadata_pb2.SignatureDefMap:
  """Returns the signatures of a version as the API describes them."""
  signatures = get_model_metadata_pb2.SignatureDefMap()
  for name, signature in version.protos.items():
    signatures.signature_def[name].CopyFrom(signature)
  return signatures


class Answer(NamedTuple):
  """The answer to a request."""

  status: int  # of HTTP
  code: int  # TensorFlow's, which is gRPC's
  content: dict[str, Any]  # JSON


def answer(served: servables_lib.Servables, method: str, path: str, body: bytes) -> Answer:
  """Returns the answer to a request; it never raises an error, which is an answer, too."""
  try:
    content = _get(served, path) if method == "GET" else _post(served, method, path, body)
  except contract.ContractError as error:
    return Answer(400, tf.errors.INVALID_ARGUMENT, {"error": str(error)})
  except tf.errors.OpError as error:
    status = _HTTP.get(error.error_code, 500)
    return Answer(status, error.error_code, {"error": error.message})
  except Exception as error:  # an answer, rather than a connection that drops
    return Answer(500, tf.errors.INTERNAL, {"error": f"{type(error).__name__}: {error}"})
  return Answer(200, tf.errors.OK, content)


def prediction_of(method: str, path: str) -> tuple[str, str] | None:
  """Returns the model and the verb of a request for predictions; None for any other."""
  match = _PREDICT.fullmatch(path) if method == "POST" else None
  return (urllib.parse.unquote(match[1]), match[4].lower()) if match else None


def _get(served, path):
  match = _STATUS.fullmatch(path)
  if not match or not match[1]:
    raise request_tensors.invalid(
      f"GET {path} is malformed: GET /v1/models/NAME[/versions/N|/labels/L][/metadata]."
    )
  *which, metadata = match.groups()
  spec = _spec(*which)
  if metadata:
    version = served.find(spec)
    return {
      "model_spec": {"name": spec.name, "signature_name": "", "version": str(version.number)},
      "metadata": {"signature_def": _json(signatures_of(version))},
    }
  return _json(
    get_model_status_pb2.GetModelStatusResponse(model_version_status=served.status(spec))
  )


def _json(message):
  return json_format.MessageToDict(
    message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
  )


def _post(served, method, path, body):
  match = _PREDICT.fullmatch(path)
  if not match or method != "POST":
    raise request_tensors.invalid(
      f"{method} {path} is malformed: POST /v1/models/NAME[/versions/N|/labels/L]:predict."
    )
  *which, verb = match.groups()
  version = served.find(_spec(*which))
  if verb.lower() != "predict":
    raise request_tensors.no_examples(verb)
  request = _parse(body)
  signature = request.get("signature_name", servables_lib.DEFAULT_SIGNATURE)
  if not isinstance(signature, str):
    raise request_tensors.invalid(f"signature_name={signature!r} is no string.")
  contract.check_known(signature, version.signatures)
  known, in_rows = version.signatures[signature].inputs, "instances" in request
  tensors = _rows(request["instances"], known) if in_rows else _columns(request["inputs"], known)
  served.limits.check(tensors)
  outputs = {name: value.tolist() for name, value in version.predict(signature, tensors).items()}
  if len(outputs) == 1:
    return {"predictions" if in_rows else "outputs": next(iter(outputs.values()))}
  if in_rows:
    return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}
  return {"outputs": outputs}


def _spec(name, version, label):
  spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name))
  if version:
    if len(version) > 19 or int(version) > servables_lib.LARGEST_VERSION:
      raise request_tensors.invalid(
        f"Version {version[:40]} is out of range: {servables_lib.LARGEST_VERSION} is the largest."
      )
    spec.version.value = int(version)
  elif label:
    spec.version_label = urllib.parse.unquote(label)
  return spec


def _parse(body) -> dict[str, Any]:
  try:
    request = json.loads(body)  # also reads NaN and Infinity, which TensorFlow Serving does too
  except (ValueError, RecursionError) as error:
    raise request_tensors.invalid(f"The request is not JSON: {error}.") from None
  if not isinstance(request, dict):
    raise request_tensors.invalid("The request is no JSON object.")
  if ("instances" in request) == ("inputs" in request):
    raise request_tensors.invalid(
      "The request must have either 'instances' (rows) or 'inputs' (columns)."
    )
  return request


def _rows(rows, known):
  if not isinstance(rows, list) or not rows:
    raise request_tensors.invalid("'instances' is no list of at least one example.")
  if not all(isinstance(row, dict) for row in rows):
    if len(known) > 1:
      raise request_tensors.invalid(
        f"'instances' must be a list of objects with {', '.join(sorted(known))}."
      )
    return _columns(rows, known)
  for row in rows:
    if set(row) != set(known):
      raise request_tensors.invalid(
        f"Each example takes {', '.join(sorted(known))}, not {', '.join(sorted(row)) or 'nothing'}."
      )
  return _columns({name: [row[name] for row in rows] for name in known}, known)


def _columns(columns, known):
  if not isinstance(columns, dict):
    if len(known) > 1:
      raise request_tensors.invalid(f"'inputs' must be an object with {', '.join(sorted(known))}.")
    columns = {next(iter(known)): columns}
  return {  # columns that the signature does not know are ignored
    name: _tensor(name, value, known[name].dtype.as_numpy_dtype)
    for name, value in columns.items()
    if name in known
  }


def _tensor(name, value, dtype):
  """Returns nested lists of numbers as an array.

  Values that the type cannot hold are errors: NumPy would wrap integers, and take true for 1.

  Raises:
    InvalidArgumentError: if lists are ragged, values are not numbers or exceed the type, or a type
      of integers is given other numbers.
  """
  values = np.array(value, object)  # lists that differ in length stay lists
  kinds = {type(one) for one in values.flat}
  if list in kinds:
    raise request_tensors.invalid(f"{name} is ragged: its lists differ in length.")
  integers = np.issubdtype(dtype, np.integer)
  if kinds - ({int} if integers else {int, float}):
    raise request_tensors.invalid(
      f"{name} holds something else than numbers of type {np.dtype(dtype).name}."
    )
  wrong = list(values.flat[_beyond(values, dtype)])
  if wrong:
    raise request_tensors.invalid(
      f"{name} holds {str(wrong[0])[:40]}, which {np.dtype(dtype).name} cannot hold."
    )
  return values.astype(dtype)


def _beyond(values, dtype):
  """Returns the flat indices of numbers that a type cannot hold; integers have to stay exact."""
  try:
    sizes = np.abs(values.astype(np.float64)).ravel()
  except OverflowError:
    sizes = np.full(values.size, np.inf)
  if np.issubdtype(dtype, np.integer):
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    return [i for i, one in enumerate(values.flat) if not least <= one <= most]
  limits = np.finfo(dtype)
  exact = 2 ** (limits.nmant + 1)
  suspects = np.flatnonzero(sizes > exact)
  return [
    i
    for i in suspects
    if (isinstance(values.flat[i], int) or np.isfinite(sizes[i]) and sizes[i] > limits.max)
  ]
