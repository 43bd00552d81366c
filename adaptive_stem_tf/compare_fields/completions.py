"""Completions of partial fields, by a model's generator or without learning."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.compare import classical
from adaptive_stem_tf.compare_fields import delaunay
from adaptive_stem_tf.compare_fields.settings import GENERATOR, LINEAR, LOCAL_LINEAR
from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.fields.state import Completion
from adaptive_stem_tf.networks import field_generator
from adaptive_stem_tf.training.field_model import FieldModel

_SIGMA = 2.5  # px, of the filter of targets
_IMAGES = [tf.TensorSpec([None, None, None, 1])] * 2  # partial and mask, of any size


class Completed(NamedTuple):
  """Completions of S scans of one field."""

  mean: np.ndarray  # [S, H, W]
  variance: np.ndarray | None  # [S, H, W] expected squared error; None if it is not estimated


class Completer:
  """Completes partial fields of any size by one of several methods."""

  def __init__(self, model: FieldModel | None):
    """Makes the completer of a model; with None, it can only complete without learning."""
    # No network is called: the module has no variables.
    self.plain = traced(field_generator.FieldGenerator(1, _SIGMA).plain)
    self.generator = self.plain if model is None else traced(model.complete)

  def __call__(self, name: str, partial: np.ndarray, masks: np.ndarray) -> Completed:
    """Completes scans of one field.

    Args:
      name: of `settings.COMPLETIONS`.
      partial: [S, H, W] float32 measured intensities, 0 elsewhere.
      masks: [S, H, W] bool.
    """
    if name in (GENERATOR, LOCAL_LINEAR):
      complete = self.generator if name == GENERATOR else self.plain
      arguments = (tf.constant(x[..., None], tf.float32) for x in (partial, masks))
      completion = complete(*arguments)
      variance = np.exp(completion.log_variance[..., 0].numpy()) if name == GENERATOR else None
      return Completed(completion.mean[..., 0].numpy(), variance)
    means = [strata.low_pass(_CLASSICAL[name](*one)) for one in zip(partial, masks)]
    return Completed(np.stack(means).astype(np.float32), None)


def _one(method):
  """Returns a method of `compare.classical` for one image [H, W]."""
  return lambda values, mask: method(values[..., None].astype(np.float64), mask)[..., 0]


_CLASSICAL = {LINEAR: delaunay.linear} | {
  name: _one(classical.METHODS[name]) for name in ("biharmonic", "total_variation")
}


def traced(complete: Callable[[tf.Tensor, tf.Tensor], Completion]) -> Callable[..., Completion]:
  """Returns a tf.function that is traced once for fields of all sizes."""
  return tf.function(complete, input_signature=_IMAGES, autograph=False)
