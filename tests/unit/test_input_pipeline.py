"""Reading, splitting and drawing specimens."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import input_pipeline
from adaptive_stem_tf.types import Streamed


def drawn(batches, **arguments):
  """Returns indices and transforms of the first batches, [batches, B] each."""
  settings = {"count": 10, "batch": 4, "seed": 0, "augment": True} | arguments
  taken = list(itertools.islice(input_pipeline.draws(**settings), batches))
  return np.array([draw.index for draw in taken]), np.array([draw.transform for draw in taken])


def saved(folder, array, name="images.npy"):
  np.save(folder / name, array)
  return folder / name


def test_split_in_file_order():
  train, test = input_pipeline.split_file_order(np.arange(494))
  np.testing.assert_array_equal(train, np.arange(395))
  np.testing.assert_array_equal(test, np.arange(395, 494))
  published, rest = input_pipeline.split_file_order(np.zeros([19769, 0]))
  assert (len(published), len(rest)) == (15815, 3954)


def test_every_epoch_is_another_permutation():
  index, _ = drawn(15)  # 60 draws of 10 specimens
  epochs = index.reshape(6, 10)
  np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(10), [6, 1]))
  assert len({tuple(epoch) for epoch in epochs}) > 4
  assert index.dtype == np.int32


def test_draws_are_a_function_of_the_seed():
  for ours, again in zip(drawn(5), drawn(5)):
    np.testing.assert_array_equal(ours, again)
  for ours, another in zip(drawn(5), drawn(5, seed=1)):
    assert (ours != another).any()


@pytest.mark.parametrize("start", [1, 7])
def test_starting_later_equals_skipping(start):
  for whole, rest in zip(drawn(12), drawn(12 - start, start=start)):
    np.testing.assert_array_equal(whole[start:], rest)


def test_transforms_are_uniform_and_absent_without_augmentation():
  _, transforms = drawn(8, batch=200)
  counts = np.bincount(transforms.ravel(), minlength=8)
  assert len(counts) == 8
  assert ((counts - 200) ** 2 / 200).sum() < 24.3  # chi-squared, 7 degrees of freedom, p = 0.001
  assert not drawn(3, augment=False)[1].any()


def test_one_specimen_can_be_drawn():
  assert not drawn(2, count=1)[0].any()


def test_batches_show_every_image_once_in_one_shape():
  images = np.arange(7).reshape(7, 1, 1, 1)
  parts = list(input_pipeline.batches(images, 3))
  assert [count for _, count in parts] == [3, 3, 1]
  assert {batch.shape for batch, _ in parts} == {(3, 1, 1, 1)}
  np.testing.assert_array_equal(np.concatenate([batch[:count] for batch, count in parts]), images)


@pytest.mark.parametrize(
  "shape, dtype", [((3, 8, 8, 1), np.float64), ((3, 8, 8), np.uint16), ((3, 8, 8), np.int8)]
)
def test_images_are_read_as_float32_with_a_channel(tmp_path, rng, shape, dtype):
  array = (100 * rng.random(shape)).astype(dtype)
  read = input_pipeline.read_images(saved(tmp_path, array))
  assert read.dtype == np.float32 and read.shape == (3, 8, 8, 1) and read.flags.writeable
  np.testing.assert_array_equal(read.ravel(), array.astype(np.float32).ravel())


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="none.npy is not a file: give a NumPy file"):
    input_pipeline.read_images(tmp_path / "none.npy")
  with pytest.raises(FileNotFoundError, match="is not a file"):
    input_pipeline.read_images(tmp_path)


def test_a_truncated_file_is_named(tmp_path):
  path = saved(tmp_path, np.zeros([3, 8, 8, 1], np.float32))
  for size in (path.stat().st_size - 4, 40, 0):
    with open(path, "r+b") as file:
      file.truncate(size)
    with pytest.raises(ValueError, match="images.npy cannot be read .* is the file complete"):
      input_pipeline.read_images(path)


def test_a_file_of_something_else_is_refused(tmp_path):
  path = tmp_path / "text.npy"
  path.write_text("not an array")
  with pytest.raises(ValueError, match="text.npy cannot be read as a NumPy array"):
    input_pipeline.read_images(path)


@pytest.mark.parametrize("name", ["image.tif", "image.dm4", "image.PNG"])
def test_a_micrograph_is_sent_to_the_command_that_cuts_it(tmp_path, name):
  (tmp_path / name).write_bytes(b"II*")
  with pytest.raises(
    ValueError, match=f"{name} is no NumPy file: .*launch.prepare --input=.*{name}"
  ):
    input_pipeline.read_images(tmp_path / name)


def test_an_archive_is_refused(tmp_path):
  np.savez(tmp_path / "images.npz", a=np.zeros(3))
  with pytest.raises(ValueError, match="is an archive of several arrays"):
    input_pipeline.read_images(tmp_path / "images.npz")


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 9), (3, 8, 9, 1), (3, 8, 8, 2), (1, 3, 8, 8, 1)])
def test_wrong_shapes_are_named(tmp_path, shape):
  with pytest.raises(
    ValueError, match=r"has shape \[.*specimens are square, \[N, S, S, 1\] or \[N, S, S\]"
  ):
    input_pipeline.read_images(saved(tmp_path, np.zeros(shape)))


@pytest.mark.parametrize("dtype", [object, complex, bool, "U3"])
def test_wrong_types_are_refused(tmp_path, dtype):
  with pytest.raises(ValueError, match="images.npy (cannot be read|holds .* must be real numbers)"):
    input_pipeline.read_images(saved(tmp_path, np.zeros([3, 8, 8], dtype)))


def test_prepare_normalises_and_sets_the_last_part_aside():
  train = np.arange(10 * 64, dtype=np.float32).reshape(10, 8, 8, 1)
  test = np.full([2, 8, 8, 1], np.nan, np.float32)
  splits = input_pipeline.prepare(train.copy(), test, 8, 0.3)
  assert [len(part) for part in splits[:3]] == [7, 3, 2]
  assert splits.repairs == (128, 2)
  assert splits.train.min() == -1 and splits.validation.max() == 1


def test_empty_splits_are_refused():
  some, none = np.zeros([3, 8, 8, 1], np.float32), np.zeros([0, 8, 8, 1], np.float32)
  with pytest.raises(ValueError, match="the training split is empty"):
    input_pipeline.prepare(none, some, 8, 0.0)
  with pytest.raises(ValueError, match="the test split is empty"):
    input_pipeline.prepare(some, none, 8, 0.0)
  with pytest.raises(ValueError, match="validation_fraction=0.9 leaves none of 3"):
    input_pipeline.prepare(some, some, 8, 0.9)


def test_images_of_another_size_are_refused():
  some = np.zeros([3, 8, 8, 1], np.float32)
  with pytest.raises(
    ValueError, match="training specimens are 8 px wide and image_size=16: set --image_size=8"
  ):
    input_pipeline.prepare(some, some, 16, 0.0)


def test_whole_files_are_set_aside_from_the_last_on():
  # The last crop of c comes last, then b's, a's, d's. Of 10, 4 are wanted: c fits, b (3) does not,
  # a does, d does not.
  sources = list("daabdbacbc")
  aside = input_pipeline.set_aside(10, 0.5, sources)  # 5: c (2), b (3)
  assert "".join(np.array(sources)[aside]) == "bbcbc"
  aside = input_pipeline.set_aside(10, 0.4, sources)  # 4: c (2), not b (3), not a (3), d (2)
  assert "".join(np.array(sources)[aside]) == "ddcc"


def test_without_sources_the_last_part_is_set_aside():
  np.testing.assert_array_equal(np.flatnonzero(input_pipeline.set_aside(10, 0.3)), [7, 8, 9])
  assert not input_pipeline.set_aside(10, 0.0, ["a"] * 10).any()


def test_a_share_that_holds_no_file_is_refused():
  with pytest.raises(
    ValueError, match="validation_fraction=0.2 of 10 specimens holds no whole source file"
  ):
    input_pipeline.set_aside(10, 0.2, ["a"] * 5 + ["b"] * 5)


def test_prepare_keeps_files_whole():
  train = np.arange(6 * 64, dtype=np.float32).reshape(6, 8, 8, 1)
  for number in (1, 4):  # upside down: normalised, the others are all alike
    train[number] = train[number, ::-1]
  splits = input_pipeline.prepare(train.copy(), train[:1].copy(), 8, 0.4, list("abaaba"))
  assert len(splits.train) == 4 and len(splits.validation) == 2
  assert (splits.validation[:, 0, 0, 0] > 0).all() and (splits.train[:, 0, 0, 0] == -1).all()


def test_draws_are_not_tuned(monkeypatch):
  """Whoever lets go of tuned ones waits for a thread that sleeps for seconds after some minutes."""
  tuned, iterate = [], tf.data.Dataset.__iter__
  monkeypatch.setattr(
    tf.data.Dataset,
    "__iter__",
    lambda dataset: tuned.append(dataset.options().autotune.enabled) or iterate(dataset),
  )
  read = Streamed(lambda iteration, draw: draw.index + iteration, tf.TensorSpec([4], tf.int32))
  plain, streamed = (input_pipeline.draws(8, 4, 0, True, 3, each) for each in (None, read))
  for iteration in (3, 4):
    ours, theirs = next(plain), next(streamed)
    np.testing.assert_array_equal(theirs.index, ours.index)
    np.testing.assert_array_equal(theirs.images, ours.index + iteration)
  assert tuned == [False] * 3
