"""Exports a run's actor and generator as a SavedModel for deployment.

  python -m launch.export --workdir=runs/small --output=savedmodels/small/1
  python -m launch.export --workdir=runs/small --output=savedmodels/small/2 --labels=canary
  python -m launch.export --output=savedmodels/small/2 --labels=stable

The folder needs TensorFlow only, not this package. Its signatures `complete`, `start`,
`step` and `scan` are documented in its assets.extra/manifest.json. A version is written
whole or not at all, and never replaced. --labels points `stable` or `canary` at it in
the models.config beside NAME, for TensorFlow Serving: the last form moves a label to a
version that exists. --litert adds the fast path. A run of launch.train_distortion is exported
with one signature, `correct`, for launch.scan --corrector; a run on whole fields with the
signatures `survey`, `plan`, `complete` and `decide`, for launch.scan --fields and launch.live
--fields. --workdir also takes an exported scanner, to write it again without its run: with the
checks that graphs have by now, or with --litert:

  python -m launch.export --workdir=savedmodels/adaptive_fields/1 --output=models/fields/1 --litert
"""

from __future__ import annotations

import pathlib

from absl import flags

from adaptive_stem_tf import integrity, writing
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.serving import corrector, export, extra, field_export, field_litert, litert
from adaptive_stem_tf.training import field_model
from launch import flags as launch_flags

_WORKDIR = flags.DEFINE_string(
  "workdir",
  "",
  "folder of the run, or of an exported scanner to write again; none to label a version that "
  "exists",
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "folder of the SavedModel, NAME/VERSION", required=True
)
_LABELS = flags.DEFINE_list(
  "labels", [], "labels (stable, canary) that models.config points at this version"
)

_LITERT = flags.DEFINE_boolean(
  "litert", False, "also convert step and generator to LiteRT, in assets.extra/litert"
)
_PRECISIONS = flags.DEFINE_list(
  "litert_precisions",
  [],
  "further LiteRT generators, whose weights are float16 or int8 "
  "(launch.compare_litert tells their error); implies --litert",
)
_LITERT_SIDE = flags.DEFINE_integer(
  "litert_field_size", 512, "side of the fields of a LiteRT scanner of whole fields, px", 32
)


def main() -> None:
  """Exports the run in --workdir, and labels it."""
  output = pathlib.Path(_OUTPUT.value)
  export.check_version(output)
  _check_labels(output)
  if _WORKDIR.value:
    if correction_training.is_correction(_WORKDIR.value):
      iteration = _export_corrector(output)
    elif field_export.is_of_fields(_WORKDIR.value):
      iteration = _export_fields(output)
    else:
      iteration = _export_scanner(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    of_iteration = "the model" if iteration is None else f"iteration {iteration}"
    print(f"Exported {of_iteration} of {_WORKDIR.value} to {output} ({size / 1e6:.1f} MB).")
    if not extra.has_serving_api():
      print("It has no warm-up requests: these need tensorflow-serving-api (extra `serving`).")
  if _LABELS.value:
    _label(output)


def _export_scanner(output: pathlib.Path) -> int | None:
  """Exports an actor and a generator; returns the iteration of training."""
  exported = integrity.is_exported(_WORKDIR.value)
  trained, iteration = (model.load_exported if exported else model.load)(_WORKDIR.value)
  fast = _LITERT.value or _PRECISIONS.value
  if fast:
    litert.check(trained, _PRECISIONS.value)
  export.export(trained, output, iteration, also=_convert(trained) if fast else None)
  return iteration


def _export_fields(output: pathlib.Path) -> int | None:
  """Exports a scanner of whole fields; returns the iteration of training."""
  if _PRECISIONS.value:
    raise ValueError(
      f"workdir={_WORKDIR.value} scans whole fields, whose LiteRT form has one precision: leave "
      "--litert_precisions out."
    )
  restored = field_model.load(_WORKDIR.value)
  convert = lambda folder: field_litert.convert(
    restored.model, folder / litert.FOLDER, _LITERT_SIDE.value
  )
  also = convert if _LITERT.value else None
  field_export.write(restored.model, output, restored.iteration, also)
  return restored.iteration


def _export_corrector(output: pathlib.Path) -> int | None:
  """Exports a corrector of distorted scans; returns the iteration of training."""
  if _LITERT.value or _PRECISIONS.value:
    raise ValueError(
      f"workdir={_WORKDIR.value} holds a distortion correction, which has no LiteRT form: leave "
      "--litert out."
    )
  if integrity.is_exported(_WORKDIR.value):
    raise ValueError(
      f"workdir={_WORKDIR.value} is an exported distortion correction, which is not written again: "
      "name its run."
    )
  network, experiment, iteration = correction_training.load(_WORKDIR.value)
  corrector.write(network, experiment, output, iteration)
  return iteration


def _convert(trained):
  return lambda folder: litert.convert(trained, folder / litert.FOLDER, _PRECISIONS.value)


def _check_labels(output):
  """Checks, before anything is written, that the export could be labelled afterwards."""
  if not _WORKDIR.value and not _LABELS.value:
    raise ValueError(
      "give --workdir to export a run, or --labels to label a version that exists, or both."
    )
  if not _WORKDIR.value and not integrity.is_exported(output):
    raise FileNotFoundError(
      f"output={output} holds no SavedModel to label: export a run there with --workdir."
    )
  if _LABELS.value:
    if not extra.has_serving_api():
      raise ValueError(
        "labels need tensorflow-serving-api: pip install tensorflow-serving-api (extra `serving`)."
      )
    from adaptive_stem_tf.serving import repository

    repository.check_labels(_LABELS.value)


def _label(output):
  from adaptive_stem_tf.serving import repository

  path = output.parent.parent / "models.config"
  number, labels = int(output.name), _LABELS.value
  try:
    waiting = repository.add_labels(path, output.parent.name, number, labels)
  except writing.WriteError as error:
    raise writing.WriteError(
      f"{error} {output} is whole: label it then by python -m launch.export --output={output} "
      f"--labels={','.join(labels)}"
    ) from error
  moved = [label for label in _LABELS.value if label not in waiting]
  if moved:
    print(f"{path}: {' and '.join(moved)} of {output.parent.name} is version {output.name} now.")
  if waiting:
    print(
      f"{path}: version {output.name} of {output.parent.name} is listed, so that servers load it. "
      f"When they have, move the label: python -m launch.export --output={output} "
      f"--labels={','.join(waiting)}"
    )


if __name__ == "__main__":
  launch_flags.run(main)
