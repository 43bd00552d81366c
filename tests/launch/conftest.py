"""A file of specimens and a run on them."""

import pathlib

import numpy as np
import pytest

from tests import tiny


@pytest.fixture(scope="session")
def images_file(tmp_path_factory) -> pathlib.Path:
  """A NumPy file of 20 specimens: 16 train, 4 test."""
  path = tmp_path_factory.mktemp("data") / "images.npy"
  np.save(path, 100 + 50 * tiny.images(20))
  return path
