"""A small server of TensorFlow Serving's API, over gRPC and HTTP.

It is for tests and for machines without tensorflow_model_server, which a facility should run
instead: that one is faster. This one offers Predict and GetModelMetadata of PredictionService,
GetModelStatus of ModelService, and their HTTP forms; and metrics for Prometheus.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from adaptive_stem_tf.serving import http_server, monitoring, request_tensors, rest
from adaptive_stem_tf.serving import servables as servables_lib

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_SIGNATURES = "signature_def"
_WORKERS = 8
_BATCHED_WORKERS = 64  # requests that are computed together wait in a thread each
_MOST_CALLS = 128  # at once, including those that wait; others get RESOURCE_EXHAUSTED
_GRACE = 30.0  # s, for requests that are being answered when the server is stopped


class AddressError(ValueError):
  """The server cannot listen there."""


def spec(name: str) -> model_pb2.ModelSpec:
  """Returns the specification of a model, any version."""
  return model_pb2.ModelSpec(name=name)


class Server:
  """Serves models until it is stopped.

  Args:
    models: configuration of each model by name, as from `repository`.
    address: to listen on.
    grpc_port: for gRPC; 0 for any free one, which the attribute `grpc_port` then gives.
    rest_port: for HTTP, likewise with `rest_port`.
    poll_seconds: time between two looks for new versions in the folders.
    reread: returns the configuration anew at each look; None keeps it.
    limits: of requests.
    batched: most examples of several requests that are computed together; 0 computes each request
      by itself.

  Raises:
    AddressError: if a port is not available.
  """

  def __init__(
    self,
    models: Mapping[str, Any],
    address: str = "localhost",
    grpc_port: int = 8500,
    rest_port: int = 8501,
    poll_seconds: float = 1.0,
    reread: Callable[[], Mapping[str, Any]] | None = None,
    limits: request_tensors.Limits = request_tensors.DEFAULT_LIMITS,
    batched: int = 0,
  ):
    self.servables = servables_lib.Servables(models, limits, batched)
    self._reread, self._poll_seconds, self._stopping = reread, poll_seconds, threading.Event()
    self._failure = ""  # of the last look at the folders
    self._grpc = grpc.server(
      futures.ThreadPoolExecutor(_BATCHED_WORKERS if batched else _WORKERS),
      options=[
        ("grpc.max_receive_message_length", limits.max_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
      ],
      maximum_concurrent_rpcs=_MOST_CALLS,
    )
    self._predictions = _Predictions(self.servables)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
      self._predictions, self._grpc
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self.servables), self._grpc)
    try:
      host = f"[{address}]" if ":" in address else address  # IPv6
      self.grpc_port = self._grpc.add_insecure_port(f"{host}:{grpc_port}")
      self._rest = http_server.HttpServer(self.servables, address, rest_port)
    except (OSError, RuntimeError) as error:
      raise AddressError(
        f"ports {grpc_port} (gRPC) and {rest_port} (HTTP) of {address} cannot be had: {error}. "
        "Choose others, or stop what listens there."
      ) from None
    self.rest_port = self._rest.server_address[1]
    self._threads = [
      threading.Thread(target=target, daemon=True)
      for target in (self._rest.serve_forever, self._poll)
    ]

  def monitor(self, path: str | None) -> "Server":
    """Counts requests, and serves metrics at a path of HTTP; call this before `start`.

    Args:
      path: None for no metrics.

    Raises:
      ModuleNotFoundError: if prometheus_client is not installed.
    """
    if path:
      self._predictions.metrics = self._rest.metrics = monitoring.Metrics(self.servables, path)
    return self

  def start(self) -> "Server":
    """Begins to answer."""
    self._grpc.start()
    for thread in self._threads:
      thread.start()
    return self

  def stop(self) -> None:
    """Ends, after the requests that are being answered."""
    self._stopping.set()
    stopped = self._grpc.stop(grace=_GRACE)
    self._rest.finish()
    stopped.wait()
    for thread in self._threads:
      thread.join()

  def _poll(self):
    while not self._stopping.wait(self._poll_seconds):
      failure = ""
      try:
        self.servables.refresh(self._reread and self._reread())
      except Exception as error:  # nothing that is wrong with a file may end this thread
        failure = f"{type(error).__name__}: {error}"
      if failure and failure != self._failure:
        logging.error("What was served before is served on: %s", failure)
      self._failure = failure


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
  """PredictionService; Classify, Regress and MultiInference say what they are for."""

  def __init__(self, servables: servables_lib.Servables):
    self._servables = servables
    self.metrics: monitoring.Metrics | None = None

  def Predict(self, request, context):  # noqa: N802 - the protocol's name
    """Answers with the outputs of a signature."""
    ask = lambda: self._predict(request)
    return self._recorded(context, "Predict", request.model_spec, ask)

  def GetModelMetadata(self, request, context):  # noqa: N802
    """Answers with the signatures of a version."""
    return _answered(context, lambda: self._metadata(request))

  def Classify(self, request, context):  # noqa: N802
    """Refuses the request: the models that are served are for Predict."""
    ask = lambda: self._no_examples(request.model_spec, "classify")
    return self._recorded(context, "Classify", request.model_spec, ask)

  def Regress(self, request, context):  # noqa: N802
    """Refuses the request: the models that are served are for Predict."""
    ask = lambda: self._no_examples(request.model_spec, "regress")
    return self._recorded(context, "Regress", request.model_spec, ask)

  def MultiInference(self, request, context):  # noqa: N802
    """Refuses the request: the models that are served are for Predict."""
    tasks = request.tasks
    spec = tasks[0].model_spec if tasks else model_pb2.ModelSpec()
    ask = lambda: self._no_examples(spec, "multi-inference")
    return self._recorded(context, "MultiInference", spec, ask)

  def _recorded(self, context, api, spec, function):
    """Answers a call, and records how that went and how long it took."""
    began = time.monotonic()

    def record(code):
      if self.metrics:
        self.metrics.record(spec.name, api, "GRPC", code.name, time.monotonic() - began)

    return _answered(context, function, record)

  def _no_examples(self, spec, method):
    self._servables.find(spec)
    raise request_tensors.no_examples(method)

  def _predict(self, request):
    version = self._servables.find(request.model_spec)
    signature = request.model_spec.signature_name or servables_lib.DEFAULT_SIGNATURE
    names = list(request.output_filter)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
      raise request_tensors.invalid(
        f"output_filter names {', '.join(twice)} twice: name each once."
      )
    tensors = request_tensors.arrays_of(request.inputs, self._servables.limits)
    outputs = version.predict(signature, tensors)
    names = names or list(outputs)
    unknown = sorted(set(names) - set(outputs))
    if unknown:
      raise tf.errors.InvalidArgumentError(
        None,
        None,
        f"output_filter names {', '.join(unknown)}: {signature} gives "
        f"{', '.join(sorted(outputs))}.",
      )
    response = predict_pb2.PredictResponse()
    _fill(response.model_spec, request.model_spec.name, version.number, signature)
    for name in names:
      response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
    return response

  def _metadata(self, request):
    version = self._servables.find(request.model_spec)
    if list(request.metadata_field) != [_SIGNATURES]:
      raise tf.errors.InvalidArgumentError(
        None,
        None,
        f"metadata_field={list(request.metadata_field)} is unknown: ask for {_SIGNATURES}.",
      )
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    _fill(response.model_spec, request.model_spec.name, version.number)
    response.metadata[_SIGNATURES].Pack(rest.signatures_of(version))
    return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
  """ModelService: GetModelStatus; the configuration is reloaded from its file only."""

  def __init__(self, servables: servables_lib.Servables):
    self._servables = servables

  def GetModelStatus(self, request, context):  # noqa: N802
    """Answers with the state of a model's versions."""
    return _answered(
      context,
      lambda: get_model_status_pb2.GetModelStatusResponse(
        model_version_status=self._servables.status(request.model_spec)
      ),
    )


def _answered(context, function, record=lambda code: None):
  """Returns a function's result; if the function fails, the call fails, and the server stays up."""
  try:
    answer = function()
    record(grpc.StatusCode.OK)
    return answer
  except tf.errors.OpError as error:
    code, message = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message
  except Exception as error:
    code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
  record(code)
  return context.abort(code, message)


def _fill(spec, name, number, signature=""):
  spec.name, spec.version.value, spec.signature_name = name, number, signature
