"""Ways of a client to a server of TensorFlow Serving's API: gRPC or HTTP.

Every failure is a ServingError with the server's own message.
"""

import copy
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import grpc
import numpy as np
import requests
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from adaptive_stem_tf.serving import contract

_UNLIMITED = [
  ("grpc.max_receive_message_length", -1),
  ("grpc.max_send_message_length", -1),
  ("grpc.max_reconnect_backoff_ms", 1000),
]


class ServingError(RuntimeError):
  """A request failed."""


class NotFound(ServingError):
  """The server has no such model or version."""


class BadRequest(ServingError):
  """The server refused the request."""


class Unavailable(ServingError):
  """The server cannot be reached, or is busy."""


class Timeout(ServingError):
  """The server did not answer in time."""


class Security(NamedTuple):
  """Certificates by which a client and a server identify each other, over grpcs:// and https://.

  Attributes:
    ca: PEM file of the authorities that a server's certificate has to be signed by; None for those
      of the system.
    certificate: PEM file of the client's own certificate; None for none.
    key: PEM file of its private key.
    metadata: names and values that are sent with every request, such as a token of authorisation:
      metadata of gRPC, headers of HTTP.
  """

  ca: str | None = None
  certificate: str | None = None
  key: str | None = None
  metadata: tuple[tuple[str, str], ...] = ()

  def check(self) -> None:
    """Checks that certificate and key come together, and that all files exist.

    Raises:
      ValueError: if they do not; it names them.
    """
    if bool(self.certificate) != bool(self.key):
      raise ValueError(
        f"certificate={self.certificate} and key={self.key}: a certificate and its private key go "
        "together; give both, or neither."
      )
    for name, file in (("ca", self.ca), ("certificate", self.certificate), ("key", self.key)):
      if file and not pathlib.Path(file).is_file():
        raise ValueError(f"{name}={file} is no file: give a certificate or key in PEM.")


OPEN = Security()


class Which(NamedTuple):
  """The model that requests are for."""

  name: str
  version: int | None = None
  label: str | None = None

  def __str__(self) -> str:
    if self.version is not None:
      return f"model {self.name!r} version {self.version}"
    return f"model {self.name!r}{f' label {self.label}' if self.label else ''}"


class Status(NamedTuple):
  """State of one version."""

  version: int
  state: str  # AVAILABLE, LOADING, END, ...
  error: str


class Transport(Protocol):
  """A way to a model on a server; each call takes its timeout in s."""

  def predict(
    self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
  ) -> dict[str, np.ndarray]:
    """Runs a signature."""

  def signatures(self, timeout: float) -> dict[str, contract.Signature]:
    """Returns the model's signatures by name."""

  def version(self, timeout: float) -> int:
    """Returns the version that answers."""

  def at(self, version: int) -> "Transport":
    """Returns a way to one version of the model, over the same connection."""

  def status(self, timeout: float) -> list[Status]:
    """Returns the state of the model's versions."""


