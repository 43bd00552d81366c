"""Converts a scanner of whole fields to LiteRT, for fields of one size.

Writes into a folder:

  plan.tflite       signature `plan` of the SavedModel, without next_positions
  complete.tflite   signature `complete`

LiteRT has no assertions: who calls these checks what they are given.
"""

import pathlib

import tensorflow as tf

from adaptive_stem_tf.serving import served_fields
from adaptive_stem_tf.training.field_model import TrainedModel


class _Fast(served_fields.ServedFields):
  """The functions without what LiteRT has no arithmetic for: numbers of positions vary."""

  def plan(self, *inputs, **named):
    """Decides what is measured next."""
    decided = super().plan(*inputs, **named)
    return {name: value for name, value in decided.items() if name != "next_positions"}


def convert(model: TrainedModel, folder: pathlib.Path, side: int) -> None:
  """Writes plan.tflite and complete.tflite.

  Args:
    model: what is converted.
    folder: made if it is missing.
    side: of the fields, px.
  """
  folder.mkdir(parents=True, exist_ok=True)
  served = _Fast(model)
  for name, function in served.signatures(1, side, ("complete", "plan")).items():
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], served)
    (folder / f"{name}.tflite").write_bytes(converter.convert())
