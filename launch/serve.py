"""Serves exported models over gRPC and HTTP, with TensorFlow Serving's API.

  python -m launch.serve --model_name=small --model_base_path=savedmodels/small
  python -m launch.serve --repository=savedmodels

This small server is for tests and for machines without tensorflow_model_server. A
facility should run that instead (savedmodels/README.md has the commands): it is faster.
The second form serves the models and labels that savedmodels/models.config lists. New versions
are picked up as they appear; SIGTERM and Ctrl-C end the server after the requests that it
is answering.

With --enable_batching, requests that wait are computed together, for many clients at once
(docs/SCALE.md has what it is worth). A request that arrives when no other is being computed is
computed at once.

--monitoring_config_file=savedmodels/monitoring.config serves metrics for Prometheus on the
port of HTTP, under /monitoring/prometheus/metrics, with TensorFlow Serving's names: requests
by model and status, how long answers took, which versions are loaded (docs/DEPLOYMENT.md).
"""

from __future__ import annotations

import pathlib
import signal
import threading

from absl import flags

from adaptive_stem_tf.serving import monitoring, repository, request_tensors, server
from launch import flags as launch_flags

_NAME = flags.DEFINE_string("model_name", "", "name of a single model")
_BASE_PATH = flags.DEFINE_string(
  "model_base_path", "", "folder of its versions; the newest is served"
)
_REPOSITORY = flags.DEFINE_string(
  "repository",
  "",
  "folder of many models and of models.config, which says which "
  "versions of which are served, and their labels",
)
_ADDRESS = flags.DEFINE_string(
  "address",
  "localhost",
  "address to listen on; 0.0.0.0 for every network: there is no encryption and no password",
)
_PORT = flags.DEFINE_integer("port", 8500, "port for gRPC; 0 for any free one", lower_bound=0)
_REST_PORT = flags.DEFINE_integer(
  "rest_api_port", 8501, "port for HTTP; 0 for any free one", lower_bound=0
)
_POLL = flags.DEFINE_float(
  "file_system_poll_wait_seconds",
  1.0,
  "how often folders and models.config are looked through for changes, s",
  lower_bound=0.01,
)
_THREADS = flags.DEFINE_integer(
  "threads", 0, "threads for arithmetic; 0 takes all cores", lower_bound=0
)

_MAX_BATCH = flags.DEFINE_integer("max_batch", 1024, "most examples of a request", lower_bound=1)
_MAX_BYTES = flags.DEFINE_integer(
  "max_bytes", 1 << 26, "most bytes of a request, and of all its tensors together", lower_bound=1
)
_BATCHING = flags.DEFINE_boolean(
  "enable_batching", False, "compute the requests that wait for one signature together"
)
_MAX_BATCHED = flags.DEFINE_integer(
  "max_batched", 64, "most examples computed together, with --enable_batching", lower_bound=2
)
_MONITORING = flags.DEFINE_string(
  "monitoring_config_file",
  None,
  "file that says whether, and at which path of HTTP, metrics are served for Prometheus, as "
  "tensorflow_model_server reads it: savedmodels/monitoring.config",
)


def main() -> None:
  """Serves until told to stop."""
  launch_flags.need("tensorflow_serving")
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
  tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
  stop = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
  models, metrics = _models(), _metrics_path()
  serving = server.Server(
    models,
    _ADDRESS.value,
    _PORT.value,
    _REST_PORT.value,
    _POLL.value,
    _models,
    request_tensors.Limits(_MAX_BATCH.value, _MAX_BYTES.value),
    _MAX_BATCHED.value if _BATCHING.value else 0,
  )
  serving.monitor(metrics).start()
  try:
    for name in sorted(models):
      for state in serving.servables.status(server.spec(name)):
        print(f"{name} version {state.version}: {state.status.error_message or 'available'}")
    print(
      "Serving (for tests; tensorflow_model_server for more) on "
      f"grpc://{_ADDRESS.value}:{serving.grpc_port} and "
      f"http://{_ADDRESS.value}:{serving.rest_port}",
      flush=True,
    )
    if metrics:
      print(f"Metrics: http://{_ADDRESS.value}:{serving.rest_port}{metrics}", flush=True)
    stop.wait()
  finally:
    serving.stop()
  print("Stopped.")


def _metrics_path():
  """Returns the path at which metrics are served; None if they are not."""
  return None if _MONITORING.value is None else monitoring.read(_MONITORING.value)


def _models():
  """Returns the models to serve, as the flags and models.config name them now."""
  if bool(_REPOSITORY.value) == bool(_NAME.value and _BASE_PATH.value):
    raise ValueError("give either --model_name and --model_base_path, or --repository.")
  if _REPOSITORY.value:
    folder = pathlib.Path(_REPOSITORY.value)
    models = repository.under(folder, repository.models(repository.read(folder / "models.config")))
    if not models:
      raise ValueError(
        f"{folder}/models.config lists no model: launch.export --labels=stable adds one."
      )
    return models
  if not pathlib.Path(_BASE_PATH.value).is_dir():
    raise FileNotFoundError(
      f"model_base_path={_BASE_PATH.value} is no folder: give one that holds versions."
    )
  return repository.one_model(_NAME.value, _BASE_PATH.value)


if __name__ == "__main__":
  launch_flags.run(main)
