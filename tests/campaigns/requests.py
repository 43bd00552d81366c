"""Malformed requests to our server over gRPC and HTTP, with valid ones in between.

  python -m tests.campaigns.requests --cases=10000

A third of them are right but for one thing. Counts what was answered. `wrong`, `accepted`,
`internal` and `dropped` have to be 0: a valid request was answered wrongly, one that is right but
for one thing was answered, something inside the server failed, or it did not answer at all.
`grew_mb` is by how much the process's memory grew after the first tenth.
"""

import collections
import gzip
import json
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import requests as http
import tensorflow as tf
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from adaptive_stem_tf.serving import repository, request_tensors, server
from tests import exports, tiny
from tests.campaigns import report

SIGNATURES = ("complete", "start", "step", "scan", "serving_default", "", "guess")
NAMES = ("partial_scan", "scan_id", "observation", "image", "state_direction", "nothing")
NUMBERS = st.one_of(
  st.floats(allow_nan=True, width=32),
  st.sampled_from([0, 1, -1, 2**24 + 1, 2**31, 2**32 + 1, 2**63, 10**30, 1e39, float("inf")]),
)
JSON = st.recursive(
  st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4)),
  lambda part: st.one_of(
    st.lists(part, max_size=4),
    st.dictionaries(st.sampled_from((*NAMES, "b64", "inputs")), part, max_size=3),
  ),
  max_leaves=12,
)
SIZES = st.sampled_from([-1, 0, 1, 2, 4, tiny.PROBES, tiny.SIZE, 1000, 2**31, 2**40])
TENSORS = st.fixed_dictionaries({
  "dtype": st.sampled_from([0, 1, 2, 3, 4, 7, 8, 9, 10, 20, 23, 99]),
  "shape": st.lists(SIZES, max_size=5),
  "content": st.binary(max_size=64),
  "floats": st.lists(st.floats(width=32), max_size=3),
  "integers": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
})  # fmt: skip
CALLS = st.fixed_dictionaries({
  "over": st.just("grpc"),
  "signature": st.sampled_from(SIGNATURES),
  "name": st.sampled_from(["lstm", "lstm", "lstm", "", "nobody"]),
  "version": st.sampled_from([None, None, 1, 7, -1, 2**63 - 1]),
  "label": st.sampled_from([None, None, "stable"]),
  "inputs": st.dictionaries(st.sampled_from(NAMES), TENSORS, max_size=3),
  "filter": st.lists(st.sampled_from(["completion", "nothing"]), max_size=3),
  "cut": st.integers(0, 40),
})  # fmt: skip
POSTS = st.fixed_dictionaries({
  "over": st.just("http"),
  "method": st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE"]),
  "path": st.sampled_from([
    "/v1/models/lstm:predict", "/v1/models/lstm:predict", "/v1/models/lstm/versions/1:predict",
    "/v1/models/lstm/versions/99999999999999999999999:predict", "/v1/models/lstm:classify",
    "/v1/models/%00:predict", "/v1/models/lstm/metadata", "/v1/models/", "/v1/", "/x", "//",
  ]),  # fmt: skip
  "body": st.one_of(
    st.binary(max_size=64),
    st.fixed_dictionaries(
      {"signature_name": st.sampled_from(SIGNATURES)}, optional={"inputs": JSON, "instances": JSON}
    ),
    JSON,
  ),
  "headers": st.sampled_from([
    {}, {}, {"Content-Encoding": "gzip"}, {"Content-Length": "-1"}, {"Content-Length": "1e9"},
    {"Transfer-Encoding": "chunked"}, {"Expect": "100-continue"},
  ]),  # fmt: skip
  "zip": st.booleans(),
})  # fmt: skip
# What is wrong with a request that is right otherwise.
NEARLY = st.fixed_dictionaries({
  "over": st.sampled_from(["nearly grpc", "nearly http"]),
  "axis": st.integers(0, 3),
  "place": st.integers(0, 2 * tiny.SIZE**2 - 1),
  "change": st.sampled_from([
    "larger", "smaller", "flat", "deeper", "batch", "nan", "infinity", "bytes", "type", "name",
    "signature", "version", "missing", "filter",
  ]),
})  # fmt: skip
VALID_EVERY = 20
_DRAWN = 500  # cases at once: hypothesis keeps all that it draws, which is no memory of the server


