"""Requests decisions and completions from a server, over gRPC or HTTP.

  client = connect("grpc://localhost:8500", "small")
  scans = client.drive(images)  # scans all of them, segment by segment, in batches
  completions = client.complete(partial_scans)

The server is TensorFlow Serving or `serving.server`: the protocol is the same. Needs
tensorflow-serving-api (extra `serving`).
"""

import random
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.serving import contract, stepping, transport
from adaptive_stem_tf.serving.geometry import Geometry
from adaptive_stem_tf.serving.transport import ServingError, Unavailable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # s, between attempts
_STATE = "state_"
_VERSION = "model_version"  # of the answers of `start` and `step`


class Settings(NamedTuple):
  """Timeouts, retries and batches of a client.

  Attributes:
    timeout: of one attempt, s.
    attempts: number of times that a call is tried while the server is unavailable.
    batch: greatest number of scans sent in one call.
  """

  timeout: float = 10.0
  attempts: int = 5
  batch: int = 32


DEFAULTS = Settings()


class RequestError(ServingError):
  """A request that the client refuses to send."""


def connect(
  server: str,
  model: str,
  version: int | None = None,
  label: str | None = None,
  settings: Settings = DEFAULTS,
  security: transport.Security = transport.OPEN,
) -> "Client":
  """Connects to a model of a server.

  Args:
    server: grpc://HOST:PORT or http://HOST:PORT, with TLS grpcs:// or https://.
    model: its name.
    version: its version; None for the newest, or the one that `label` names.
    label: of a version, such as `stable`; None for `version`.
    settings: timeouts and retries.
    security: certificates, and metadata that are sent with every request.

  Raises:
    ValueError: if the address is malformed, both version and label are given, or certificates are
      missing or given for a server without TLS.
  """
  if version is not None and label is not None:
    raise ValueError(f"version={version} and label={label!r} disagree: give one of them.")
  url = urllib.parse.urlsplit(server)
  if url.scheme not in ("grpc", "grpcs", "http", "https") or not url.netloc:
    raise ValueError(
      f"server={server!r} is malformed: give grpc://HOST:PORT or http://HOST:PORT, or grpcs:// or "
      "https:// for TLS."
    )
  security.check()
  encrypted = url.scheme in ("grpcs", "https")
  if not encrypted and any(security[:3]):
    raise ValueError(
      f"server={server!r} has no TLS, and certificates are given: give grpcs:// or https://."
    )
  which = transport.Which(model, version, label)
  channel: transport.Transport = (
    transport.Grpc(url.netloc, which, security if encrypted else None, security.metadata)
    if url.scheme.startswith("grpc")
    else transport.Rest(server, which, security)
  )
  client = Client(channel, settings)
  client.version = version
  return client


