"""What our server does to be there for the next request: limits, time, files that change."""

import gzip
import http.client
import json
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

from adaptive_stem_tf.serving import (
  client,
  http_server,
  repository,
  request_tensors,
  servables,
  server,
  transport,
)
from tests import tiny
from tests.unit.serving.conftest import wait_until

LIMITS = request_tensors.Limits(max_batch=8, max_bytes=100_000)


@pytest.fixture(scope="module")
def running(exported, tmp_path_factory):
  """Our server of `lstm`, with low limits."""
  folder = tmp_path_factory.mktemp("limited") / "lstm"
  shutil.copytree(exported["lstm"][1], folder / "1")
  made = server.Server(
    repository.one_model("lstm", folder), "localhost", 0, 0, poll_seconds=0.1, limits=LIMITS
  ).start()
  yield made
  made.stop()


def bomb(dtype, *shape):
  """Returns a tensor of one value and a large shape: some 20 bytes."""
  proto = tensor_pb2.TensorProto(dtype=dtype)
  for size in shape:
    proto.tensor_shape.dim.add(size=size)
  proto.int64_val[:] = [0]
  return proto


def send(running, signature, **inputs):
  request = predict_pb2.PredictRequest(
    model_spec=model_pb2.ModelSpec(name="lstm", signature_name=signature)
  )
  for name, proto in inputs.items():
    request.inputs[name].CopyFrom(proto)
  with grpc.insecure_channel(f"localhost:{running.grpc_port}") as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    try:
      return stub.Predict(request, timeout=60)
    except grpc.RpcError as error:
      return error


@pytest.mark.parametrize(
  "proto, said",
  [
    (bomb(types_pb2.DT_INT64, 10**9), "has a batch of 1000000000, and the server takes 8"),
    (bomb(types_pb2.DT_INT64, 1, 2**40), "brings the request to 8796093022208 bytes"),
    (bomb(types_pb2.DT_INT64, -5), "its shape is not known"),
    (bomb(types_pb2.DT_STRING, 1), "it holds no numbers"),
    (bomb(99, 1), "it holds no numbers"),
  ],
)
def test_tensors_are_measured_before_they_are_decoded(running, proto, said, monkeypatch):
  assert proto.ByteSize() < 80
  decoded = []
  monkeypatch.setattr(tf, "make_ndarray", decoded.append)
  error = send(running, "start", scan_id=proto)
  assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and said in error.details()
  assert not decoded


def test_many_tensors_count_together(running):
  halves = {f"state_{i}": bomb(types_pb2.DT_INT64, 8, 1000) for i in range(2)}
  error = send(running, "step", **halves)
  assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "128000 bytes" in error.details()


def test_messages_that_are_too_large_are_refused(running):
  proto = tf.make_tensor_proto(np.zeros([4, tiny.SIZE, tiny.SIZE, 200], np.float32))
  assert send(running, "complete", partial_scan=proto).code() in (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INVALID_ARGUMENT,
  )
  body = b"[" + b"0," * 100_000 + b"0]"
  url = f"http://localhost:{running.rest_port}/v1/models/lstm:predict"
  assert requests.post(url, data=body, timeout=60).status_code == 413
  assert requests.post(url, data=iter([body]), timeout=60).status_code == 413
  pieces = iter([body[:50_000]] * 4)  # none is too large by itself
  assert requests.post(url, data=pieces, timeout=60).status_code == 413
  zipped = gzip.compress(b"0" * 10**7)
  answer = requests.post(url, data=zipped, headers={"Content-Encoding": "gzip"}, timeout=60)
  assert len(zipped) < 20_000 and answer.status_code == 413
  answer = requests.post(url, json={"signature_name": "start", "inputs": [0] * 9}, timeout=60)
  assert answer.status_code == 400 and "batch of 9" in answer.json()["error"]


