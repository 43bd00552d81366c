"""Asks servers over gRPC and HTTP; what goes wrong is said in a sentence."""

import socket
import time

import numpy as np
import pytest

from adaptive_stem_tf.serving import client, transport
from adaptive_stem_tf.serving.geometry import Geometry
from tests import tiny
from tests.unit.serving.conftest import free_port

PATIENT = client.Settings(timeout=300)  # a busy machine is no failure


def address(served, kind):
  return f"grpc://{served.grpc}" if kind == "grpc" else served.rest


@pytest.fixture(params=["grpc", "http"])
def connect(request, served):
  """Connects to a model of the server over one of the protocols."""

  def connected(model="lstm", settings=PATIENT, **which):
    return client.connect(address(served, request.param), model, settings=settings, **which)

  return connected


@pytest.mark.parametrize("name", ["lstm", "dnc"])
def test_driven_scans_are_the_models_own(connect, exported, name):
  images = tiny.images(5)
  expected = exported[name][0].scan_all(images)
  asked = connect(name, PATIENT._replace(batch=2))  # three calls a step
  assert asked.geometry == Geometry(tiny.SIZE, tiny.PROBES, tiny.SEGMENTS)
  made, whole = asked.drive(images), asked.scan(images)
  for path, partial, completion in (
    made,
    (whole["path"], whole["partial_scan"], whole["completion"]),
  ):
    np.testing.assert_allclose(path, expected.positions, atol=1e-4)
    np.testing.assert_allclose(partial, expected.partial, atol=1e-6)
    np.testing.assert_allclose(completion, expected.completions, atol=1e-4)


def test_versions_are_chosen_and_their_state_told(connect):
  assert [(s.version, s.state, s.error) for s in connect(version=1).status()] == [
    (1, "AVAILABLE", "")
  ]
  # A label chooses who answers, but not whose status is told.
  assert sorted(s.version for s in connect(label="canary").status()) == [1, 2]
  assert sorted(s.version for s in connect().status()) == [1, 2]


def test_a_client_is_pinned_to_the_version_that_answers(connect):
  for which, version in (({}, 2), ({"label": "stable"}, 1), ({"version": 1}, 1)):
    pinned = connect(**which).pinned()
    assert pinned.version == version and pinned.pinned() is pinned
    assert [s.version for s in pinned.status()] == [version]
  answer = connect(label="stable").start(2)
  assert answer["model_version"].tolist() == [1, 1]
  stepped = connect().step(np.zeros([2, tiny.PROBES], np.float32), answer)
  assert stepped["model_version"].tolist() == [1, 1]  # though the newest is 2
  mixed = {**answer, "model_version": np.array([1, 2])}
  with pytest.raises(client.RequestError, match="started by versions 1, 2"):
    connect().step(np.zeros([2, tiny.PROBES], np.float32), mixed)


class Swapping:
  """A server that has a new version as soon as a scan is started; states say whose they are."""

  def __init__(self, offered, newest=None, version=None):
    self._offered, self._version = offered, version
    self.newest = [1] if newest is None else newest

  def at(self, version):
    return Swapping(self._offered, self.newest, version)

  def version(self, _):
    return self._version or self.newest[-1]

  def signatures(self, _):
    return self._offered

  def predict(self, signature, inputs, _):
    answers = self.version(0)
    batch = len(next(iter(inputs.values())))
    if signature == "start":
      self.newest.append(2)
    if signature == "step":
      assert (inputs["state_cell_0"] == answers).all()  # else it is another version's
    tensors = self._offered[signature].outputs
    made = lambda tensor: np.full([batch, *tensor.shape[1:]], answers, tensor.dtype.as_numpy_dtype)
    return {name: made(tensor) for name, tensor in tensors.items()}


def test_a_scan_is_answered_by_one_version_though_another_takes_over(connect):
  swapping = Swapping(connect().signatures())
  asked = client.Client(swapping)
  made = asked.drive(tiny.images(2))
  assert swapping.newest == [1, 2] and (made.completion == 1).all()
  assert asked.pinned().version == 2  # of scans that are started now


def test_unknown_models_versions_and_labels_are_told(connect):
  with pytest.raises(transport.NotFound, match="nobody"):
    connect("nobody").start(1)
  with pytest.raises(transport.NotFound, match="version 9"):
    connect(version=9).start(1)
  with pytest.raises(transport.BadRequest, match="beta"):
    connect(label="beta").start(1)


