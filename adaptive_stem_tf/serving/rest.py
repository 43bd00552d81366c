"""The HTTP form of TensorFlow Serving's API: status, metadata and predictions in rows or columns.

For tests and for machines without tensorflow_model_server, whose api_rest documentation
this follows. Row format: `instances`, one object an example (or its value, if a signature
takes one tensor); column format: `inputs`, one object of whole tensors. Errors are
{"error": sentence} with the HTTP status that belongs to the code.
"""

import http.server
import json
import re
import urllib.parse
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from adaptive_stem_tf.serving import contract
from adaptive_stem_tf.serving import servables as servables_lib

_WHICH = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT, _STATUS = re.compile(_WHICH + r":(\w+)"), re.compile(_WHICH + r"(/metadata)?")
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
_LARGEST_VERSION = 2**63 - 1


def make_server(
  servables: servables_lib.Servables, address: str, port: int
) -> http.server.ThreadingHTTPServer:
  """Returns an HTTP server that answers, one thread a connection, once its `serve_forever` runs."""

  class Handler(_Handler):
    """Answers from these servables."""

    served = servables

  return http.server.ThreadingHTTPServer((address, port), Handler)


def signatures_of(version: servables_lib.Version) -> get_model_metadata_pb2.SignatureDefMap:
  """Returns the signatures of a version as the API describes them."""
  described = get_model_metadata_pb2.SignatureDefMap()
  for name, signature in version.protos.items():
    described.signature_def[name].CopyFrom(signature)
  return described


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers one connection."""

  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm = True
  served: servables_lib.Servables

  def do_GET(self):
    """Answers requests for status and metadata."""
    self._answer(lambda: _get(self.served, self.path))

  def do_POST(self):
    """Answers requests for predictions."""
    length = self.headers.get("Content-Length", "")
    if not length.isdigit():
      self.close_connection = True  # where the request ends is not known
      self._send(411, {"error": "The request has no Content-Length."})
      return
    body = self.rfile.read(int(length))
    self._answer(lambda: _post(self.served, self.path, body))

  def log_message(self, *arguments):
    """Keeps quiet."""

  def _answer(self, function):
    try:
      self._send(200, function())
    except contract.ContractError as error:
      self._send(400, {"error": str(error)})
    except tf.errors.OpError as error:
      self._send(_HTTP.get(error.error_code, 500), {"error": error.message})
    except Exception as error:  # an answer, rather than a connection that drops
      self._send(500, {"error": f"{type(error).__name__}: {error}"})

  def _send(self, status, answer):
    content = json.dumps(answer).encode()
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content)


def _get(served, path):
  match = _STATUS.fullmatch(path)
  if not match:
    raise servables_lib.invalid(
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


def _post(served, path, body):
  match = _PREDICT.fullmatch(path)
  if not match:
    raise servables_lib.invalid(
      f"POST {path} is malformed: POST /v1/models/NAME[/versions/N|/labels/L]:predict."
    )
  *which, method = match.groups()
  if method != "predict":
    raise tf.errors.UnimplementedError(
      None, None, f"{method!r} is not offered by this server: only predict."
    )
  version = served.find(_spec(*which))
  request = _parse(body)
  signature = request.get("signature_name", servables_lib.DEFAULT_SIGNATURE)
  if not isinstance(signature, str):
    raise servables_lib.invalid(f"signature_name={signature!r} is no string.")
  contract.check_known(signature, version.signatures)
  known, in_rows = version.signatures[signature].inputs, "instances" in request
  tensors = _rows(request["instances"], known) if in_rows else _columns(request["inputs"], known)
  outputs = {name: value.tolist() for name, value in version.predict(signature, tensors).items()}
  if len(outputs) == 1:
    return {"predictions" if in_rows else "outputs": next(iter(outputs.values()))}
  if in_rows:
    return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}
  return {"outputs": outputs}


def _spec(name, version, label):
  spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name))
  if version:
    if int(version) > _LARGEST_VERSION:
      raise servables_lib.invalid(
        f"Version {version} is out of range: versions go up to {_LARGEST_VERSION}."
      )
    spec.version.value = int(version)
  elif label:
    spec.version_label = urllib.parse.unquote(label)
  return spec


def _parse(body) -> dict[str, Any]:
  try:
    request = json.loads(body)  # also reads NaN and Infinity, which TensorFlow Serving does too
  except ValueError as error:
    raise servables_lib.invalid(f"The request is not JSON: {error}.") from None
  if not isinstance(request, dict):
    raise servables_lib.invalid("The request is no JSON object.")
  if ("instances" in request) == ("inputs" in request):
    raise servables_lib.invalid(
      "The request must have either 'instances' (rows) or 'inputs' (columns)."
    )
  return request


def _rows(rows, known):
  if not isinstance(rows, list) or not rows:
    raise servables_lib.invalid("'instances' is no list of at least one example.")
  if not all(isinstance(row, dict) for row in rows):
    if len(known) > 1:
      raise servables_lib.invalid(
        f"'instances' must be a list of objects with {', '.join(sorted(known))}."
      )
    return _columns(rows, known)
  for row in rows:
    if set(row) != set(known):
      raise servables_lib.invalid(
        f"Each example takes {', '.join(sorted(known))}, not {', '.join(sorted(row)) or 'nothing'}."
      )
  return _columns({name: [row[name] for row in rows] for name in known}, known)


def _columns(columns, known):
  if not isinstance(columns, dict):
    if len(known) > 1:
      raise servables_lib.invalid(f"'inputs' must be an object with {', '.join(sorted(known))}.")
    columns = {next(iter(known)): columns}
  unknown = sorted(set(columns) - set(known))
  if unknown:
    raise servables_lib.invalid(
      f"{', '.join(unknown)} is unknown: the signature takes {', '.join(sorted(known))}."
    )
  return {
    name: _tensor(name, value, known[name].dtype.as_numpy_dtype) for name, value in columns.items()
  }


def _tensor(name, value, dtype):
  try:
    array = np.array(value)
  except ValueError:
    raise servables_lib.invalid(f"{name} is ragged: its lists differ in length.") from None
  if array.dtype.kind not in "iuf" or array.dtype.kind == "f" and np.issubdtype(dtype, np.integer):
    raise servables_lib.invalid(
      f"{name} holds something else than numbers of type {np.dtype(dtype).name}."
    )
  return array.astype(dtype)