def test_bad_requests_do_not_fill_the_log(running, caplog, capfd):
  caplog.set_level("INFO")
  assert send(running, "start", scan_id=bomb(types_pb2.DT_STRING, 1)).code()
  assert send(running, "guess", scan_id=bomb(types_pb2.DT_INT64, 1)).code()
  address = f"http://localhost:{running.rest_port}/v1/models"
  for path, body in (
    ("lstm:predict", b'{"inputs": '),
    ("lstm:predict", b"\xff"),
    ("no:run", b"[]"),
  ):
    assert requests.post(f"{address}/{path}", data=body, timeout=60).status_code >= 400
  with socket.create_connection(("localhost", running.rest_port), timeout=20) as speaker:
    speaker.sendall(b"\x16\x03\x01 GET\r\n\r\n")  # TLS, or nothing at all
    assert speaker.recv(1000)
  assert not caplog.records and not "".join(capfd.readouterr())


@pytest.fixture
def hurried(running):
  """An HTTP server that waits a fifth of a second for a request, and for two clients at once."""
  made = http_server.HttpServer(running.servables, "localhost", 0, patience=0.2, connections=2)
  thread = threading.Thread(target=made.serve_forever, daemon=True)
  thread.start()
  yield made
  made.finish()
  thread.join()


def connection(made):
  return socket.create_connection(("localhost", made.server_port), timeout=20)


def test_clients_that_take_too_long_are_let_go(hurried):
  head = b"POST /v1/models/lstm:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n"
  for sent in (b"", b"GET /v1/models", head, head + b"half of it"):
    with connection(hurried) as slow:
      slow.sendall(sent)
      received = b""
      while part := slow.recv(1000):
        received += part
      assert b"408" in received if sent.startswith(head) else received == b""
  url = f"http://localhost:{hurried.server_port}/v1/models/lstm"
  assert requests.get(url, timeout=60).ok


def test_more_clients_than_there_is_room_for_are_told(hurried):
  hurried.patience = 60.0
  url = f"http://localhost:{hurried.server_port}/v1/models/lstm"
  with connection(hurried), connection(hurried):
    wait_until(lambda: len(hurried._open) == 2)
    assert requests.get(url, timeout=60).status_code == 503
  wait_until(lambda: not hurried._open)
  assert requests.get(url, timeout=60).ok


def test_an_answer_under_way_is_finished_and_a_connection_that_waits_is_not_waited_for(
  running, monkeypatch
):
  made = http_server.HttpServer(running.servables, "localhost", 0)
  serving = threading.Thread(target=made.serve_forever)
  serving.start()
  begun, go_on = threading.Event(), threading.Event()
  answer = http_server.rest.answer

  def slowly(*asked):
    begun.set()
    assert go_on.wait(60)
    return answer(*asked)

  monkeypatch.setattr(http_server.rest, "answer", slowly)
  with connection(made):  # says nothing
    asking = http.client.HTTPConnection("localhost", made.server_port, timeout=60)
    asking.request("GET", "/v1/models/lstm")
    assert begun.wait(60)
    stopping = threading.Thread(target=made.finish)
    stopping.start()
    time.sleep(0.1)
    go_on.set()
    response = asking.getresponse()
    assert response.status == 200 and json.loads(response.read())["model_version_status"]
    stopping.join(20)
    assert not stopping.is_alive()
  serving.join()


def test_a_server_listens_on_ipv6(running):
  if not socket.has_ipv6:
    pytest.skip("no IPv6 here")
  try:
    made = server.Server({}, "::1", 0, 0).start()
  except server.AddressError as error:
    pytest.skip(str(error))
  assert (
    requests.get(f"http://[::1]:{made.rest_port}/v1/models/none", timeout=60).status_code == 404
  )
  with pytest.raises(transport.NotFound):
    client.connect(f"grpc://[::1]:{made.grpc_port}", "none").status()
  made.stop()


def loaded(models):
  return {n: version.error for n, version in models._versions["lstm"].items()}


def test_a_version_that_was_half_copied_is_tried_again(exported, tmp_path):
  source, folder = exported["lstm"][1], tmp_path / "lstm"
  shutil.copytree(source, folder / "1")
  weights = folder / "1" / "variables" / "variables.data-00000-of-00001"
  whole = weights.read_bytes()
  weights.write_bytes(whole[:100])
  models = servables.Servables(repository.one_model("lstm", folder))
  assert "is damaged" in loaded(models)[1]
  failed = models._versions["lstm"][1]
  models.refresh()
  assert models._versions["lstm"][1] is failed  # nothing has changed
  weights.write_bytes(whole)
  models.refresh()
  assert loaded(models) == {1: ""}
  served = models._versions["lstm"][1]
  models.refresh()
  assert models._versions["lstm"][1] is served


