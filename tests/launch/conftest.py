"""A file of specimens, a run on them, and what is scanned live."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests import exports as exports_lib
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


@pytest.fixture(scope="module")
def models(exports) -> dict[str, pathlib.Path]:
  """A model as published, and one that decides late, may stop early and has a fast path."""
  return {kind: exports(kind) for kind in (exports_lib.PLAIN, "stopping")}


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory) -> pathlib.Path:
  """A micrograph of 40 x 30 px, of intensities about 1000."""
  path = tmp_path_factory.mktemp("micrographs") / "micrograph.npy"
  np.save(path, 1000 + 300 * tiny.images(1, 40)[0, :, :30, 0])
  return path
