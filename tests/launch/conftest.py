"""A file of specimens and a run on them."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tests.launch import commands


@pytest.fixture(scope="session")
def images_file(tmp_path_factory) -> pathlib.Path:
  """A NumPy file of 20 specimens: 16 train, 4 test."""
  path = tmp_path_factory.mktemp("data") / "images.npy"
  np.save(path, 100 + 50 * tiny.images(20))
  return path


@pytest.fixture(scope="session")
def model(tmp_path_factory, images_file):
  """A SavedModel, trained and exported by the commands."""
  folder = tmp_path_factory.mktemp("scan")
  tf.config.run_functions_eagerly(True)
  trained = commands.train(folder / "run", images_file, iterations=1)
  tf.config.run_functions_eagerly(False)
  assert trained.code == 0, trained.err
  exported = commands.launch(
    "export", f"--workdir={folder / 'run'}", f"--output={folder / 'model' / '1'}"
  )
  assert exported.code == 0, exported.err
  return folder / "model" / "1"
