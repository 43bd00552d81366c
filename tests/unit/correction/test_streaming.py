"""Training of a correction on specimens and scans that stay in files."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, microscope_config, specimen_store
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.scan import distorted
from adaptive_stem_tf.training import run
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]
SETTINGS = config.RunSettings(
  progress=False, jit="none", checkpoint_every=1, picture_every=0, keep_checkpoints=9
)


@pytest.fixture(scope="module")
def completer(tmp_path_factory):
  """The workdir of a run whose scans are corrected; each is drawn."""
  changes = {"path": "random_walk", **tiny.SMALLER}
  return tiny.completer(tmp_path_factory.mktemp("runs") / "completer", **changes)


@pytest.fixture
def splits():
  """Splits in memory: 7 specimens are scanned, 6 rastered."""
  return tiny.splits(13)


@pytest.fixture
def streamed(tmp_path, splits):
  """The same, with those to train on in a file."""
  file = tmp_path / "specimens.npy"
  specimen_store.keep(file, [splits.train], splits.train.shape)
  return splits._replace(train=specimen_store.read(file))


def train(workdir, completer, splits):
  """Trains to the end; returns the run and all variables."""
  changes = {"lag_us": 10.0, "batch_size": 2, "iterations": 2, **tiny.CYCLE_FIELDS}
  experiment = correction_training.configure(str(completer), **changes)
  running = correction_training.start(experiment, SETTINGS, splits, workdir)
  assert run.train(running)
  return running, [variable.numpy() for variable in running.learner.variables]


def equal(ours, theirs):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(a, b)


def test_streamed_runs_are_those_in_memory_and_resumed_either_way(
  tmp_path, completer, splits, streamed
):
  _, expected = train(tmp_path / "memory", completer, splits)
  running, values = train(tmp_path / "stream", completer, streamed)
  assert running.learner.streamed is not None and not any(map(tf.is_tensor, running.learner.scans))
  equal(expected, values)
  others = {"memory": streamed, "stream": splits}
  for name, other in others.items():
    shutil.rmtree(tmp_path / name / "checkpoints" / "step_000000002")
    resumed, values = train(tmp_path / name, completer, other)
    assert resumed.started_at == 1
    equal(expected, values)
  # Pictures, between steps, are of what is in files.
  batch = running.learner.batch(tiny.draw(count=4, batch=2))
  equal(batch, resumed.learner.batch(tiny.draw(count=4, batch=2)))


def test_scans_are_the_same_however_many_are_in_memory(completer, monkeypatch):
  scanner, images = model.load(completer)[0], tiny.images(5)
  scan = lambda: correction_training.scan_crops(
    scanner, images, microscope_config.ScanSystem(lag_us=10.0), 10.0
  )
  monkeypatch.setattr(distorted, "BATCH", 2)
  whole = scan()
  monkeypatch.setattr(correction_training, "_CHUNK", 2)
  equal(whole, scan())
