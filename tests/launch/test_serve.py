"""python -m launch.export --labels, launch.serve and launch.query on a run of two iterations."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import requests
import tensorflow as tf

from adaptive_stem_tf.serving import extra, monitoring, repository
from tests import tiny
from tests.launch import commands
from tests.unit.serving.conftest import free_port, wait_until

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, images_file):
  """A model repository with version 1 of `tiny`, stable; the run, and what the export printed."""
  folder = tmp_path_factory.mktemp("repository")
  tf.config.run_functions_eagerly(True)
  ended = commands.train(folder / "run", images_file, iterations=2)
  tf.config.run_functions_eagerly(False)
  assert ended.code == 0, ended.err
  ended = commands.launch(
    "export", f"--workdir={folder / 'run'}", f"--output={folder / 'tiny' / '1'}", "--labels=stable"
  )
  assert ended.code == 0, ended.err
  return folder, ended.out


@pytest.fixture(scope="module")
def serving(exported):
  """Flags for a client of `launch.serve`, run as a user does; it must end well."""
  folder, _ = exported
  ports = free_port(), free_port()
  log = open(folder / "log", "w+")  # noqa: SIM115 - for as long as the server runs
  process = subprocess.Popen(
    [
      sys.executable,
      "-m",
      "launch.serve",
      f"--repository={folder}",
      f"--port={ports[0]}",
      f"--rest_api_port={ports[1]}",
      "--threads=1",
      "--monitoring_config_file=savedmodels/monitoring.config",
      "--file_system_poll_wait_seconds=0.1",
    ],
    cwd=ROOT,
    stdout=log,
    stderr=subprocess.STDOUT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
  )
  wait_until(lambda: "Serving" in (folder / "log").read_text() or process.poll() is not None, 120)
  yield {
    "grpc": f"--server=grpc://localhost:{ports[0]}",
    "http": f"--server=http://localhost:{ports[1]}",
  }
  process.send_signal(signal.SIGTERM)
  code = process.wait(60)
  log.close()
  said = (folder / "log").read_text()
  assert code == 0 and "tiny version 1: available" in said and said.endswith("Stopped.\n"), said


def test_labels_are_written_and_moved(exported, tmp_path):
  folder, out = exported
  assert "stable of tiny is version 1 now" in out
  (tmp_path / "tiny").symlink_to(folder / "tiny")
  ended = commands.launch("export", f"--output={tmp_path / 'tiny' / '1'}", "--labels=canary,stable")
  assert ended.code == 0 and "canary and stable of tiny is version 1 now" in ended.out, ended.err
  known = repository.models(repository.read(tmp_path / "models.config"))["tiny"]
  assert dict(known.version_labels) == {"stable": 1, "canary": 1}


@pytest.mark.parametrize(
  "flags, said",
  [
    (("--output=m/1",), "give --workdir to export a run, or --labels"),
    (("--output=m/1", "--labels=stable"), "holds no SavedModel to label"),
    (("--output=m/1", "--labels=beta", "--workdir=nowhere"), "labels=beta is unknown"),
    (("--output=m/new", "--workdir=nowhere"), "does not end in a version"),
  ],
)
def test_exports_that_make_no_sense_are_refused_at_once(flags, said):
  ended = commands.launch("export", *flags)
  assert ended.code == 1 and said in ended.err


def test_without_the_serving_api_a_model_is_exported_without_warm_up(
  exported, tmp_path, monkeypatch
):
  monkeypatch.setattr(extra, "has_serving_api", lambda: False)
  ended = commands.launch(
    "export", f"--workdir={exported[0] / 'run'}", f"--output={tmp_path / 'tiny' / '1'}"
  )
  assert ended.code == 0 and "no warm-up requests" in ended.out, ended.err
  assert not (tmp_path / "tiny" / "1" / extra.FOLDER / extra.WARM_UP).exists()
  refused = commands.launch("export", f"--output={tmp_path / 'tiny' / '1'}", "--labels=stable")
  assert refused.code == 1 and "labels need tensorflow-serving-api" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_file_is_scanned_over_the_network(serving, protocol, images_file, tmp_path):
  ask = lambda *more: commands.launch("query", serving[protocol], "--model=tiny", *more)
  said = ask("--status")
  assert said.code == 0 and "tiny version 1: AVAILABLE" in said.out, said.err
  results = {}
  for how in ("steps", "scan"):
    ended = ask(
      f"--images={images_file}",
      f"--output_dir={tmp_path / how}",
      "--count=3",
      "--batch=2",
      f"--how={how}",
      "--label=stable",
    )
    assert ended.code == 0 and "3 scans of intensities scaled" in ended.out, ended.err
    results[how] = np.load(tmp_path / how / "completion.npy")
    assert {path.name for path in (tmp_path / how).iterdir()} == {
      "path.npy",
      "partial_scan.npy",
      "completion.npy",
      "examples.png",
    }
  assert results["steps"].shape == (3, tiny.SIZE, tiny.SIZE, 1)
  np.testing.assert_allclose(results["steps"], results["scan"], atol=1e-4)
  ended = ask("--status", "--version=7")
  assert ended.code == 1 and "no version 7" in ended.err
  url = f"{serving['http'].removeprefix('--server=')}{monitoring.PATH}"
  assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"}' in (
    requests.get(url, timeout=60).text
  )


def test_queries_that_make_no_sense_are_refused():
  ended = commands.launch("query", "--model=tiny")
  assert ended.code == 1 and "give --images and --output_dir, or --status" in ended.err
  ended = commands.launch(
    "query",
    "--model=tiny",
    "--status",
    f"--server=grpc://localhost:{free_port()}",
    "--attempts=1",
    "--timeout=2",
  )
  assert ended.code == 1 and "is unavailable" in ended.err


@pytest.mark.parametrize(
  "flags, said",
  [
    ((), "give either --model_name and --model_base_path, or --repository"),
    (("--model_name=a", "--model_base_path=nowhere"), "is no folder"),
    (("--repository=nowhere",), "models.config"),
    (("--repository=savedmodels", "--monitoring_config_file=nowhere"), "nowhere: "),
    (
      ("--repository=savedmodels", "--monitoring_config_file=savedmodels/models.config"),
      "is no configuration of monitoring",
    ),
  ],
)
def test_servers_of_nothing_are_refused(flags, said):
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    ended = commands.launch(
      "serve", "--port=0", "--rest_api_port=0", f"--threads={tiny.THREADS}", *flags
    )
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  assert ended.code == 1 and said in ended.err


@pytest.mark.parametrize("name", ["serve", "query", "benchmark_serving"])
def test_without_the_extra_servers_and_clients_say_what_to_install(monkeypatch, name):
  monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
  ended = commands.launch(name, *["--model=none"] * (name == "query"))
  assert ended.code == 1 and "pip install tensorflow-serving-api grpcio requests" in ended.err


def test_metrics_without_prometheus_client_say_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "prometheus_client", None)
  test_servers_of_nothing_are_refused(
    ("--repository=savedmodels", "--monitoring_config_file=savedmodels/monitoring.config"),
    "pip install prometheus_client (extra `serving`)",
  )
