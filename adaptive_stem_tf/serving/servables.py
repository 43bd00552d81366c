"""Loads versions of exported models and answers requests, as TensorFlow Serving does.

This is for tests and for machines without tensorflow_model_server. It is what gRPC and HTTP share;
`server` and `rest` translate. Failures are TensorFlow's errors (NotFoundError,
InvalidArgumentError, ...), whose codes are gRPC's.
"""

import collections
import functools
import pathlib
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_status_pb2, model_pb2, prediction_log_pb2

from adaptive_stem_tf import integrity
from adaptive_stem_tf.serving import batching, contract, extra, request_tensors
from adaptive_stem_tf.serving.request_tensors import Tensors

DEFAULT_SIGNATURE = "serving_default"
LARGEST_VERSION = 2**63 - 1
# The shapes of what they answer depend on every example: positions are padded to the longest round.
_NOT_BATCHED = ("survey", "plan")


class Version:
  """One version of a model, which is loaded or has the error that kept it from loading.

  Args:
    folder: NAME/VERSION.
    batched: most examples of several requests that are computed together; 0 computes each request
      by itself.
  """

  def __init__(self, folder: pathlib.Path, batched: int = 0):
    self.number = int(folder.name)
    self.files = _files(folder)  # a version that cannot be loaded is tried again if they change
    self.protos: dict[str, meta_graph_pb2.SignatureDef] = {}
    self.signatures: dict[str, contract.Signature] = {}
    self.error = ""
    self._batched = batched
    self._batchers: dict[str, batching.Batcher] = {}
    try:
      self._load(folder)
    except Exception as error:  # nothing that is wrong with the files may end the server
      self.error = f"version {self.number} of {folder.parent.name} cannot be loaded: {error}"
      logging.error("%s", self.error)

  def _load(self, folder):
    integrity.check(folder)
    self._loaded = tf.saved_model.load(str(folder))
    self.protos = extra.read_protos(folder)
    self.signatures = contract.of_protos(self.protos)
    self._batchers = {
      name: batching.Batcher(functools.partial(self._run, name), self._batched)
      for name in self.signatures
      if self._batched and name not in _NOT_BATCHED
    }
    requests = folder / extra.FOLDER / extra.WARM_UP
    if requests.is_file():
      for record in tf.data.TFRecordDataset(str(requests)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        self.predict(request.model_spec.signature_name, request_tensors.arrays_of(request.inputs))

  def predict(self, name: str, inputs: Tensors) -> Tensors:
    """Runs a signature, `serving_default` if the name is empty.

    Raises:
      FailedPreconditionError: if there is no such signature.
      InvalidArgumentError: if tensors are missing or unknown, have other types or shapes, or are
        not finite.
    """
    name = name or DEFAULT_SIGNATURE
    try:
      contract.check_known(name, self.signatures)
    except contract.ContractError as error:
      raise tf.errors.FailedPreconditionError(None, None, str(error)) from None
    try:
      contract.check(name, self.signatures[name], inputs, empty=True)
      request_tensors.check_state(inputs)
      return self._compute(name, inputs)
    except contract.ContractError as error:
      raise request_tensors.invalid(str(error)) from None
    except tf.errors.OpError as error:
      raise type(error)(None, None, _plain(error.message)) from None

  def _compute(self, name, inputs):
    """Runs a signature; with batching, together with other requests that wait for it.

    The answer to an empty batch is cut out of the answer to zeros, unless the graph refuses these:
    oneDNN's convolutions give an empty batch another number of channels.
    """
    if all(value.ndim and not len(value) for value in inputs.values()):
      zeros = {key: np.zeros([1, *value.shape[1:]], value.dtype) for key, value in inputs.items()}
      try:
        return {key: value[:0] for key, value in self._run(name, zeros).items()}
      except tf.errors.InvalidArgumentError:
        return self._run(name, inputs)
    return self._batchers[name](inputs) if name in self._batchers else self._run(name, inputs)

  def _run(self, name, inputs):
    outputs = self._loaded.signatures[name](
      **{key: tf.constant(value) for key, value in inputs.items()}
    )
    return {key: value.numpy() for key, value in outputs.items()}


def _files(folder):
  """Returns names, sizes and times of the files in a folder."""
  try:
    stats = [(str(file), file.stat()) for file in sorted(folder.rglob("*"))]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
  except OSError:
    return []


def _plain(message):
  """Returns the message of an error without its places in the graph, which mean nothing outside."""
  lines = [
    line
    for line in message.splitlines()
    if line and not line.startswith(("Graph execution", "Detected at"))
  ]
  return next(
    (line for line in lines if not line.startswith(("<stack", "\t [[", "  File"))), message
  )


class Servables:
  """The versions of every model that are served.

  Args:
    models: configuration of each model by name, as from `repository`.
    limits: of requests.
    batched: most examples of several requests that are computed together; 0 computes each request
      by itself.
  """

  def __init__(
    self,
    models: Mapping[str, Any],
    limits: request_tensors.Limits = request_tensors.DEFAULT_LIMITS,
    batched: int = 0,
  ):
    self.limits, self._batched = limits, batched
    self._lock = threading.Lock()
    self._models = models
    self._versions: dict[str, dict[int, Version]] = {name: {} for name in models}
    self._loads: collections.Counter[tuple[str, bool]] = collections.Counter()
    self.refresh()

  def refresh(self, models: Mapping[str, Any] | None = None) -> None:
    """Loads versions that are new in the folders or the configuration, and drops those that it no
    longer asks for.

    Args:
      models: a new configuration; None keeps the old one.

    Raises:
      ValueError: if it moves a label in use to a version that is not loaded; the old versions stay.
    """
    with self._lock:
      models = self._models if models is None else models
      for name, model in models.items():
        self._check_labels(name, model)
      versions = {name: self._load(name, model) for name, model in models.items()}
      # Both at once: requests see the old versions or the new ones.
      self._models, self._versions = (models, versions)

  def _load(self, name, model):
    """Returns a model's versions by number: known ones, and new ones that are loaded now."""
    known = self._versions.get(name, {})
    new = {
      number: known[number] if self._is_good(known.get(number), folder) else self._new(folder)
      for number, folder in _folders(model).items()
    }
    # If no new version can be loaded, those that answer stay until one can.
    if not any(not version.error for version in new.values()):
      new |= {number: version for number, version in known.items() if not version.error}
    return new

  def _new(self, folder):
    version = Version(folder, self._batched)
    self._loads[str(folder), not version.error] += 1
    return version

  def _is_good(self, version, folder):
    """Returns whether not to load a version again: it is loaded, or would fail again.

    A version that failed is loaded again once its files have changed: they may have been half
    copied.
    """
    return version is not None and (not version.error or version.files == _files(folder))

  def _check_labels(self, name, model):
    before = self._models[name].version_labels if name in self._models else {}
    for label, number in model.version_labels.items():
      version = self._versions.get(name, {}).get(number)
      moved = label in before and before[label] != number
      if moved and (version is None or version.error):
        raise ValueError(
          f"label {label!r} of {name!r} was moved to version {number}, which is not loaded: list "
          "the version first, and move the label once it is available."
        )

  def find(self, spec: model_pb2.ModelSpec) -> Version:
    """Returns the version that a request asks for: by number, by label, or the newest.

    Raises:
      InvalidArgumentError: if it names no model, or an unknown label.
      NotFoundError: if it names an unknown model or version, or one that could not be loaded.
    """
    if not spec.name:
      raise request_tensors.invalid("The request names no model: set model_spec.name.")
    versions = self._versions.get(spec.name, {})
    number = self._number(spec)
    usable = {n: version for n, version in versions.items() if not version.error}
    if number is None and usable:
      return usable[max(usable)]
    if number in usable:
      return usable[number]
    raise tf.errors.NotFoundError(None, None, self._not_found(spec.name, number))

  def status(self, spec: model_pb2.ModelSpec) -> list[get_model_status_pb2.ModelVersionStatus]:
    """Returns the state of the version that is asked for, or of all versions of a model.

    Raises:
      NotFoundError: for an unknown model or version.
    """
    versions = self._versions.get(spec.name, {})
    # A label is ignored, as TensorFlow Serving does.
    number = spec.version.value if spec.HasField("version") else None
    if number is not None:
      versions = {number: versions[number]} if number in versions else {}
    if not versions:
      raise tf.errors.NotFoundError(None, None, self._not_found(spec.name, number))
    return [_state(versions[number]) for number in sorted(versions, reverse=True)]

  def has_model(self, name: str) -> bool:
    """Returns whether a model of that name is to be served."""
    return name in self._versions

  def versions(self) -> list[tuple[str, Version]]:
    """Returns every version that is to be served, with its model's name."""
    return [(name, one) for name, versions in self._versions.items() for one in versions.values()]

  def loads(self) -> Iterable[tuple[tuple[str, bool], int]]:
    """Returns how often loading each folder NAME/VERSION succeeded (True), and failed (False)."""
    return list(self._loads.items())

  def _number(self, spec):
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
      return spec.version.value
    if choice == "version_label":
      labels = self._models[spec.name].version_labels if spec.name in self._models else {}
      if spec.version_label not in labels:
        known = ", ".join(sorted(labels)) or "none"
        raise request_tensors.invalid(
          f"Version label {spec.version_label!r} of {spec.name!r} is unknown: there are {known}."
        )
      return labels[spec.version_label]
    return None

  def _not_found(self, name, number):
    if name not in self._versions:
      return (
        f"Model {name!r} is not served: there are {', '.join(sorted(self._versions)) or 'none'}."
      )
    versions = self._versions[name]
    if number in versions:
      return versions[number].error
    usable = (
      ", ".join(str(n) for n, version in sorted(versions.items()) if not version.error) or "none"
    )
    missing = "version that can be served" if number is None else f"version {number}"
    return f"Model {name!r} has no {missing}: there are {usable}."


def _folders(model):
  """Returns the folders {number: folder} of the versions that a model's policy asks for: the newest
  by default.
  """
  base = pathlib.Path(model.base_path)
  folders = (
    {int(entry.name): entry for entry in base.iterdir() if _is_version(entry)}
    if base.is_dir()
    else {}
  )
  policy = model.model_version_policy
  choice = policy.WhichOneof("policy_choice")
  if choice == "specific":
    return {number: folders[number] for number in policy.specific.versions if number in folders}
  count = len(folders) if choice == "all" else policy.latest.num_versions or 1
  return {number: folders[number] for number in sorted(folders)[-count:]}


def _is_version(entry):
  # isdigit alone also accepts digits that int does not, such as a superscript 2.
  digits = entry.name.isascii() and entry.name.isdigit()
  return digits and int(entry.name) <= LARGEST_VERSION and entry.is_dir()


def _state(version):
  states = get_model_status_pb2.ModelVersionStatus
  state = states(version=version.number, state=states.END if version.error else states.AVAILABLE)
  state.status.error_message = version.error
  state.status.error_code = tf.errors.UNKNOWN if version.error else tf.errors.OK
  return state
