"""Flags made from the configuration, and what users get wrong."""

import dataclasses
import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from adaptive_stem_tf import config
from adaptive_stem_tf.micrographs import preparation
from launch import flags as launch_flags
from tests.launch import commands

REQUIRED = "--workdir=nowhere"


def refused(*arguments, name="train"):
  """Runs a command that must fail with a sentence and no traceback; returns what it said."""
  ended = commands.launch(name, *arguments)
  assert ended.code not in (0, None), ended
  assert "Traceback" not in ended.err and "Traceback" not in ended.out
  return ended.err + ended.out


def test_helpshort_lists_every_flag():
  ended = commands.launch("train", "--helpshort")
  assert "python -m launch.train" in ended.out
  for section in (*config.SECTIONS, config.RunSettings):
    for field in dataclasses.fields(section):
      assert f"--{field.name}" in ended.out or f"--[no]{field.name}" in ended.out, field.name
  assert "--workdir" in ended.out and "--seed" in ended.out and "<lstm|gru|dnc>" in ended.out


@pytest.mark.parametrize("name, own", [("evaluate", "--output_dir"), ("export", "--output")])
def test_the_other_commands_have_help(name, own):
  out = commands.launch(name, "--helpshort").out
  assert own in out and "--workdir" in out and "--channels" not in out


@pytest.mark.parametrize(
  "arguments, words",
  [
    (["--controller=transformer"], "<lstm|gru|dnc>"),
    (["--iterations=many"], "iterations"),
    (["--no_such_flag=1"], "no_such_flag"),
    (["--batch_size=0"], "batch_size"),
    (["--discount=1.5"], "discount"),
    (["lstm"], "'lstm' is no flag"),
    (["--spacing=0"], "spacing=0.0 is out of range: it must be above 0"),
    (["--units=8", "--projection=8"], "projection=8 is not smaller than units=8"),
    (["--capacity=3"], "capacity=3 and batch_size=32 disagree"),
    (["--images=/none.npy"], "images=/none.npy is not a file"),
  ],
)
def test_wrong_flags_are_sentences(arguments, words, tmp_path):
  assert words in refused(f"--workdir={tmp_path / 'run'}", *arguments)
  assert not (tmp_path / "run").exists()


def test_the_workdir_is_required():
  assert "workdir" in refused()


def test_images_of_another_size_are_refused(tmp_path, images_file):
  said = refused(f"--workdir={tmp_path / 'run'}", f"--images={images_file}", "--threads=2")
  assert "specimens are 16 px wide and image_size=96: set --image_size=16" in said


def test_broken_images_are_refused(tmp_path):
  np.save(tmp_path / "images.npy", np.zeros([3, 8, 9]))
  said = refused(
    f"--workdir={tmp_path / 'run'}", f"--images={tmp_path / 'images.npy'}", "--threads=2"
  )
  assert "has shape [3, 8, 9, 1]: specimens are square" in said


@pytest.mark.parametrize(
  "name, arguments", [("evaluate", ["--output_dir=out"]), ("export", ["--output=out/1"])]
)
def test_a_folder_without_a_run_is_refused(tmp_path, name, arguments):
  assert "holds no run: config.json is missing" in refused(
    f"--workdir={tmp_path}", *arguments, name=name
  )


def test_data_sets_say_which_package_builds_them(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, "datasets.load", raising=False)
  monkeypatch.delattr("datasets.load", raising=False)
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  said = refused(f"--workdir={tmp_path / 'run'}", "--threads=2")
  assert "pip install tensorflow-datasets importlib_resources (extra `train`)" in said


def test_every_flag_reaches_the_configuration(monkeypatch):
  seen = {}
  monkeypatch.setattr(
    launch_flags,
    "run",
    lambda main: launch_flags.app.run(
      lambda _: seen.update(
        experiment=launch_flags.experiment(), run=launch_flags.section(config.RunSettings)
      )
    ),
  )
  given = {
    "controller": "gru",
    "discount": 0.5,
    "capacity": 64,
    "seed": 3,
    "log_every": 7,
    "jit": "all",
  }
  ended = commands.launch(
    "train", REQUIRED, "--noaugment", *(f"--{name}={value}" for name, value in given.items())
  )
  assert ended.code == 0, ended.err
  changed = config.Experiment().differences(seen["experiment"])
  assert {name: new for name, (_, new) in changed.items()} == {
    "controller": "gru",
    "discount": 0.5,
    "capacity": 64,
    "seed": 3,
    "augment": False,
  }
  assert seen["run"] == config.RunSettings(log_every=7, jit="all")


def test_errors_of_the_operating_system_name_the_file_and_say_what_to_do(monkeypatch, tmp_path):
  for number, said in ((errno.ENOSPC, "Free some space"), (errno.EROFS, "may write to")):

    def fail(*_, number=number):
      raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(preparation, "find", fail)
    words = refused("--input=a", f"--output={tmp_path / 'a.npy'}", name="prepare")
    assert f"error: some/file: {os.strerror(number)}. " in words and said in words


def test_a_full_disk_behind_the_standard_output_is_told():
  with open("/dev/full", "w") as full:
    ended = subprocess.run(
      [sys.executable, "-m", "launch.train", "--helpshort"],
      cwd=commands.ROOT,
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
    )
  assert ended.returncode == 1 and "Traceback" not in ended.stderr
  assert "error: the standard output: No space left on device. Free some space" in ended.stderr