class Served:
  """Our server of a tiny model, and what a valid request is answered."""

  def __init__(self, folder: pathlib.Path):
    models = repository.one_model("lstm", exports.Exports(folder)(exports.PLAIN).parent)
    models["lstm"].version_labels["stable"] = 1
    limits = request_tensors.Limits(max_batch=64, max_bytes=1 << 20)
    self.server = server.Server(models, "localhost", 0, 0, limits=limits).start()
    self._channel = grpc.insecure_channel(f"localhost:{self.server.grpc_port}")
    self._predict = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
    self._url = f"http://localhost:{self.server.rest_port}"
    self._scans = np.random.default_rng(0).uniform(-1, 1, [1, tiny.SIZE, tiny.SIZE, 2])
    self._scans = self._scans.astype(np.float32)
    self._expected = self._over_grpc()
    self.asked, self.memory = 0, [resident()]

  def close(self):
    """Stops the server."""
    self._channel.close()
    self.server.stop()

  def check(self, case) -> str:
    """Sends a malformed request, and a valid one now and then."""
    self.asked += 1
    if self.asked % VALID_EVERY == 0:
      self.memory.append(resident())
      for ask in (self._over_grpc, self._over_http):
        if not np.allclose(ask(), self._expected, atol=1e-5):
          return "wrong"
    if case["over"].startswith("nearly"):
      return self._nearly(case)
    return self._call(case) if case["over"] == "grpc" else self._post(case)

  def _nearly(self, case):
    """Sends what is right but for one thing."""
    change, scans = case["change"], changed(self._scans, case)
    name = "partial_scans" if change == "name" else "partial_scan"
    signature = "completes" if change == "signature" else "complete"
    if case["over"].endswith("grpc"):
      request = predict_pb2.PredictRequest(output_filter=["nothing"] * (change == "filter"))
      request.model_spec.name, request.model_spec.signature_name = "lstm", signature
      if change == "version":
        request.model_spec.version.value = 2
      if change != "missing":
        request.inputs[name].CopyFrom(tf.make_tensor_proto(scans))
      if change == "bytes":
        proto = request.inputs[name]
        proto.tensor_content = proto.tensor_content[: -1 - case["place"]]
      result = self._told(request.SerializeToString())
    else:
      path = f"/v1/models/lstm{'/versions/2' * (change == 'version')}:predict"
      inputs = {} if change == "missing" else {name: scans.tolist()}
      body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
      body = body[: -1 - case["place"]] if change in ("bytes", "filter", "type") else body
      result = self._status("POST", path, body, {}, False)
    return {"answered": "accepted"}.get(result, f"nearly: {result}")

  def _call(self, case):
    request = predict_pb2.PredictRequest(output_filter=case["filter"])
    request.model_spec.name, request.model_spec.signature_name = case["name"], case["signature"]
    if case["version"] is not None:
      request.model_spec.version.value = case["version"]
    elif case["label"]:
      request.model_spec.version_label = case["label"]
    for name, tensor in case["inputs"].items():
      proto = request.inputs[name]
      proto.dtype, proto.tensor_content = tensor["dtype"], tensor["content"]
      proto.float_val.extend(tensor["floats"])
      proto.int64_val.extend(tensor["integers"])
      for size in tensor["shape"]:
        proto.tensor_shape.dim.add(size=size)
    message = request.SerializeToString()
    return self._told(message[: len(message) - max(0, case["cut"] - 30)])

  def _told(self, message):
    """Returns what is told over gRPC."""
    try:
      self._predict(message, timeout=60)
    except grpc.RpcError as error:
      code = error.code().name
      # What is no message at all is refused before our code, by gRPC itself.
      if code == "INTERNAL" and "deserializ" in error.details():
        return "refused"
      return "internal" if code in ("INTERNAL", "UNKNOWN") else (
        "dropped" if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED") else "refused"
      )  # fmt: skip
    return "answered"

  def _post(self, case):
    body = case["body"]
    if not isinstance(body, bytes):
      body = json.dumps(body).encode()
    return self._status(case["method"], case["path"], body, case["headers"], case["zip"])

  def _status(self, method, path, body, headers, zipped):
    """Returns what is told over HTTP."""
    if zipped and "Content-Encoding" in headers:
      body = gzip.compress(body)
    request = http.Request(method, self._url + path, data=body).prepare()
    request.headers.update(headers)
    if "Transfer-Encoding" in headers:
      del request.headers["Content-Length"]
      request.body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    try:
      with http.Session() as session:
        status = session.send(request, timeout=60).status_code
    except http.exceptions.RequestException:
      return "dropped"
    return "answered" if status == 200 else "internal" if status >= 500 else "refused"

  def _over_grpc(self):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "lstm"
    request.inputs["partial_scan"].CopyFrom(tf.make_tensor_proto(self._scans))
    return tf.make_ndarray(self._stub.Predict(request, timeout=60).outputs["completion"])

  def _over_http(self):
    url = f"{self._url}/v1/models/lstm:predict"
    answer = http.post(url, json={"inputs": self._scans.tolist()}, timeout=60)
    return np.array(answer.json()["outputs"])


def changed(scans: np.ndarray, case) -> np.ndarray:
  """Returns partial scans [1, S, S, 2] of which one thing is wrong."""
  axis = max(1, case["axis"])
  changes = {
    "larger": lambda: np.concatenate([scans, scans.take([0], axis)], axis),
    "smaller": lambda: scans.take(range(scans.shape[axis] - 1), axis),
    "flat": lambda: scans[0],
    "deeper": lambda: scans[None],
    "batch": lambda: np.repeat(scans, 65, 0),
    "type": lambda: scans.astype(np.float64),
  }
  if case["change"] in changes:
    return changes[case["change"]]()
  copy = scans.copy()
  if case["change"] in ("nan", "infinity"):
    copy.flat[case["place"]] = np.nan if case["change"] == "nan" else np.inf
  return copy


def resident() -> float:
  """Returns the memory that this process holds, MB."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(cases: int, seed: int):
  """Runs the campaign; returns the counts."""
  found: collections.Counter = collections.Counter()
  with tempfile.TemporaryDirectory() as folder:
    served = Served(pathlib.Path(folder) / "exports")
    try:
      for part in range(-(-cases // _DRAWN)):
        count = min(_DRAWN, cases - part * _DRAWN)
        drawn = report.each(CALLS | POSTS | NEARLY, count, seed * 1000 + part, served.check)
        found.update(drawn)
    finally:
      served.close()
  memory = served.memory
  found["grew_mb"] = round(memory[-1] - memory[len(memory) // 10])
  return found


if __name__ == "__main__":
  report.counts(__doc__, 10_000, run)
