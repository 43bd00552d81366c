"""Metrics of the server for Prometheus, under the names that TensorFlow Serving gives its own.

`Metrics` needs prometheus_client (extra `serving`). Times are in us, as TensorFlow Serving's.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from adaptive_stem_tf.serving import servables as servables_lib

if TYPE_CHECKING:
  from prometheus_client import metrics_core, registry

PATH = "/monitoring/prometheus/metrics"  # where nothing else is configured
# Label of all models that are not served: clients could make up any number of names.
NOT_SERVED = "(not served)"
# Those of TensorFlow Serving, to the same digits: dashboards name them.
_BOUNDS = [float(f"{10 * 1.8**power:.6g}") for power in range(33)]  # us, to some 20 minutes
_FIELD = descriptor_pb2.FieldDescriptorProto


class MonitoringError(ValueError):
  """The configuration of monitoring cannot be read."""


def read(file: str | os.PathLike) -> str | None:
  """Reads a configuration as tensorflow_model_server does.

  Args:
    file: in protobuf's text form: prometheus_config { enable: true path: "/..." }.

  Returns:
    The path of the metrics; None if they are not enabled.

  Raises:
    FileNotFoundError: if there is none.
    MonitoringError: if it is damaged, or its path is not a path.
  """
  try:
    config = text_format.Parse(pathlib.Path(file).read_text(), _message()())
  except (text_format.ParseError, UnicodeDecodeError) as error:
    raise MonitoringError(
      f"{file} is no configuration of monitoring: {error}. It should read: "
      f'prometheus_config {{ enable: true path: "{PATH}" }}'
    ) from None
  path = config.prometheus_config.path or PATH
  if not path.startswith("/"):
    raise MonitoringError(f"{file}: path={path!r} must begin with /, as {PATH} does.")
  return path if config.prometheus_config.enable else None


def _message():
  """Returns the type MonitoringConfig, which tensorflow-serving-api leaves out."""
  file = descriptor_pb2.FileDescriptorProto(
    name="monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
  )
  own = file.message_type.add(name="PrometheusConfig").field
  own.add(name="enable", number=1, type=_FIELD.TYPE_BOOL, label=_FIELD.LABEL_OPTIONAL)
  own.add(name="path", number=2, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
  file.message_type.add(name="MonitoringConfig").field.add(
    name="prometheus_config",
    number=1,
    type=_FIELD.TYPE_MESSAGE,
    type_name=".tensorflow.serving.PrometheusConfig",
    label=_FIELD.LABEL_OPTIONAL,
  )
  pool = descriptor_pool.DescriptorPool()
  pool.AddSerializedFile(file.SerializeToString())
  return message_factory.GetMessageClass(
    pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig")
  )


class Metrics:
  """Counts requests for predictions, times answers, and says which versions are loaded.

  Args:
    servables: what is served.
    path: where the metrics are.

  Raises:
    ModuleNotFoundError: without prometheus_client.
  """

  def __init__(self, servables: servables_lib.Servables, path: str = PATH):
    import prometheus_client

    self.path, self._servables = path, servables
    self._requests = prometheus_client.Counter(
      ":tensorflow:serving:request_count",
      "The number of requests.",
      ["model_name", "status"],
      registry=None,
    )
    self._latency = prometheus_client.Histogram(
      ":tensorflow:serving:request_latency",
      "Time that answers took, us; of requests that did not fail.",
      ["model_name", "API", "entrypoint"],
      buckets=_BOUNDS,
      registry=None,
    )
    self._registry = prometheus_client.CollectorRegistry()
    self._registry.register(cast("registry.Collector", self))

  def record(self, name: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
    """Records a request.

    Args:
      name: of the model.
      api: the method: `Predict` over gRPC, `predict` over HTTP, and so on.
      entrypoint: `GRPC` or `REST`.
      status: name of gRPC's code.
      seconds: time that the answer took.
    """
    known = name if self._servables.has_model(name) else NOT_SERVED
    self._requests.labels(known, status).inc()
    if status == "OK":
      self._latency.labels(known, api, entrypoint).observe(round(seconds * 1e6))

  def page(self) -> bytes:
    """Returns all metrics in Prometheus' text format 0.0.4."""
    import prometheus_client

    return prometheus_client.generate_latest(self._registry)

  def collect(self) -> Iterator[metrics_core.Metric]:
    """Yields the metrics, as prometheus_client's registry calls it."""
    from prometheus_client import metrics_core

    # The library ends the name of every counter in _total, and adds when each began: TensorFlow
    # Serving does neither.
    for family in self._requests.collect():
      counts = metrics_core.UntypedMetricFamily(
        family.name, family.documentation, labels=["model_name", "status"]
      )
      for sample in family.samples:
        if sample.name.endswith("_total"):
          counts.add_metric(list(sample.labels.values()), sample.value)
      yield counts
    for family in self._latency.collect():
      family.samples = [one for one in family.samples if not one.name.endswith("_created")]
      yield family
    yield from self._of_versions()

  def _of_versions(self):
    from prometheus_client import metrics_core

    loads = metrics_core.UntypedMetricFamily(
      ":tensorflow:cc:saved_model:load_attempt_count",
      "How often loading a version was tried.",
      labels=["model_path", "status"],
    )
    for (folder, succeeded), count in self._servables.loads():
      loads.add_metric([folder, "success" if succeeded else "fail"], count)
    yield loads
    loaded = metrics_core.GaugeMetricFamily(
      "adaptive_stem_model_version_loaded",
      "Whether a version that is to be served is loaded.",
      labels=["model_name", "version"],
    )
    for name, version in self._servables.versions():
      loaded.add_metric([name, str(version.number)], not version.error)
    yield loaded
