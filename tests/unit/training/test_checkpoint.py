"""Checkpoints, each whole or absent."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.training import checkpoint


class Counter(tf.Module):
  """Something to save."""

  def __init__(self, value=0):
    super().__init__()
    self.value, self.part = tf.Variable(value), tf.Module()
    self.part.bulk = tf.Variable(tf.ones([100]))


def saved(folder, *steps, **settings):
  """Saves a counter that holds the step."""
  counter = Counter()
  checkpoints = checkpoint.Checkpoints(folder, counter, **settings)
  for step in steps:
    counter.value.assign(step)
    checkpoints.save(step)
  return checkpoints


def restored(folder):
  counter = Counter(-1)
  return checkpoint.Checkpoints(folder, counter).restore(), int(counter.value)


def data_file(folder, step):
  (path,) = (folder / f"step_{step:09d}").glob("*.data*")
  return path


def test_the_newest_is_restored(tmp_path):
  saved(tmp_path, 5, 30, 200)
  assert restored(tmp_path) == (200, 200)


def test_nothing_to_restore(tmp_path):
  assert restored(tmp_path / "none") == (None, -1)


def test_a_chosen_one_is_restored(tmp_path):
  checkpoints = saved(tmp_path, 1, 2, 3, keep=3)
  assert checkpoints.restore(2) == 2
  assert checkpoints.restore(7) is None


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept(tmp_path, keep):
  assert saved(tmp_path, 9, 10, 100, 1000, keep=keep).steps() == [9, 10, 100, 1000][-keep:]
  assert len(list(tmp_path.iterdir())) == keep


def test_a_milestone_is_kept_as_well(tmp_path):
  assert saved(tmp_path, 1, 2, 3, 4, 5, keep=2, milestone=2).steps() == [2, 4, 5]


def test_a_step_can_be_saved_again(tmp_path):
  checkpoints = saved(tmp_path, 5)
  checkpoints._checkpoint.learner.value.assign(77)
  checkpoints.save(5)
  assert restored(tmp_path) == (5, 77)


@pytest.mark.parametrize(
  "error", [OSError("no space left"), tf.errors.ResourceExhaustedError(None, None, "full")]
)
def test_a_failure_while_writing_leaves_the_earlier_ones_whole(tmp_path, monkeypatch, error):
  checkpoints = saved(tmp_path, 5)
  write = checkpoints._checkpoint.write

  def fail(path):
    write(path)
    raise error

  monkeypatch.setattr(checkpoints._checkpoint, "write", fail)
  with pytest.raises(
    checkpoint.CheckpointError, match="checkpoint of iteration 6 could not be written .* free some"
  ):
    checkpoints.save(6)
  assert [path.name for path in tmp_path.iterdir()] == ["step_000000005"]
  assert restored(tmp_path) == (5, 5)


def test_a_kill_while_writing_leaves_the_earlier_ones_whole(tmp_path, monkeypatch):
  checkpoints = saved(tmp_path, 5)
  monkeypatch.setattr(checkpoint, "_flush", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
  with pytest.raises(KeyboardInterrupt):
    checkpoints.save(6)
  assert checkpoints.steps() == [5]  # the unfinished one does not count
  assert restored(tmp_path) == (5, 5)
  monkeypatch.undo()
  checkpoints.save(7)
  assert checkpoints.steps() == [5, 7] and not (tmp_path / "unfinished.tmp").exists()


def truncate(path):
  with open(path, "r+b") as file:
    file.truncate(path.stat().st_size // 2)


def corrupt(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0xFF
  path.write_bytes(content)


DAMAGES = {
  "truncated": lambda folder, step: truncate(data_file(folder, step)),
  "corrupted": lambda folder, step: corrupt(data_file(folder, step)),
  "data lost": lambda folder, step: data_file(folder, step).unlink(),
  "index truncated": lambda folder, step: truncate(folder / f"step_{step:09d}" / "state.index"),
  "empty": lambda folder, step: [path.unlink() for path in (folder / f"step_{step:09d}").iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, caplog, damage):
  saved(tmp_path, 5, 6)
  DAMAGES[damage](tmp_path, 6)
  with caplog.at_level("WARNING"):
    assert restored(tmp_path) == (5, 5)
  assert "checkpoint of iteration 6" in caplog.text and "is damaged" in caplog.text


@pytest.mark.parametrize("keep, milestone, left", [(1, 0, [6]), (2, 0, [5, 6]), (1, 9, [6])])
def test_one_that_was_passed_over_goes_when_the_next_is_saved(tmp_path, keep, milestone, left):
  checkpoints = saved(tmp_path, 5, 9, keep=2, milestone=milestone)
  truncate(data_file(tmp_path, 9))
  checkpoints = checkpoint.Checkpoints(tmp_path, Counter(-1), keep, milestone)
  assert checkpoints.restore() == 5
  assert checkpoints.steps() == [5, 9]  # until there is a better one
  checkpoints._checkpoint.learner.value.assign(6)
  checkpoints.save(6)
  assert checkpoints.steps() == left
  assert restored(tmp_path) == (6, 6)


def test_what_is_just_saved_is_never_pruned(tmp_path):
  checkpoints = saved(tmp_path, 5, 9, keep=2)
  assert checkpoints.restore(5) == 5
  checkpoints = checkpoint.Checkpoints(tmp_path, checkpoints._checkpoint.learner, keep=1)
  checkpoints.save(6)
  assert 6 in checkpoints.steps()


def test_reading_removes_nothing(tmp_path):
  saved(tmp_path, 5, 6)
  truncate(data_file(tmp_path, 6))
  assert restored(tmp_path) == (5, 5)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000000005", "step_000000006"]


def test_variables_that_are_not_finite_are_named():
  counter = Counter()
  assert checkpoint.not_finite(counter) == []
  for value in (np.nan, np.inf, -np.inf):
    counter.part.bulk.assign(tf.tensor_scatter_nd_update(tf.zeros([100]), [[7]], [value]))
    assert checkpoint.not_finite(counter) == [counter.part.bulk.name]


def test_nothing_readable_is_an_error_that_names_them(tmp_path):
  saved(tmp_path, 5, 6)
  for step in (5, 6):
    truncate(data_file(tmp_path, step))
  with pytest.raises(
    checkpoint.CheckpointError, match=r"iterations \[5, 6\]\) can be read: restore the folder"
  ):
    restored(tmp_path)


def test_parts_are_read_by_name(tmp_path):
  saved(tmp_path, 5)
  part = tf.Module()
  part.bulk = tf.Variable(tf.zeros([100]))
  assert checkpoint.read_parts(tmp_path, part=part) == 5
  assert float(tf.reduce_sum(part.bulk)) == 100


def test_parts_of_no_checkpoint(tmp_path):
  with pytest.raises(checkpoint.CheckpointError, match="holds no checkpoint: train first"):
    checkpoint.read_parts(tmp_path, part=tf.Module())
  saved(tmp_path, 5)
  with pytest.raises(checkpoint.CheckpointError, match="holds no checkpoint of iteration 4"):
    checkpoint.read_parts(tmp_path, 4, part=tf.Module())
