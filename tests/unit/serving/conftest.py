"""Exported models, a scanner, a model repository, and servers of it: ours, and
tensorflow_model_server where TENSORFLOW_MODEL_SERVER names one."""

import os
import pathlib
import shutil
import socket
import subprocess
import time
from typing import NamedTuple

import pytest
import requests

from adaptive_stem_tf.serving import repository, server
from adaptive_stem_tf.serving.scanner import Scanner
from tests import exports as exports_lib

BINARY = "TENSORFLOW_MODEL_SERVER"


class Served(NamedTuple):
  """A server that runs, and what it serves."""

  grpc: str  # HOST:PORT
  rest: str  # http://HOST:PORT
  folder: pathlib.Path


@pytest.fixture(scope="session")
def exported(exports):
  """Exported models by kind of controller: the model, and its folder NAME/VERSION."""
  return {kind: (exports_lib.trained(kind), exports(kind)) for kind in ("lstm", "dnc")}


@pytest.fixture(scope="session", params=["ours", "binary"])
def served(request, exported, tmp_path_factory):
  """A server of `lstm` (versions 1 `stable`, 2 `canary`) and `dnc` (the newest)."""
  if request.param == "binary" and not os.environ.get(BINARY):
    pytest.skip(f"{BINARY} names no tensorflow_model_server")
  folder = tmp_path_factory.mktemp(request.param)
  config = make_repository(folder, exported)
  if request.param == "ours":
    running = server.Server(
      repository.models(repository.read(config)), grpc_port=0, rest_port=0, poll_seconds=0.1
    ).start()
    yield Served(f"localhost:{running.grpc_port}", f"http://localhost:{running.rest_port}", folder)
    running.stop()
  else:
    yield from run_binary(config, folder)


def make_repository(folder, exported):
  """Copies exported models into a folder and writes its models.config."""
  for name, versions in (("lstm", (1, 2)), ("dnc", (1,))):
    for version in versions:
      shutil.copytree(exported[name][1], folder / name / str(version))
  config = folder / "models.config"
  repository.add_labels(config, "lstm", 1, ["stable"])
  repository.add_labels(config, "lstm", 2, ["canary"])
  repository.add_labels(config, "dnc", 1, ["stable"])
  known = repository.under(folder, repository.models(repository.read(config)))
  known["dnc"].ClearField("model_version_policy")
  known["dnc"].ClearField("version_labels")
  whole = repository.model_server_config_pb2.ModelServerConfig()
  whole.model_config_list.config.extend(known.values())
  config.write_text(repository.text_format.MessageToString(whole))
  return config


def run_binary(config, folder):
  """Runs tensorflow_model_server on free ports until the tests have ended."""
  grpc_port, rest_port = free_port(), free_port()
  process = subprocess.Popen(
    [
      os.environ[BINARY],
      f"--model_config_file={config}",
      f"--port={grpc_port}",
      f"--rest_api_port={rest_port}",
      "--allow_version_labels_for_unavailable_models=true",
      "--max_num_load_retries=0",
      "--file_system_poll_wait_seconds=1",
    ]
  )
  try:
    wait_until(lambda: answers(f"http://localhost:{rest_port}/v1/models/dnc"), 120)
    yield Served(f"localhost:{grpc_port}", f"http://localhost:{rest_port}", folder)
  finally:
    process.terminate()
    process.wait()


def answers(url):
  """Tells whether there is an answer other than an error."""
  try:
    return requests.get(url, timeout=5).ok
  except requests.ConnectionError:
    return False


def free_port():
  """Returns a port that nobody listens on."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def wait_until(condition, seconds=300):
  """Waits for a condition to become true: a busy machine is no failure."""
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.05)


@pytest.fixture(scope="session")
def adaptive(exported):
  """Returns an adaptive model and the folder of its SavedModel."""
  return exported["lstm"]


@pytest.fixture(scope="session")
def scanner(adaptive):
  """Returns a scanner of that model."""
  return Scanner(adaptive[1])
