"""Exported scanners of whole fields, which are compared like the runs that they came from."""

import os
import pathlib
from typing import Any

import tensorflow as tf

from adaptive_stem_tf import field_config, integrity
from adaptive_stem_tf.fields.state import Cells, Completion
from adaptive_stem_tf.training import workdir as workdir_lib

_SETTINGS = pathlib.Path("assets.extra") / workdir_lib.CONFIG
_SIGNATURES = ("complete", "decide")
_TINY = 1e-12


class ExportedModel:
  """A SavedModel as a `training.field_model.FieldModel`, without the code of its networks."""

  def __init__(self, folder: str | os.PathLike):
    """Loads the model in a folder NAME/VERSION.

    Raises:
      ValueError: if it does not scan whole fields.
      integrity.DamagedModelError: if its files are not those that were exported.
    """
    integrity.check(pathlib.Path(folder))
    self._loaded = tf.saved_model.load(str(folder))
    missing = [name for name in _SIGNATURES if name not in self._loaded.signatures]
    if missing:
      raise ValueError(
        f"model={folder} has no signature {', '.join(missing)}: it does not scan whole fields; "
        "export a run of launch.train_fields."
      )
    text = (pathlib.Path(folder) / _SETTINGS).read_text()
    settings = field_config.FieldExperiment.from_json(text)
    scan = settings.scan
    self.rounds, self.survey = scan.rounds, scan.survey
    self.cell, self.pairs = scan.cell, scan.pairs
    self._channels = settings.networks.policy_channels

  def complete(self, partial: tf.Tensor, mask: tf.Tensor) -> Completion:
    """Completes partial fields [B, H, W, 1], 0 where the mask [B, H, W, 1] is 0."""
    answer = self._loaded.signatures["complete"](partial_field=partial, mask=mask)
    log_variance = 2 * tf.math.log(tf.maximum(answer["standard_deviation"], _TINY))
    images = (
      answer["completion"],
      log_variance,
      answer["interpolation"],
      answer["smooth_interpolation"],
    )
    return Completion(*(tf.reshape(image, tf.shape(partial)) for image in images))

  def policy(self, cells: Cells, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns log weights for the next round, and the next recurrent state."""
    answer = self._loaded.signatures["decide"](**cells._asdict(), state_recurrent=state)
    return answer["log_weights"], answer["state_recurrent"]

  def initial_state(self, batch: int | tf.Tensor, rows: Any, columns: Any) -> tf.Tensor:
    """Returns the recurrent state before the first round of fields of rows x columns cells."""
    return tf.zeros(tf.stack([batch, rows, columns, self._channels]))
