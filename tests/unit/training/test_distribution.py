"""Replicas learn what one device learns from the whole batch."""

import json
import os
import subprocess
import sys

import pytest

from adaptive_stem_tf import config, replicas
from adaptive_stem_tf.training import distribution
from tests import tiny

FULL = {
  "prioritised": True,
  "priority_alpha": 0.7,
  "target_actor": True,
  "target_generator": True,
  "generator_alrc": True,
  "alrc_deviations": 1.2,
  "clip": "running_norm",
  "clip_threshold": 0.5,
  "optimiser": "rmsprop",
  "capacity": 6,
  "noise_decay": True,
  "adding_decay": 1 / 12,
  "iterations": 12,
  "batch_norm_batches": 2,
}


def compare(*cases):
  """Returns what `tests.replicated` finds of (kind, changes) pairs, each with its values."""
  arguments = [text for kind, changes in cases for text in (kind, json.dumps(changes))]
  finished = subprocess.run(
    [sys.executable, "-m", "tests.replicated", *arguments],
    capture_output=True,
    text=True,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
  )
  assert not finished.returncode, finished.stderr[-2000:]
  return [json.loads(line) for line in finished.stdout.splitlines()]


# The mean of log weights means nothing, so this bias has no gradient: Adam moves it by rounding.
_MEANINGLESS = "actor/change/b"


def check(found, least, most=1e-3):
  """Asserts that variables moved, by what they should, in all copies, and that none is lost."""
  assert len(found["differences"]) >= least
  far = {
    name: value
    for name, value in found["differences"].items()
    if value > most and _MEANINGLESS not in name
  }
  assert not far
  assert not found["apart"]
  assert not found["lost"]
  assert not found["resumed"]


def test_two_replicas_learn_what_one_device_learns():
  (found,) = compare(("scanner", {**tiny.SMALLER, **FULL}))
  check(found, 40)


@pytest.mark.slow
def test_two_replicas_learn_from_streamed_specimens_what_one_device_learns_in_memory():
  (found,) = compare(("streamed", {**tiny.SMALLER, **FULL}))
  check(found, 40)


@pytest.mark.slow
def test_replicas_of_every_learner():
  cases = {
    "plain": ("scanner", {}),
    "no replay": ("scanner", {"capacity": 0}),
    "drawn": ("scanner", {"path": "random_walk"}),
    "fields": ("fields", {"replayed": 4, "noisy_share": 1.0}),
    "correction": ("correction", {}),
  }
  for found in compare(*cases.values()):
    check(found, 10, most=1e-2)


def test_without_replicas_nothing_is_shared():
  assert replicas.count() == 1
  assert replicas.share_of(5) == 5
  assert replicas.everywhere(compare) is compare


def test_more_replicas_than_gpus_are_refused(monkeypatch):
  monkeypatch.setattr(
    "tensorflow.config.list_physical_devices", lambda kind=None: ["one"] * (kind == "GPU")
  )
  settings = config.RunSettings(distribute="mirrored", replicas=2, threads=tiny.THREADS)
  with pytest.raises(ValueError, match="replicas=2: there are 1 GPUs"):
    distribution.set_up_tensorflow(settings)
