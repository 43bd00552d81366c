"""Training on specimens that stay in a file."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, specimen_store
from adaptive_stem_tf.training import run, start
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]
SETTINGS = config.RunSettings(
  progress=False, jit="none", checkpoint_every=2, picture_every=0, keep_checkpoints=9
)
# Scans of former epochs are replayed; statistics are measured of drawn specimens.
CHANGES = {**tiny.SMALLER, "capacity": 6, "batch_norm_batches": 1}


@pytest.fixture
def splits():
  """Splits in memory, of 7 specimens, which batches of 4 do not divide."""
  return tiny.splits(7)


@pytest.fixture
def streamed(tmp_path, splits):
  """The same, with those to train on in a file."""
  file = tmp_path / "specimens.npy"
  specimen_store.keep(file, [splits.train[:5], splits.train[5:]], splits.train.shape)
  return splits._replace(train=specimen_store.read(file))


def train(workdir, splits, **changes):
  """Trains to the end; returns the run and all variables."""
  running = start.scanner(tiny.experiment(**{**CHANGES, **changes}), SETTINGS, splits, workdir)
  assert run.train(running)
  return running, [variable.numpy() for variable in running.learner.variables]


def equal(ours, theirs):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  "changes", [{"prioritised": True}, pytest.param({"capacity": 0}, marks=pytest.mark.slow)]
)
def test_streamed_runs_are_those_in_memory(tmp_path, splits, streamed, changes):
  _, expected = train(tmp_path / "memory", splits, **changes)
  running, values = train(tmp_path / "stream", streamed, **changes)
  assert running.learner.streamed is not None
  equal(expected, values)
  last = tmp_path / "stream" / "checkpoints" / "step_000000006" / "state"
  shapes = tf.train.load_checkpoint(str(last)).get_variable_to_shape_map().values()
  assert [6, tiny.SIZE, tiny.SIZE, 1] not in shapes  # specimens are read again


@pytest.mark.parametrize("resumed_in", ["stream", pytest.param("memory", marks=pytest.mark.slow)])
def test_a_streamed_run_is_resumed_bit_for_bit(tmp_path, splits, streamed, resumed_in):
  _, whole = train(tmp_path / "run", streamed)
  for step in ("step_000000004", "step_000000006"):
    shutil.rmtree(tmp_path / "run" / "checkpoints" / step)
  running, resumed = train(tmp_path / "run", streamed if resumed_in == "stream" else splits)
  assert running.started_at == 2
  equal(whole, resumed)


def test_what_does_not_fit_its_file_is_refused(tmp_path):
  images = tiny.images(5)
  for chunks, said in (
    ([images], "does not fit"),
    ([images[:3]], "3 specimens came of 4"),
    ([tiny.images(4, size=8)], "does not fit"),
  ):
    with pytest.raises(ValueError, match=said):
      specimen_store.keep(tmp_path / "specimens.npy", chunks, (4, tiny.SIZE, tiny.SIZE, 1))
    assert not list(tmp_path.iterdir())
  np.savez(tmp_path / "other.npz", images)
  with pytest.raises(ValueError, match="holds no specimens"):
    specimen_store.read(tmp_path / "other.npz")
