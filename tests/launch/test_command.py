"""The command `adaptive-stem`: what it lists, runs and finds, wherever it is called."""

import pathlib
import subprocess

import pytest

from adaptive_stem_tf import __version__, command, installation
from launch import __main__ as dispatch
from launch import flags as launch_flags
from launch import processes

ROOT = pathlib.Path(__file__).parents[2]


def called(monkeypatch, capsys, *arguments):
  """Runs `adaptive-stem ARGUMENTS` in this process; returns how it ended and what it printed."""
  monkeypatch.setattr("sys.argv", ["adaptive-stem", *arguments])
  monkeypatch.setattr("sys.path", ["elsewhere"])
  try:
    command.main()
    code = 0
  except SystemExit as ended:
    code = ended.code
  return code, capsys.readouterr().out


def test_alone_it_teaches_and_lists_every_command(monkeypatch, capsys):
  code, out = called(monkeypatch, capsys)
  files = [
    path for path in (ROOT / "launch").glob("*.py") if "launch_flags.run(" in path.read_text()
  ]
  assert code == 0 and len(files) > 15
  for path in files:
    assert f"\n  {path.stem.replace('_', '-')} " in out, path.stem
  assert "\n  runner " not in out and "adaptive-stem scan --fields" in out


def test_it_says_its_version(monkeypatch, capsys):
  assert called(monkeypatch, capsys, "--version") == (0, f"{__version__}\n")


def test_an_unknown_command_is_a_sentence(monkeypatch, capsys):
  code, _ = called(monkeypatch, capsys, "train-feilds")
  assert code == (
    "error: there is no command 'train-feilds': did you mean train-fields? adaptive-stem alone "
    "lists them."
  )
  assert "did you mean" not in called(monkeypatch, capsys, "xyzzy")[0]


def test_presets_and_models_are_found_from_any_folder(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  preset = "launch/flagfiles/small.cfg"
  assert dispatch.shipped(f"--flagfile={preset}") == f"--flagfile={ROOT / preset}"
  shipped = "savedmodels/adaptive_stem/1"
  assert dispatch.shipped(f"--models={shipped},mine/1") == f"--models={ROOT / shipped},mine/1"
  for kept in ("--output=savedmodels/new/1", "--workdir=runs/x", "--fields", f"--x=my{preset}"):
    assert dispatch.shipped(kept) == kept
  (tmp_path / shipped).mkdir(parents=True)
  assert dispatch.shipped(f"--model={shipped}") == f"--model={shipped}"


def test_the_newest_version_of_a_model_is_taken(monkeypatch, tmp_path):
  assert installation.model() == ROOT / "savedmodels" / "adaptive_fields" / "1"
  monkeypatch.setattr(installation, "root", lambda: tmp_path)
  for version in ("2", "10", "9.tmp"):
    (tmp_path / "savedmodels" / installation.CROPS / version).mkdir(parents=True)
  assert installation.model(installation.CROPS).name == "10"
  with pytest.raises(FileNotFoundError, match="no model 'adaptive_fields': choose adaptive_fields"):
    installation.model()


def test_an_installation_names_commands_as_it_calls_them(monkeypatch):
  text = "python -m launch.train_fields --flagfile=launch/flagfiles/fields.cfg"
  assert launch_flags.as_called(text) == text
  monkeypatch.setattr(installation, "is_checkout", lambda: False)
  assert launch_flags.as_called(text) == text.replace(
    "python -m launch.train_fields", "adaptive-stem train-fields"
  )


def test_commands_run_in_processes_of_their_own_from_any_folder(tmp_path):
  ended = subprocess.run(
    processes.command("prepare", "--helpshort"),
    cwd=tmp_path,
    env=processes.environment(),
    capture_output=True,
    text=True,
  )
  assert "launch.prepare --input" in ended.stdout, ended.stderr
