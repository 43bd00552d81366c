"""The protocol of TensorFlow Serving: scans, versions, metadata, what is refused over gRPC."""

import shutil

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
  classification_pb2,
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
  regression_pb2,
)

from adaptive_stem_tf.serving import server, stepping
from adaptive_stem_tf.serving.geometry import Geometry
from tests import tiny
from tests.unit.serving.conftest import wait_until
from tests.unit.serving.stubs import arrays, partial, post, predict, send, spec, state_of

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def status(served, **which):
  with grpc.insecure_channel(served.grpc) as channel:
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
      get_model_status_pb2.GetModelStatusRequest(model_spec=spec(**which)), timeout=60
    )
  return {s.version: s for s in answer.model_version_status}


def refused(code, function):
  with pytest.raises(grpc.RpcError) as error:
    function()
  assert error.value.code() == code, error.value.details()
  return error.value.details()


class Stubs:
  """Drives scans with the stubs alone."""

  def __init__(self, served, name):
    self._served, self._name = served, name

  def start(self, count):
    return arrays(
      predict(self._served, {"scan_id": np.arange(count)}, name=self._name, signature="start")
    )

  def step(self, observation, answer):
    return arrays(
      predict(
        self._served,
        {"observation": observation, **state_of(answer)},
        name=self._name,
        signature="step",
      )
    )

  def complete(self, partial_scans):
    return arrays(predict(self._served, {"partial_scan": partial_scans}, name=self._name))[
      "completion"
    ]


@pytest.mark.parametrize("name", ["lstm", "dnc"])
def test_scans_over_grpc_are_the_models_own(served, exported, name):
  images = tiny.images(3)
  expected = exported[name][0].scan_all(images)
  geometry = Geometry(tiny.SIZE, tiny.PROBES, tiny.SEGMENTS)
  made = stepping.scan_images(Stubs(served, name), images, geometry)
  whole = arrays(predict(served, {"image": images}, name=name, signature="scan"))
  for path, completion in ((made.path, made.completion), (whole["path"], whole["completion"])):
    np.testing.assert_allclose(path, expected.positions, atol=1e-4)
    np.testing.assert_allclose(completion, expected.completions, atol=1e-4)


def test_requests_choose_a_version_by_number_and_label(served):
  for which, version in (
    ({}, 2),
    ({"version": 1}, 1),
    ({"label": "stable"}, 1),
    ({"label": "canary"}, 2),
  ):
    response = predict(served, {"partial_scan": partial()}, **which)
    assert response.model_spec.version.value == version and response.model_spec.name == "lstm"
    # The status ignores labels.
    assert set(status(served, **which)) == ({version} if "version" in which else {1, 2})
  for path, versions in (("lstm/versions/1", ["1"]), ("lstm/labels/canary", ["2", "1"])):
    assert post(served, {"instances": partial().tolist()}, path).ok
    answer = requests.get(f"{served.rest}/v1/models/{path}", timeout=60).json()
    assert [s["version"] for s in answer["model_version_status"]] == versions
    assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    assert answer["model_version_status"][0]["status"] == {"error_code": "OK", "error_message": ""}


def test_metadata_describe_the_signatures(served):
  request = get_model_metadata_pb2.GetModelMetadataRequest(
    model_spec=spec(), metadata_field=["signature_def"]
  )
  with grpc.insecure_channel(served.grpc) as channel:
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(
      request, timeout=60
    )
  described = get_model_metadata_pb2.SignatureDefMap()
  response.metadata["signature_def"].Unpack(described)
  assert {"complete", "start", "step", "scan", "serving_default"} <= set(described.signature_def)
  shape = described.signature_def["step"].inputs["observation"].tensor_shape
  assert [dim.size for dim in shape.dim] == [-1, tiny.PROBES]
  answer = requests.get(f"{served.rest}/v1/models/lstm/metadata", timeout=60).json()
  assert answer["model_spec"] == {"name": "lstm", "signature_name": "", "version": "2"}
  parsed = json_format.ParseDict(
    answer["metadata"]["signature_def"],
    get_model_metadata_pb2.SignatureDefMap(),
    ignore_unknown_fields=True,
  )
  assert parsed.signature_def["step"] == described.signature_def["step"]


def test_outputs_can_be_filtered(served):
  request = predict_pb2.PredictRequest(
    model_spec=spec(signature="start"), output_filter=["positions"]
  )
  request.inputs["scan_id"].CopyFrom(tf.make_tensor_proto(np.arange(2)))
  assert set(send(served, request).outputs) == {"positions"}
  for wrong in (["nothing"], ["positions", "positions"]):
    request.output_filter[:] = wrong
    refused(INVALID, lambda: send(served, request))


@pytest.mark.parametrize(
  "which, code",
  [
    ({"name": "nobody"}, NOT_FOUND),
    ({"version": 9}, NOT_FOUND),
    ({"version": -1}, NOT_FOUND),
    ({"version": 2**62}, NOT_FOUND),
    ({"label": "beta"}, INVALID),
    ({"name": ""}, INVALID),
    ({"signature": "guess"}, grpc.StatusCode.FAILED_PRECONDITION),
  ],
)
def test_unknown_models_versions_labels_and_signatures_are_told(served, which, code):
  refused(code, lambda: predict(served, {"partial_scan": partial()}, **which))
  if not {"signature", "label"} & set(which) and which.get("name") != "":
    refused(code, lambda: status(served, **which))
  assert predict(served, {"partial_scan": partial()}).outputs


