"""Metrics: names, labels and counts of TensorFlow Serving, read as Prometheus reads them."""

import json
import pathlib
import shutil

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from prometheus_client import parser
from tensorflow_serving.apis import (
  classification_pb2,
  model_pb2,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from adaptive_stem_tf.serving import monitoring, repository, server

ROOT = pathlib.Path(__file__).parents[3]
COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
LOADED = "adaptive_stem_model_version_loaded"
PATH = "/metrics/of/ours"


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
  """A folder with a model that doubles, versions 1 and 2, and a version 3 that is damaged."""
  base = tmp_path_factory.mktemp("monitored") / "doubling"
  module = tf.Module()
  module.double = tf.function(
    lambda x: {"doubled": 2 * x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
  )
  tf.saved_model.save(module, str(base / "1"), {"serving_default": module.double})
  shutil.copytree(base / "1", base / "2")
  (base / "3").mkdir()
  (base / "3" / "saved_model.pb").write_bytes(b"damaged")
  return base


@pytest.fixture
def running(doubling):
  """Our server of all its versions, with metrics."""
  models = repository.one_model("doubling", doubling)
  models["doubling"].model_version_policy.all.SetInParent()
  made = server.Server(models, "localhost", 0, 0, poll_seconds=60).monitor(PATH).start()
  yield made
  made.stop()


def scrape(running, path=PATH):
  """Returns every sample {(name, labels): value} of the page."""
  answer = requests.get(f"http://localhost:{running.rest_port}{path}", timeout=60)
  assert answer.status_code == 200, answer.text
  assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
  families = parser.text_string_to_metric_families(answer.text)
  return {
    (sample.name, *sorted(sample.labels.items())): sample.value
    for family in families
    for sample in family.samples
  }


def key(metric, **labels):
  return (metric, *sorted(labels.items()))


def stub(running):
  channel = grpc.insecure_channel(f"localhost:{running.grpc_port}")
  return channel, prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(name="doubling", **inputs):
  made = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name=name))
  for tensor, value in inputs.items():
    made.inputs[tensor].CopyFrom(tf.make_tensor_proto(value))
  return made


def test_requests_are_counted_and_timed_by_model_status_and_entrypoint(running):
  assert not [name for name in scrape(running) if name[0] == COUNT]  # none yet
  channel, ask = stub(running)
  with channel:
    for _ in range(2):
      ask.Predict(request(x=np.ones(2, np.float32)), timeout=60)
    refused = [
      lambda: ask.Predict(request(x=np.ones(2)), timeout=60),  # of another type
      lambda: ask.Predict(request("nobody", x=np.ones(2, np.float32)), timeout=60),
      lambda: ask.Predict(request("somebody", x=np.ones(2, np.float32)), timeout=60),
      lambda: ask.Classify(
        classification_pb2.ClassificationRequest(model_spec=model_pb2.ModelSpec(name="doubling")),
        timeout=60,
      ),
    ]
    for wrong in refused:
      with pytest.raises(grpc.RpcError):
        wrong()
  url = f"http://localhost:{running.rest_port}/v1/models/doubling"
  ask = lambda of, body: requests.post(of, data=json.dumps(body), timeout=60).status_code
  for of in (url, f"{url}/versions/1", url):
    assert ask(f"{of}:predict", {"instances": [1.0]}) == 200
  assert ask(f"{url}:predict", {"instances": "none"}) == 400
  assert ask(f"{url}/versions/9:Predict", {"instances": [1.0]}) == 404
  requests.get(url, timeout=60)  # no request for predictions

  samples = scrape(running)
  counts = {name: value for name, value in samples.items() if name[0] == COUNT}
  assert counts == {
    key(COUNT, model_name="doubling", status="OK"): 5,
    key(COUNT, model_name="doubling", status="INVALID_ARGUMENT"): 3,
    key(COUNT, model_name="doubling", status="NOT_FOUND"): 1,
    # Names that nobody serves are one: a client could fill the memory with them.
    key(COUNT, model_name=monitoring.NOT_SERVED, status="NOT_FOUND"): 2,
  }
  timed = {name: value for name, value in samples.items() if name[0] == f"{LATENCY}_count"}
  of = {"model_name": "doubling"}
  assert timed == {
    key(f"{LATENCY}_count", **of, API="Predict", entrypoint="GRPC"): 2,
    key(f"{LATENCY}_count", **of, API="predict", entrypoint="REST"): 3,
  }
  whole = key(f"{LATENCY}_sum", **of, API="predict", entrypoint="REST")
  assert 3 * 10 < samples[whole] < 3 * 60e6  # us: seconds would be less, ns more
  buckets = {
    dict(name[1:])["le"]: value
    for name, value in samples.items()
    if name[0] == f"{LATENCY}_bucket" and ("entrypoint", "REST") in name
  }
  assert len(buckets) == 34 and buckets["+Inf"] == 3 and "18.0" in buckets
  assert "708235.0" in buckets  # as TensorFlow Serving rounds it
  assert not [name for name in samples if name[0].endswith(("_total", "_created"))]


