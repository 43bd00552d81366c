"""A wheel, installed where there is no checkout: the command, its models, nobody's names taken."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("adaptive_stem_tf", "datasets", "launch", "savedmodels")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py")
# of the environment of these tests, which others' have not
OURS = ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")
TENSORFLOW_LOGS = re.compile(r"\.cc:\d+\]|InitializeLog")

pytestmark = pytest.mark.slow
pytest.importorskip("setuptools", minversion="77", reason="pyproject.toml asks for setuptools 77")


def run(*command, cwd, **environment):
  """Runs a command outside the checkout; returns what it printed."""
  inherited = {name: value for name, value in os.environ.items() if name not in OURS}
  ended = subprocess.run(
    list(map(str, command)),
    cwd=cwd,
    env={**inherited, **environment},
    capture_output=True,
    text=True,
  )
  assert ended.returncode == 0, ended.stdout + ended.stderr
  assert not TENSORFLOW_LOGS.search(ended.stderr), ended.stderr
  return ended.stdout


def build(kind, source, target):
  """Builds a `sdist` or a `wheel` of a folder, and returns its file."""
  target.mkdir()
  call = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
  run(sys.executable, "-c", call, cwd=source)
  return next(target.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """A wheel that is built from the source distribution, as installers do."""
  folder = tmp_path_factory.mktemp("build")
  source = folder / "source"
  source.mkdir()
  for name in PARTS:
    shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
  for name in FILES:
    shutil.copy(ROOT / name, source)
  with tarfile.open(build("sdist", source, folder / "sdist")) as archive:
    archive.extractall(folder / "unpacked", filter="data")
  return build("wheel", next((folder / "unpacked").iterdir()), folder / "wheel")


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
  """The folder of an environment that holds the wheel, and what it needs from this environment."""
  folder = tmp_path_factory.mktemp("environment")
  run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
  pip = [sys.executable, "-m", "pip", f"--python={folder / 'bin' / 'python'}"]
  run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
  # A path in a .pth file adds a folder, but not the editable installations that it names.
  site = next((folder / "lib").glob("python3*")) / "site-packages"
  shared = [path for path in sys.path if path.endswith("-packages")]
  (site / "shared.pth").write_text("\n".join(shared))
  return folder


def test_the_wheel_takes_no_names_but_its_own(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
  top = {name.partition("/")[0] for name in names}
  assert sorted(name.partition("-")[0] for name in top) == ["adaptive_stem_tf"] * 2
  assert not [name for name in names if "quickstart/1" in name]


def test_the_wheel_holds_what_the_checkout_holds(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = {name for name in archive.namelist() if "dist-info" not in name}
  for part in PARTS[1:]:
    for path in (ROOT / part).rglob("*"):
      own = path.relative_to(ROOT)
      if path.is_file() and not {"__pycache__", "dummy_data", "quickstart"} & set(own.parts):
        assert f"adaptive_stem_tf/shipped/{own.as_posix()}" in names


def test_the_command_comes_from_the_wheel_and_teaches(installed, tmp_path):
  command = installed / "bin" / "adaptive-stem"
  assert str(installed) in run(command, cwd=tmp_path)
  help_ = run("sh", "-c", f"{command} scan --helpshort || true", cwd=tmp_path)
  assert "adaptive-stem scan --image=FILE" in help_ and "python -m launch" not in help_


def test_a_file_is_scanned_with_a_shipped_model(installed, tmp_path):
  rows, columns = np.mgrid[:64, :80]
  np.save(tmp_path / "image.npy", np.float32(np.sin(rows / 9) + np.cos(columns / 7)))
  out = run(
    installed / "bin" / "adaptive-stem", "scan", "--fields", "--image=image.npy",
    "--output_dir=out", "--coverage=0.05", cwd=tmp_path,
  )  # fmt: skip
  told = json.loads((tmp_path / "out" / "scan.json").read_text())
  assert told["frame_px"] == [64, 80] and told["distinct_pixels"] == 256 and "256 positions" in out
  assert pathlib.Path(told["model"]).is_relative_to(installed)
  assert told["errors"]["completion"]["ten_mse_filtered"] < 0.1
  assert np.load(tmp_path / "out" / "completion.npy").shape == (64, 80)