def malformed():
  """Yields requests that the model cannot run: name, signature, inputs."""
  state = {
    "state_cell_0": (2, tiny.UNITS),
    "state_cell_1": (2, tiny.UNITS),
    "state_hidden_0": (2, tiny.UNITS),
    "state_hidden_1": (2, tiny.UNITS),
    "state_position": (2, 2),
    "state_direction": (2, 2),
  }
  step = {"observation": np.zeros([2, tiny.PROBES], np.float32)}
  step |= {name: np.zeros(shape, np.float32) for name, shape in state.items()}
  yield "rank", "complete", {"partial_scan": partial()[0]}
  yield "size", "complete", {"partial_scan": partial()[:, 1:]}
  yield "type", "complete", {"partial_scan": partial().astype(np.float64)}
  yield "name", "complete", {"image": partial()}
  yield "extra", "complete", {"partial_scan": partial(), "more": partial()}
  yield (
    "missing state",
    "step",
    {name: value for name, value in step.items() if name != "state_cell_1"},
  )
  yield (
    "state of other size",
    "step",
    {**step, "state_cell_1": np.zeros([2, tiny.UNITS + 1], np.float32)},
  )
  yield (
    "state of one scan",
    "step",
    {**step, "state_hidden_0": np.zeros([1, tiny.UNITS], np.float32)},
  )
  yield "transposed state", "step", {**step, "state_cell_0": np.zeros([tiny.UNITS, 2], np.float32)}
  yield "state without batch", "step", {**step, "state_direction": np.zeros([2], np.float32)}
  yield (
    "NaN intensity",
    "step",
    {**step, "observation": np.full([2, tiny.PROBES], np.nan, np.float32)},
  )
  yield "NaN state", "step", {**step, "state_cell_0": np.full([2, tiny.UNITS], np.nan, np.float32)}
  yield (
    "infinite image",
    "scan",
    {"image": np.full([1, tiny.SIZE, tiny.SIZE, 1], np.inf, np.float32)},
  )
  yield (
    "NaN scan",
    "complete",
    {"partial_scan": np.full([1, tiny.SIZE, tiny.SIZE, 2], np.nan, np.float32)},
  )


@pytest.mark.parametrize(
  "signature, inputs", [pytest.param(*case, id=name) for name, *case in malformed()]
)
def test_bad_tensors_are_refused_and_the_server_stays_up(served, signature, inputs):
  said = refused(INVALID, lambda: predict(served, inputs, signature=signature))
  assert said
  bodies = {
    "signature_name": signature,
    "inputs": {name: value.tolist() for name, value in inputs.items()},
  }
  # JSON has no types, and columns that are not known are ignored.
  if next(iter(inputs.values())).dtype == np.float32 and "more" not in inputs:
    response = post(served, bodies)
    assert response.status_code == 400 and response.json()["error"]
  assert predict(served, {"partial_scan": partial()}).outputs


def test_a_damaged_tensor_is_refused(served):
  request = predict_pb2.PredictRequest(model_spec=spec())
  proto = tf.make_tensor_proto(partial())
  proto.tensor_content = proto.tensor_content[:-3]
  request.inputs["partial_scan"].CopyFrom(proto)
  refused(INVALID, lambda: send(served, request))
  assert predict(served, {"partial_scan": partial()}).outputs


def test_methods_for_examples_say_what_they_are_for(served):
  with grpc.insecure_channel(served.grpc) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for call, request in (
      (stub.Classify, classification_pb2.ClassificationRequest(model_spec=spec())),
      (stub.Regress, regression_pb2.RegressionRequest(model_spec=spec())),
    ):
      with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=60)
      assert error.value.code() == INVALID and error.value.details()


def test_a_truncated_version_is_told_and_the_one_before_is_served_on(served):
  complete = served.folder / "dnc" / "1"
  damaged = served.folder / "2.tmp"
  shutil.copytree(complete, damaged)
  weights = damaged / "variables" / "variables.data-00000-of-00001"
  weights.write_bytes(weights.read_bytes()[:-100])
  damaged.rename(served.folder / "dnc" / "2")
  wait_until(
    lambda: 2 in status(served, name="dnc") and status(served, name="dnc")[2].status.error_message
  )
  known = status(served, name="dnc")
  assert known[1].state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
  assert known[2].state == get_model_status_pb2.ModelVersionStatus.END
  refused(NOT_FOUND, lambda: predict(served, {"partial_scan": partial()}, name="dnc", version=2))
  assert predict(served, {"partial_scan": partial()}, name="dnc").model_spec.version.value == 1


def test_a_new_version_takes_over(served):
  shutil.copytree(served.folder / "dnc" / "1", served.folder / "3.tmp")
  (served.folder / "3.tmp").rename(served.folder / "dnc" / "3")
  newest = lambda: predict(served, {"partial_scan": partial()}, name="dnc").model_spec.version.value
  wait_until(lambda: newest() == 3)


def test_a_port_that_is_taken_is_told(served):
  port = int(served.grpc.rpartition(":")[2])
  with pytest.raises(server.AddressError, match="cannot be had"):
    server.Server({}, grpc_port=port, rest_port=0)
