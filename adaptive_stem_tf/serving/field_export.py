"""Exports a scanner of whole fields as a SavedModel that needs no code of ours.

Its signatures are those of `served_fields`, each tensor with the batch (any size) as its first
axis; `serving_default` is `complete`.
"""

import os
import pathlib
from collections.abc import Callable

from adaptive_stem_tf.serving import contract, export, extra, served_fields
from adaptive_stem_tf.training import workdir as workdir_lib
from adaptive_stem_tf.training.field_model import TrainedModel


def is_of_fields(place: str | os.PathLike) -> bool:
  """Returns whether a folder holds a scanner of whole fields: a run, or an exported one."""
  settings = workdir_lib.read_settings(place)
  return "networks" in settings and "coverage_low" in settings.get("scan", {})


def write(
  model: TrainedModel,
  output: str | os.PathLike,
  iteration: int | None = None,
  also: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes a SavedModel to `output` = NAME/VERSION, whole or not at all.

  Args:
    model: the model to export.
    output: NAME/VERSION, the version a positive integer.
    iteration: of training, for the record.
    also: takes the path of assets.extra and writes more files there.

  Raises:
    export.ExportError: if the version is not a positive integer, or exists already.
  """
  export.check_output(output)  # before signatures are traced, which takes long
  served = served_fields.ServedFields(model)
  signatures = served.signatures()
  name = pathlib.Path(output).parent.name

  def extras(folder):
    """Writes warm-up requests, and what `also` writes, into assets.extra."""
    if extra.has_serving_api():
      saved = contract.of_protos(extra.read_protos(folder.parent))
      extra.write_warm_up(folder / extra.WARM_UP, name, saved, served.examples())
    if also:
      also(folder)

  return export.write(served, signatures, "complete", output, model.experiment, iteration, extras)
