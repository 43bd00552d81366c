"""The models, versions and labels that a server offers: models.config, as tensorflow_model_server
reads it.

Needs tensorflow-serving-api (extra `serving`).
"""

import os
import pathlib
from collections.abc import Sequence

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from adaptive_stem_tf import writing

LABELS = ("stable", "canary")
BASE_PATH = "/models"  # where the container image looks for models
_HEADER = """\
# Models for tensorflow_model_server --model_config_file (README.md beside this file has the
# commands). Written by launch.export --labels: versions that carry no label are not served.
# base_path is where the server, in its container, finds the models.
"""


class RepositoryError(ValueError):
  """models.config cannot be read, or not be changed in this way."""


def read(file: str | os.PathLike) -> model_server_config_pb2.ModelServerConfig:
  """Reads a models.config.

  Raises:
    FileNotFoundError: if there is none.
    RepositoryError: if it is damaged.
  """
  text = pathlib.Path(file).read_text()
  try:
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
  except text_format.ParseError as error:
    raise RepositoryError(f"{file} is no models.config: {error}. Repair it by hand.") from None


def models(
  config: model_server_config_pb2.ModelServerConfig,
) -> dict[str, model_server_config_pb2.ModelConfig]:
  """Returns each model's configuration by its name."""
  return {model.name: model for model in config.model_config_list.config}


def one_model(
  name: str, base_path: str | os.PathLike
) -> dict[str, model_server_config_pb2.ModelConfig]:
  """Returns the configuration of a single model whose newest version is served."""
  return {
    name: model_server_config_pb2.ModelConfig(
      name=name, base_path=os.fspath(base_path), model_platform="tensorflow"
    )
  }


def under(
  folder: str | os.PathLike, known: dict[str, model_server_config_pb2.ModelConfig]
) -> dict[str, model_server_config_pb2.ModelConfig]:
  """Returns models with their base paths moved into another folder: the one that a container
  mounts, outside of it.
  """
  moved = {}
  for name, model in known.items():
    moved[name] = model_server_config_pb2.ModelConfig()
    moved[name].CopyFrom(model)
    moved[name].base_path = str(pathlib.Path(folder) / pathlib.PurePosixPath(model.base_path).name)
  return moved


def check_labels(labels: Sequence[str]) -> None:
  """Checks that labels are known.

  Raises:
    RepositoryError: if one is not, or there is none.
  """
  labels = list(labels)
  if not labels or set(labels) - set(LABELS):
    raise RepositoryError(
      f"labels={','.join(labels)} is unknown: give stable, canary or stable,canary."
    )


def add_labels(
  file: str | os.PathLike, name: str, version: int, labels: Sequence[str]
) -> list[str]:
  """Points labels of a model at a version, in a models.config that is made if it is missing.

  TensorFlow Serving refuses a whole models.config that moves a label in use to a version
  it has not loaded. Such a label stays where it is: the version is listed, so that
  servers load it, and the same call again moves the label. Once every label has moved, versions
  without a label are no longer listed, and are unloaded.

  Args:
    file: of models.config.
    name: of the model.
    version: that the labels move to.
    labels: `stable`, `canary` or both.

  Returns:
    The labels that wait for the version to be loaded; call again then.

  Raises:
    RepositoryError: if a label is unknown, or the file is damaged.
  """
  check_labels(labels)
  file = pathlib.Path(file)
  config = read(file) if file.is_file() else model_server_config_pb2.ModelServerConfig()
  known = models(config)
  model = (
    known[name]
    if name in known
    else config.model_config_list.config.add(
      name=name, base_path=f"{BASE_PATH}/{name}", model_platform="tensorflow"
    )
  )
  listed = set(model.model_version_policy.specific.versions)
  waiting = [
    label for label in labels if version not in listed | {model.version_labels.get(label, version)}
  ]
  for label in set(labels) - set(waiting):
    model.version_labels[label] = version
  labelled = set(model.version_labels.values())
  model.model_version_policy.specific.versions[:] = sorted(
    labelled | {version} | (listed if waiting else set())
  )
  _write(file, config)
  return waiting


def _write(file, config):
  # A server that polls the file never sees half of it.
  writing.text(file, _HEADER + text_format.MessageToString(config))