class Client:
  """A model on a server.

  Args:
    channel: to the server.
    settings: timeouts and retries.
    sleep: waits for a time in s.

  Attributes:
    version: of the model that it is pinned to; None if the newest, or the labelled one, answers.
  """

  def __init__(
    self,
    channel: transport.Transport,
    settings: Settings = DEFAULTS,
    sleep: Callable[[float], None] = time.sleep,
  ):
    if settings.attempts < 1 or settings.batch < 1 or not settings.timeout > 0:
      raise ValueError(
        f"{settings} is out of range: at least one attempt, a batch of one and a timeout above 0 s."
      )
    self._channel, self._settings, self._sleep = channel, settings, sleep
    self._known: dict[str, contract.Signature] = {}
    self._pinned: dict[int, Client] = {}
    self.version: int | None = None

  def status(self) -> list[transport.Status]:
    """Returns the state of the model's versions, or of the pinned one."""
    return self._retry(lambda: self._channel.status(self._settings.timeout))

  def signatures(self) -> dict[str, contract.Signature]:
    """Returns the model's signatures, which are requested only once."""
    if not self._known:
      self._known = self._retry(lambda: self._channel.signatures(self._settings.timeout))
    return self._known

  @property
  def geometry(self) -> Geometry:
    """Segments, probing positions and size of the scans that the model makes."""
    offered = self.signatures()
    missing = sorted({"start", "step", "scan", "complete"} - set(offered))
    if missing:
      raise RequestError(
        f"The model has no signature {', '.join(missing)}: it was not exported by launch.export."
      )
    return stepping.geometry_of(offered)

  def predict(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a signature on a batch of any size, split into calls of at most `settings.batch`
    examples.

    Args:
      signature: its name.
      **inputs: its tensors, batch first.

    Raises:
      RequestError: if tensors are missing, of other shapes, or not finite; nothing is sent.
      transport.NotFound: if the server has no such model or version.
      transport.BadRequest: if the server refuses the request.
      transport.Unavailable, transport.Timeout: if the server does not answer.
    """
    arrays = self._checked(signature, inputs)
    batch = len(next(iter(arrays.values())))
    parts = [
      self._retry(lambda part=part: self._channel.predict(signature, part, self._settings.timeout))
      for part in _split(arrays, batch, self._settings.batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes partial scans [B, S, S, 2]; returns [B, S, S, 1]."""
    return self.predict("complete", partial_scan=partial_scans)["completion"]

  def start(self, count: int) -> dict[str, np.ndarray]:
    """Starts scans.

    Returns:
      Their state, the positions [count, n, 2] px of their first segment, and the version of the
      model [count], to which the state belongs.
    """
    pinned = self.pinned()
    answer = pinned.predict("start", scan_id=np.arange(count, dtype=np.int64))
    return {**answer, _VERSION: np.full(count, pinned.version)}

  def step(self, observation: np.ndarray, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Requests the next segment, from the version of the model that answered `start`.

    Args:
      observation: [B, n], intensities measured at the last answer's positions.
      answer: the last answer, whose state is sent back.

    Returns:
      State, angles [B, 1] rad, positions [B, n, 2] px, and the version of the model [B].

    Raises:
      RequestError: if the answers of several versions are joined.
      transport.NotFound: if that version is no longer served: start the scans again.
    """
    state = {name: value for name, value in answer.items() if name.startswith(_STATE)}
    versions = np.unique(answer.get(_VERSION, np.empty(0, int)))
    if len(versions) > 1:
      raise RequestError(
        f"The scans were started by versions {', '.join(map(str, versions))}: a state is of use to "
        "the version that it came from alone; ask for each by itself."
      )
    pinned = self._at(int(versions[0])) if len(versions) else self.pinned()
    next_answer = pinned.predict("step", observation=observation, **state)
    return {**next_answer, _VERSION: np.full(len(observation), pinned.version)}

  def pinned(self) -> "Client":
    """Returns a client of the version that answers now, which stays when another takes over.

    The recurrent state of one version means nothing to another.
    """
    if self.version is not None:
      return self
    return self._at(self._retry(lambda: self._channel.version(self._settings.timeout)))

  def _at(self, version):
    if version == self.version:
      return self
    if version not in self._pinned:
      client = Client(self._channel.at(version), self._settings, self._sleep)
      client.version = version
      self._pinned = {version: client}  # only one: earlier versions are not asked any more
    return self._pinned[version]

  def scan(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Requests scans of whole images [B, S, S, 1]: path, partial_scan and completion."""
    return self.predict("scan", image=images)

  def drive(self, images: np.ndarray, normalise: str = "image") -> stepping.Scan:
    """Scans images [B, S, S, 1] here, with decisions and completions of the server.

    One version of the model answers throughout.

    Args:
      images: in [-1, 1].
      normalise: as the model was trained (`stepping.scan_images`).
    """
    pinned = self.pinned()
    return stepping.scan_images(pinned, images, pinned.geometry, normalise)

  def _checked(self, name, inputs):
    try:
      contract.check_known(name, self.signatures())
      signature = self.signatures()[name]
      dtypes = {key: tensor.dtype.as_numpy_dtype for key, tensor in signature.inputs.items()}
      arrays = {key: np.asarray(value, dtypes.get(key)) for key, value in inputs.items()}
      contract.check(name, signature, arrays)
    except ValueError as error:  # also NumPy's error for ragged lists
      raise RequestError(str(error)) from None
    for key, array in arrays.items():
      _check_finite(key, array)
    return arrays

  def _retry(self, call):
    """Calls; while the server is unavailable, calls again after a pause.

    Pauses double up to a limit, and are shortened by up to a half at random, so that clients do not
    all come back at once.
    """
    for attempt in range(1, self._settings.attempts + 1):
      try:
        return call()
      except Unavailable as error:
        if attempt == self._settings.attempts:
          raise Unavailable(
            f"{error} Tried {attempt} times: start the server, or check address and port."
          ) from None
      pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
      self._sleep(pause * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable: at least one attempt is made")


def _check_finite(key: str, array: np.ndarray) -> None:
  if np.issubdtype(array.dtype, np.floating):
    bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
    if len(bad):
      raise RequestError(
        f"{key} has values that are not finite in example {bad[0]} ({len(bad)} of {len(array)} "
        "examples): leave these out, or measure again."
      )


def _split(arrays: dict[str, np.ndarray], batch: int, most: int) -> list[dict[str, Any]]:
  return [
    {name: array[first : first + most] for name, array in arrays.items()}
    for first in range(0, batch, most)
  ]