def test_versions_that_are_loaded_and_loading_are_told(running, doubling):
  samples = scrape(running)
  versions = {name: value for name, value in samples.items() if name[0] == LOADED}
  assert versions == {
    key(LOADED, model_name="doubling", version="1"): 1,
    key(LOADED, model_name="doubling", version="2"): 1,
    key(LOADED, model_name="doubling", version="3"): 0,
  }
  paths = {version: str(doubling / version) for version in "123"}
  before = {
    key(LOADS, model_path=paths["1"], status="success"): 1,
    key(LOADS, model_path=paths["2"], status="success"): 1,
    key(LOADS, model_path=paths["3"], status="fail"): 1,
  }
  loads = lambda: {name: value for name, value in scrape(running).items() if name[0] == LOADS}
  assert loads() == before
  running.servables.refresh()  # nothing is new, and what is damaged has not changed
  assert loads() == before
  (doubling / "3" / "saved_model.pb").write_bytes(b"damaged otherwise")
  running.servables.refresh()
  assert loads() == {**before, key(LOADS, model_path=paths["3"], status="fail"): 2}


def test_metrics_are_at_their_path_alone_and_nowhere_without_it(running, doubling):
  url = f"http://localhost:{running.rest_port}"
  assert scrape(running, f"{PATH}?name=everything")
  for path in (monitoring.PATH, f"{PATH}/", "/"):
    assert requests.get(f"{url}{path}", timeout=60).status_code == 404
  assert requests.post(f"{url}{PATH}", timeout=60).status_code == 404
  plain = server.Server(repository.one_model("doubling", doubling), "localhost", 0, 0)
  plain.monitor(None).start()
  try:
    url = f"http://localhost:{plain.rest_port}{PATH}"
    assert requests.get(url, timeout=60).status_code == 404
  finally:
    plain.stop()


@pytest.mark.parametrize(
  "text, path",
  [
    ('prometheus_config { enable: true path: "/here" }', "/here"),
    ("prometheus_config: {\n  enable: true # here\n}", monitoring.PATH),
    ('prometheus_config { path: "/here" }', None),
    ('prometheus_config { enable: false path: "/here" }', None),
    ("", None),
  ],
)
def test_the_configuration_is_read_as_tensorflow_serving_reads_it(tmp_path, text, path):
  (tmp_path / "monitoring.config").write_text(text)
  assert monitoring.read(tmp_path / "monitoring.config") == path


def test_the_configuration_that_comes_with_the_models_enables_metrics():
  assert monitoring.read(ROOT / "savedmodels" / "monitoring.config") == monitoring.PATH


@pytest.mark.parametrize(
  "text, said",
  [
    ("prometheus_config { enabled: true }", r"no configuration of monitoring: .*enabled.*should"),
    ('prometheus_config { enable: true path: "here" }', "path='here' must begin with /"),
    (b"\xff\xfe", "no configuration of monitoring"),
  ],
)
def test_damaged_configurations_are_told(tmp_path, text, said):
  file = tmp_path / "monitoring.config"
  file.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(monitoring.MonitoringError, match=said):
    monitoring.read(file)
