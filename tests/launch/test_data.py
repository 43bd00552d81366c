"""launch.data: what the flags name becomes splits."""

import numpy as np
import pytest

from adaptive_stem_tf import config
from datasets import load as dataset_loader
from launch import data
from tests import tiny


@pytest.fixture
def asked(monkeypatch):
  """Stands for TFDS: five specimens, of any split; tells what was asked for."""
  names = []

  def load_split(name, split):
    names.append((name, split))
    return 7 + 3 * tiny.images(5, seed=1)[: int(split[7:-1])]

  monkeypatch.setattr(dataset_loader, "load_split", load_split)
  return names


def test_extra_specimens_train_beside_those_of_images_and_nowhere_else(images_file, asked, capsys):
  alone = data.load(config.Data(images=str(images_file), validation_fraction=0.25), tiny.SIZE)
  settings = config.Data(images=str(images_file), validation_fraction=0.25, extra_specimens=3)
  splits = data.load(settings, tiny.SIZE)
  assert asked == [("simulated_stem/crops_96", "train[:3]")]
  assert "3 specimens more to train on" in capsys.readouterr().out
  np.testing.assert_array_equal(splits.train[:12], alone.train)
  np.testing.assert_allclose(splits.train[12:], tiny.images(5, seed=1)[:3], atol=1e-6)  # normalised
  for name in ("validation", "test"):
    np.testing.assert_array_equal(getattr(splits, name), getattr(alone, name))
  np.testing.assert_array_equal(data.load_split(settings, tiny.SIZE, "train")[0], alone.train)


def test_extra_specimens_that_are_not_there_are_told(images_file, asked):
  with pytest.raises(
    ValueError, match=r"extra_specimens=6 of \[16, 16\] px are not there: .* has 5 of \[16, 16\] px"
  ):
    data.load(config.Data(images=str(images_file), extra_specimens=6), tiny.SIZE)
  with pytest.raises(
    ValueError, match="extra_specimens=2 are added to those of --images, which is not given"
  ):
    data._with_extra(tiny.splits(), config.Data(extra_specimens=2))
