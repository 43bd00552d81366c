"""An exported model that scans, made once: exporting takes seconds."""

import pytest

from adaptive_stem_tf.serving.scanner import Scanner
from tests.unit.serving import scanning


@pytest.fixture(scope="session")
def adaptive(tmp_path_factory):
  """Returns an adaptive model and the folder of its SavedModel."""
  return scanning.exported(tmp_path_factory.mktemp("adaptive"))


@pytest.fixture(scope="session")
def scanner(adaptive):
  """Returns a scanner of that model."""
  return Scanner(adaptive[1])
