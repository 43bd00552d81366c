"""python -m launch.train --distribute=multi_worker: two processes, one of which is killed."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from tests import tiny
from tests.launch import commands
from tests.launch.test_train import same_run

ITERATIONS, KILLED_AT = 6, 2


def free_ports(count):
  sockets = [socket.socket() for _ in range(count)]
  for one in sockets:
    one.bind(("127.0.0.1", 0))
  ports = [one.getsockname()[1] for one in sockets]
  for one in sockets:
    one.close()
  return ports


def start(workdir, images):
  """Starts two workers; returns their processes."""
  addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
  command = [
    *(sys.executable, "-m", "launch.train", f"--workdir={workdir}", f"--images={images}"),
    *tiny.flags(iterations=ITERATIONS),
    *("--distribute=multi_worker", "--checkpoint_every=1", "--keep_checkpoints=9"),
    *("--picture_every=0", "--log_every=1"),
  ]
  return [
    subprocess.Popen(
      command,
      cwd=commands.ROOT,
      env={
        **os.environ,
        "TF_CONFIG": json.dumps(
          {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        ),
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]


def end(processes):
  """Waits; returns exit codes and what was said last on the standard error."""
  said = [process.communicate(timeout=500)[1] for process in processes]
  return [process.returncode for process in processes], said


@pytest.mark.slow
def test_a_worker_that_is_killed_comes_back(tmp_path, images_file):
  codes, said = end(start(tmp_path / "through", images_file))
  assert codes == [0, 0], said
  processes = start(tmp_path / "killed", images_file)
  saved = tmp_path / "killed" / "checkpoints" / f"step_{KILLED_AT:09d}"
  deadline = time.monotonic() + 300
  while not saved.is_dir():
    assert time.monotonic() < deadline and processes[1].poll() is None
    time.sleep(0.02)
  processes[1].kill()
  codes, said = end(processes)
  assert codes == [1, -9]
  assert "another worker was lost at iteration" in said[0]
  codes, said = end(start(tmp_path / "killed", images_file))
  assert codes == [0, 0], said
  same_run(tmp_path / "killed", tmp_path / "through", ITERATIONS)
  assert not (tmp_path / "killed" / "worker_1" / "checkpoints").exists()


def test_without_tf_config_a_sentence_says_what_it_should_be(tmp_path, images_file, monkeypatch):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  ended = commands.train(tmp_path, images_file, "--distribute=multi_worker")
  assert ended.code == 1
  assert "needs the environment variable TF_CONFIG" in ended.err and "missing" in ended.err