class Grpc:
  """A gRPC channel.

  Args:
    target: HOST:PORT.
    which: the model.
    security: None for a channel without encryption.
    metadata: names and values that are sent with every call.
  """

  def __init__(
    self,
    target: str,
    which: Which,
    security: Security | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
  ):
    self._target, self._which = target, which
    self._metadata_sent = [(name.lower(), value) for name, value in metadata]
    channel = (
      grpc.insecure_channel(target, options=_UNLIMITED)
      if security is None
      else grpc.secure_channel(target, _credentials(security), options=_UNLIMITED)
    )
    self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    self._models = model_service_pb2_grpc.ModelServiceStub(channel)

  def predict(
    self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
  ) -> dict[str, np.ndarray]:
    """Runs a signature."""
    request = predict_pb2.PredictRequest(model_spec=self._spec(signature))
    for name, value in inputs.items():
      request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    response = self._call(self._predictions.Predict, request, timeout)
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

  def signatures(self, timeout: float) -> dict[str, contract.Signature]:
    """Returns the model's signatures by name."""
    response = self._metadata(timeout)
    described = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(described)
    return contract.of_protos(described.signature_def)

  def version(self, timeout: float) -> int:
    """Returns the version that answers."""
    return int(self._metadata(timeout).model_spec.version.value)

  def at(self, version: int) -> "Grpc":
    """Returns a way to one version of the model, over the same connection."""
    pinned = copy.copy(self)
    pinned._which = Which(self._which.name, version)
    return pinned

  def status(self, timeout: float) -> list[Status]:
    """Returns the state of the model's versions."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
    response = self._call(self._models.GetModelStatus, request, timeout)
    states = get_model_status_pb2.ModelVersionStatus.State
    return [
      Status(s.version, states.Name(s.state), s.status.error_message)
      for s in response.model_version_status
    ]

  def _metadata(self, timeout):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
      model_spec=self._spec(), metadata_field=["signature_def"]
    )
    return self._call(self._predictions.GetModelMetadata, request, timeout)

  def _spec(self, signature=""):
    name, version, label = self._which
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
      spec.version.value = version
    elif label:
      spec.version_label = label
    return spec

  def _call(self, method, request, timeout):
    try:
      return method(request, timeout=timeout, metadata=self._metadata_sent)
    except grpc.RpcError as error:
      raise self._failure(error.code(), error.details(), timeout) from None

  def _failure(self, code, details, timeout):
    where = f"grpc://{self._target}"
    if code == grpc.StatusCode.UNAVAILABLE:
      return Unavailable(f"{where} is unavailable: {details}.")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
      return Timeout(
        f"{where} did not answer in {timeout:g} s: is it overloaded? Give more time, or smaller "
        "batches."
      )
    kinds = {
      grpc.StatusCode.NOT_FOUND: NotFound,
      grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
      grpc.StatusCode.FAILED_PRECONDITION: BadRequest,
    }
    return kinds.get(code, ServingError)(f"{where}, {self._which}: {details} ({code.name})")


class Rest:
  """HTTP requests, in columns.

  Args:
    server: http://HOST:PORT.
    which: the model.
    security: certificates, and headers that are sent with every request.
  """

  def __init__(self, server: str, which: Which, security: Security = OPEN):
    self._server, self._which = server.rstrip("/"), which
    self._session = requests.Session()
    self._session.headers.update(security.metadata)
    self._session.verify = security.ca or True
    if security.certificate and security.key:
      self._session.cert = (security.certificate, security.key)
    self._known: dict[str, contract.Signature] = {}

  @property
  def _url(self) -> str:
    quote = lambda text: urllib.parse.quote(text, safe="")
    name, version, label = self._which
    chosen = (
      f"/versions/{version}" if version is not None else f"/labels/{quote(label)}" if label else ""
    )
    return f"{self._server}/v1/models/{quote(name)}{chosen}"

  def predict(
    self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
  ) -> dict[str, np.ndarray]:
    """Runs a signature."""
    if not self._known:
      self._known = self.signatures(timeout)
    columns = {name: value.tolist() for name, value in inputs.items()}
    outputs = self._call(
      "POST", f"{self._url}:predict", timeout, {"signature_name": signature, "inputs": columns}
    )["outputs"]
    known = self._known[signature].outputs
    if len(known) == 1:  # a single tensor comes without its name
      outputs = {next(iter(known)): outputs}
    return {
      name: np.array(value, known[name].dtype.as_numpy_dtype) for name, value in outputs.items()
    }

  def signatures(self, timeout: float) -> dict[str, contract.Signature]:
    """Returns the model's signatures by name."""
    described = self._metadata(timeout)["metadata"]["signature_def"]["signature_def"]
    return contract.of_protos(
      {
        name: json_format.ParseDict(
          proto, meta_graph_pb2.SignatureDef(), ignore_unknown_fields=True
        )
        for name, proto in described.items()
      }
    )

  def version(self, timeout: float) -> int:
    """Returns the version that answers."""
    return int(self._metadata(timeout)["model_spec"]["version"])

  def at(self, version: int) -> "Rest":
    """Returns a way to one version of the model, over the same connection."""
    pinned = copy.copy(self)
    pinned._which, pinned._known = Which(self._which.name, version), {}
    return pinned

  def status(self, timeout: float) -> list[Status]:
    """Returns the state of the model's versions."""
    states = self._call("GET", self._url, timeout)["model_version_status"]
    return [
      Status(int(s["version"]), s["state"], s["status"].get("error_message", "")) for s in states
    ]

  def _metadata(self, timeout):
    return self._call("GET", f"{self._url}/metadata", timeout)

  def _call(self, method, url, timeout, body=None) -> Any:
    try:
      response = self._session.request(method, url, json=body, timeout=timeout)
      answer = response.json()
    except requests.Timeout:
      raise Timeout(
        f"{self._server} did not answer in {timeout:g} s: is it overloaded? Give more time, or "
        "smaller batches."
      ) from None
    except requests.ConnectionError as error:
      raise Unavailable(f"{self._server} is unavailable: {error}.") from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
      raise Unavailable(f"{self._server} broke off its answer.") from None
    except ValueError:
      raise ServingError(
        f"{url} did not answer in JSON (HTTP {response.status_code}): is it a model server?"
      ) from None
    if response.ok:
      return answer
    message = answer.get("error", answer) if isinstance(answer, dict) else answer
    if response.status_code == 503:
      raise Unavailable(f"{self._server} is unavailable: {message}.")
    kinds = {400: BadRequest, 404: NotFound, 504: Timeout}
    raise kinds.get(response.status_code, ServingError)(
      f"{self._server}, {self._which}: {message} (HTTP {response.status_code})"
    )


def _credentials(security):
  read = lambda file: pathlib.Path(file).read_bytes() if file else None
  return grpc.ssl_channel_credentials(
    read(security.ca), read(security.key), read(security.certificate)
  )