def test_requests_that_cannot_be_run_are_not_sent(connect):
  asked, scans = connect(), np.zeros([2, tiny.SIZE, tiny.SIZE, 2], np.float32)
  answer = asked.start(2)
  with pytest.raises(
    client.RequestError,
    match=r"partial_scan is float32 \[2, 15, 16, 2\] and complete takes float32",
  ):
    asked.complete(scans[:, 1:])
  with pytest.raises(client.RequestError, match="not finite in example 1 "):
    asked.complete(np.concatenate([scans[:1], np.full_like(scans[:1], np.nan)]))
  with pytest.raises(client.RequestError, match="is empty"):
    asked.complete(scans[:0])
  with pytest.raises(client.RequestError, match="differ in their batch"):
    asked.step(np.zeros([1, tiny.PROBES], np.float32), answer)
  with pytest.raises(client.RequestError, match="missing: state_cell_0"):
    asked.step(np.zeros([2, tiny.PROBES]), {k: v for k, v in answer.items() if k != "state_cell_0"})
  with pytest.raises(client.RequestError, match=r"state_cell_0 is float32 \[2, 9\]"):
    asked.step(
      np.zeros([2, tiny.PROBES]), {**answer, "state_cell_0": np.zeros([2, tiny.UNITS + 1])}
    )
  with pytest.raises(
    client.RequestError, match="Signature 'guess' is unknown: the model has complete"
  ):
    asked.predict("guess", image=scans)
  with pytest.raises(ValueError, match=r"the model scans \[B, 16, 16, 1\]"):
    asked.drive(np.zeros([1, 8, 8, 1], np.float32))


@pytest.mark.parametrize("server", ["localhost:8500", "ftp://localhost:8500", "grpc://", ""])
def test_malformed_addresses_are_told(server):
  with pytest.raises(ValueError, match="is malformed: give grpc://HOST:PORT or http://HOST:PORT"):
    client.connect(server, "lstm")


def test_contradictions_are_refused():
  with pytest.raises(ValueError, match="version=1 and label='stable' disagree"):
    client.connect("grpc://localhost:1", "lstm", 1, "stable")
  with pytest.raises(ValueError, match="out of range"):
    client.connect("grpc://localhost:1", "lstm", settings=client.Settings(attempts=0))


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_server_that_is_not_there_is_tried_again_and_then_told(kind):
  pauses = []
  server = f"{kind}://localhost:{free_port()}"
  reach = {
    "grpc": transport.Grpc(server.removeprefix("grpc://"), transport.Which("lstm")),
    "http": transport.Rest(server, transport.Which("lstm")),
  }[kind]
  asked = client.Client(reach, client.Settings(timeout=2, attempts=3), pauses.append)
  with pytest.raises(transport.Unavailable, match="is unavailable.*Tried 3 times"):
    asked.status()
  assert len(pauses) == 2 and 0.05 <= pauses[0] <= 0.1 <= pauses[1] <= 0.2


class Flaky:
  """A transport whose first calls fail."""

  def __init__(self, failures, error=transport.Unavailable):
    self.calls, self._failures, self._error = 0, failures, error

  def status(self, timeout):
    self.calls += 1
    if self.calls <= self._failures:
      raise self._error("busy.")
    return [transport.Status(1, "AVAILABLE", "")]


def test_only_an_unavailable_server_is_asked_again():
  pauses = []
  flaky = Flaky(2)
  assert (
    client.Client(flaky, sleep=pauses.append).status() and flaky.calls == 3 and len(pauses) == 2
  )
  for error in (transport.BadRequest, transport.NotFound, transport.Timeout):
    flaky = Flaky(1, error)
    with pytest.raises(error):
      client.Client(flaky, sleep=pauses.append).status()
    assert flaky.calls == 1
  flaky, pauses = Flaky(8), []
  assert client.Client(flaky, client.Settings(attempts=9), pauses.append).status()
  assert max(pauses) <= 5 and all(
    pause >= 0.5 * min(0.1 * 2**k, 5) for k, pause in enumerate(pauses)
  )


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_an_answer_that_does_not_come_is_told(kind):
  with socket.socket() as mute:  # accepts connections, says nothing
    mute.bind(("localhost", 0))
    mute.listen()
    server = f"{kind}://localhost:{mute.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(
      (transport.Timeout, transport.Unavailable), match="did not answer in 0.3 s|unavailable"
    ):
      client.connect(server, "lstm", settings=client.Settings(timeout=0.3, attempts=1)).status()
    assert time.monotonic() - began < 10
