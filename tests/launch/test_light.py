"""What needs no TensorFlow does not import it, and what TensorFlow logs is not shown."""

import os
import pathlib
import subprocess
import sys

import pytest

from adaptive_stem_tf import installation, quiet
from launch import __main__ as dispatch

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = "tensorflow sonnet tree tensorflow_datasets matplotlib scipy tifffile ai_edge_litert"
LOGGED = [
  "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
  "I0000 00:00:1795558802.944537   21899 cudart_stub.cc:31] Could not find cuda drivers",
  "E0000 00:00:1795558874.772417   22017 cuda_platform.cc:52] failed call to cuInit",
]


def loaded(code):
  """Runs code in a process of its own; returns the heavy modules that it has loaded."""
  ask = f"print(*[name for name in {HEAVY.split()} if name in sys.modules], sep=',')"
  ended = subprocess.run(
    [sys.executable, "-c", f"import sys\n{code}\n{ask}"], cwd=ROOT, capture_output=True, text=True
  )
  assert ended.returncode == 0, ended.stderr
  return ended.stdout.splitlines()


def test_the_library_alone_is_light():
  assert loaded("import adaptive_stem_tf") == [""]


def test_the_fast_path_needs_no_tensorflow():
  pytest.importorskip("ai_edge_litert", reason="the extra `edge` is not installed")
  folder = installation.model(installation.CROPS)
  code = f"""
import numpy as np
from adaptive_stem_tf.serving import edge
model = edge.EdgeModel({str(folder)!r})
answer = model.step(np.zeros([1, model.geometry.probes], np.float32), model.start())
print(model.complete(np.zeros([1, 96, 96, 2], np.float32)).shape, answer["positions"].shape)"""
  assert loaded(code) == ["(1, 96, 96, 1) (1, 20, 2)", "ai_edge_litert"]


@pytest.mark.parametrize("name", dispatch.commands())
def test_help_needs_no_tensorflow(name):
  out = loaded(
    f"""
import runpy
sys.argv = ["{name}", "--helpshort"]
try:
  runpy.run_module("launch.{name}", run_name="__main__", alter_sys=True)
except SystemExit:
  pass"""
  )
  assert f"launch.{name}" in "".join(out) and out[-1] == ""


def test_whoever_reads_the_first_lines_only_sees_no_traceback():
  command = [sys.executable, "-m", "launch.scan", "--helpshort"]
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
  with subprocess.Popen(command, cwd=ROOT, **pipes) as running:
    running.stdout.close()  # as `head` does
    assert running.stderr.read() == b""


def test_lines_that_tensorflow_logs_are_kept_back(capfd):
  with quiet.captured():
    for line in [*LOGGED, "Illegal instruction", *LOGGED, "I am no log line"]:
      os.write(2, f"{line}\n".encode())
  assert capfd.readouterr().err == "Illegal instruction\nI am no log line\n"
  os.write(2, f"{LOGGED[1]}\n".encode())
  assert capfd.readouterr().err == f"{LOGGED[1]}\n"


def test_what_is_written_before_an_error_is_shown(capfd):
  with pytest.raises(ImportError), quiet.captured():
    print("why it failed", file=sys.stderr)
    raise ImportError
  assert "why it failed" in capfd.readouterr().err


@pytest.mark.parametrize("level", [None, "0"])
def test_whoever_sets_the_level_sees_every_line(monkeypatch, level):
  monkeypatch.setattr(sys, "meta_path", [])
  monkeypatch.delitem(sys.modules, "tensorflow")
  if level is None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
  else:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
  quiet.install()
  assert len(sys.meta_path) == (level is None)
  monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # what `install` set is forgotten afterwards


def test_without_a_folder_for_temporary_files_log_lines_are_seen(monkeypatch, capfd):
  def fail():
    raise FileNotFoundError("no usable temporary directory found")

  monkeypatch.setattr(quiet.tempfile, "TemporaryFile", fail)
  with quiet.captured():
    os.write(2, b"I0000 00:00:1 2 a.cc:3] seen\n")
  assert "seen" in capfd.readouterr().err