def test_folders_that_are_no_versions_are_passed_over(exported, tmp_path):
  folder = tmp_path / "lstm"
  shutil.copytree(exported["lstm"][1], folder / "1")
  for name in ("\u00b2", "\u0663", "99999999999999999999", "-1", "1.5", "2.tmp"):
    (folder / name).mkdir()
  models = servables.Servables(repository.one_model("lstm", folder))
  assert loaded(models) == {1: ""}


def test_a_label_is_not_moved_to_a_version_that_is_not_loaded(exported, tmp_path):
  folder = tmp_path / "lstm"
  for number in ("1", "2"):
    shutil.copytree(exported["lstm"][1], folder / number)

  def config(label, *versions):
    known = repository.one_model("lstm", folder)
    known["lstm"].version_labels["stable"] = label
    known["lstm"].model_version_policy.specific.versions.extend(versions)
    return known

  models = servables.Servables(config(1, 1))
  with pytest.raises(ValueError, match="'stable' of 'lstm' was moved to version 2, which is not l"):
    models.refresh(config(2, 1, 2))
  assert loaded(models) == {1: ""}  # the whole configuration is refused
  models.refresh(config(1, 1, 2))
  models.refresh(config(2, 1, 2))
  asked = model_pb2.ModelSpec(name="lstm", version_label="stable")
  assert models.find(asked).number == 2


def test_polling_goes_on_whatever_is_wrong(exported, tmp_path, caplog):
  failures = iter([RuntimeError("a"), KeyError("b"), MemoryError()])
  looks = []

  def reread():
    looks.append(1)
    failure = next(failures, None)
    if failure:
      raise failure
    return {}

  made = server.Server({}, "localhost", 0, 0, poll_seconds=0.01, reread=reread).start()
  wait_until(lambda: len(looks) > 4)
  made.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
  """A certificate of localhost, signed by itself, and its key."""
  folder = tmp_path_factory.mktemp("certificate")
  if not shutil.which("openssl"):
    pytest.skip("no openssl here")
  files = [str(folder / name) for name in ("key.pem", "certificate.pem")]
  subprocess.run(
    f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
    f"-addext subjectAltName=DNS:localhost -keyout {files[0]} -out {files[1]}".split(),
    check=True,
    capture_output=True,
  )
  return files


def test_a_client_speaks_tls_and_sends_metadata(running, certificate):
  key, public = certificate
  seen = []

  class Noting(grpc.ServerInterceptor):
    """Notes the metadata of calls."""

    def intercept_service(self, continuation, details):
      seen.append(dict(details.invocation_metadata))
      return continuation(details)

  secret, shown = (pathlib.Path(file).read_bytes() for file in (key, public))
  made = grpc.server(server.futures.ThreadPoolExecutor(2), interceptors=[Noting()])
  server.model_service_pb2_grpc.add_ModelServiceServicer_to_server(
    server._Models(running.servables), made
  )
  credentials = grpc.ssl_server_credentials([(secret, shown)], shown, require_client_auth=True)
  port = made.add_secure_port("localhost:0", credentials)
  made.start()
  token = (("Authorization", "Bearer 7"),)
  known = transport.Security(public, public, key, token)
  asked = client.connect(f"grpcs://localhost:{port}", "lstm", security=known)
  assert [state.version for state in asked.status()] == [1]
  assert seen[-1]["authorization"] == "Bearer 7"
  few = client.Settings(timeout=5, attempts=1)
  for stranger in (transport.Security(), transport.Security(public)):
    with pytest.raises(transport.ServingError):
      client.connect(f"grpcs://localhost:{port}", "lstm", None, None, few, stranger).status()
  made.stop(None)


@pytest.mark.parametrize(
  "address, security, said",
  [
    ("grpc://localhost:1", transport.Security(ca=__file__), "has no TLS, and certificates are"),
    ("https://localhost:1", transport.Security(key=__file__), "go together; give both"),
    ("grpcs://localhost:1", transport.Security(ca="nowhere.pem"), "ca=nowhere.pem is no file"),
  ],
)
def test_certificates_that_make_no_sense_are_refused(address, security, said):
  with pytest.raises(ValueError, match=said):
    client.connect(address, "lstm", security=security)
