"""An exported tiny model, and an image to scan."""

import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.experiment import model
from adaptive_stem_tf.learning import learner
from adaptive_stem_tf.serving import export
from tests import tiny


def exported(folder: pathlib.Path, positions: np.ndarray | None = None, **changes) -> tuple[model.Model, pathlib.Path]:
  """Returns a tiny model, along a fixed path if one is given, and the folder it was exported to."""
  trained = learner.Learner(tiny.experiment(**changes), tf.constant(tiny.images()), "none", positions)
  made = model.of_learner(trained)
  return made, export.export(made, folder / "1")


def micrograph(height: int = 40, width: int = 50) -> np.ndarray:
  """Returns intensities [height, width] float32 between about 100 and 200."""
  return 150 + 50 * tiny.images(1, 52)[0, :height, :width, 0]
