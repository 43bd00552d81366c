"""python -m launch.benchmark."""

import subprocess

import pytest

from launch import processes
from tests import tiny


@pytest.mark.slow
def test_replicas_are_timed_by_whole_iterations():
  """In a process of its own, as devices cannot change once TensorFlow has computed."""
  more = ("--distribute=mirrored", "--replicas=2", "--repeats=1", "--specimens=20")
  ended = subprocess.run(
    processes.command("benchmark", *tiny.flags(), *more),
    env=processes.environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert ended.returncode == 0, ended.stderr
  assert "iterations per second" in ended.stdout and "retraces                0" in ended.stdout
  assert "share of an iteration   not measured with replicas" in ended.stdout
