"""Runs a launcher as `python -m` does, in this process: importing TensorFlow again takes
seconds.
"""

import contextlib
import io
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from absl import app, flags

from adaptive_stem_tf.training import metrics_writer
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]


class Ended(NamedTuple):
  """How a command ended and what it printed."""

  code: int
  out: str
  err: str


def launch(name: str, *arguments: object) -> Ended:
  """Runs `python -m launch.NAME ARGUMENTS`; flags that it defines are forgotten afterwards."""
  app.define_help_flags()  # once in a process
  before, argv, out, err = set(flags.FLAGS), sys.argv, io.StringIO(), io.StringIO()
  defaults = {flag: flags.FLAGS[flag].default for flag in before}
  sys.argv = [f"{name}.py", *map(str, arguments)]
  try:
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = _exit_code(
        lambda: runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True), err
      )
  finally:
    sys.argv = argv
    for flag in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, flag)
    for flag, default in defaults.items():
      flags.FLAGS[flag].value, flags.FLAGS[flag].present = default, 0
  return Ended(code, out.getvalue(), err.getvalue())


def _exit_code(function, err) -> int:
  """Returns the exit code of a process that runs `function`, which says its last words on
  stderr.
  """
  try:
    function()
  except SystemExit as ended:
    if isinstance(ended.code, str):
      err.write(ended.code)
      return 1
    return ended.code or 0
  return 0


# Runs a launcher eagerly: a tiny step takes less time than tracing it.
_EAGERLY = """import runpy, tensorflow as tf
tf.config.run_functions_eagerly(True)
runpy.run_module("launch.{}", run_name="__main__", alter_sys=True)"""

_PATIENCE = 600  # s, for busy machines


def kill_9(name: str, arguments: list[str], metrics: pathlib.Path, rows: int, eager=True) -> None:
  """Runs `python -m launch.NAME ARGUMENTS` in another process, and kills it after some rows.

  Args:
    name: of the command.
    arguments: its flags.
    metrics: the metrics.csv that it writes.
    rows: how many it has at least when the process is killed.
    eager: whether the process runs functions eagerly.
  """
  way = ["-c", _EAGERLY.format(name)] if eager else ["-m", f"launch.{name}"]
  child = subprocess.Popen(
    [sys.executable, *way, *arguments],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  with child:
    try:
      deadline = time.monotonic() + _PATIENCE
      while not metrics.exists() or metrics.read_text().count("\n") <= rows:
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline, f"{metrics} has no {rows} rows after {_PATIENCE} s"
        time.sleep(0.01)
    finally:
      child.kill()


@contextlib.contextmanager
def terminated(iteration: int):
  """Terminates trainings of this process (SIGTERM) once they have logged an iteration."""
  write = metrics_writer.MetricsWriter.write

  def written(self, number, values):
    write(self, number, values)
    if number == iteration:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(metrics_writer.MetricsWriter, "write", written)
    yield


def train(workdir, images, *more: object, **changes) -> Ended:
  """Trains the tiny experiment on a file of images."""
  return launch(
    "train",
    *tiny.flags(**changes),
    f"--workdir={workdir}",
    f"--images={images}",
    "--log_every=1",
    "--checkpoint_every=2",
    "--picture_every=0",
    *more,
  )
