"""Requests decisions and completions from a server, over gRPC or HTTP.

  client = connect("grpc://localhost:8500", "small")
  scans = client.drive(images)                      # scans all of them, segment by segment, in
  batches completions = client.complete(partial_scans)

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


class Settings(NamedTuple):
  """How patient a client is.

  Attributes:
    timeout: of one attempt, s.
    attempts: how often a call is tried while the server is unavailable.
    batch: most scans sent in one call.
  """

  timeout: float = 10.0
  attempts: int = 5
  batch: int = 32


DEFAULTS = Settings()


class RequestError(ServingError):
  """A request that the client refuses to send: what is wrong with it is said."""


def connect(
  server: str,
  model: str,
  version: int | None = None,
  label: str | None = None,
  settings: Settings = DEFAULTS,
) -> "Client":
  """Connects to a model of a server.

  Args:
    server: grpc://HOST:PORT or http://HOST:PORT.
    model: its name.
    version: its version; None for the newest, or what `label` names.
    label: of a version, such as `stable`; None for `version`.
    settings: timeouts and retries.

  Raises:
    ValueError: if the address is malformed, or both version and label are given.
  """
  if version is not None and label is not None:
    raise ValueError(f"version={version} and label={label!r} disagree: give one of them.")
  url = urllib.parse.urlsplit(server)
  if url.scheme not in ("grpc", "http", "https") or not url.netloc:
    raise ValueError(f"server={server!r} is malformed: give grpc://HOST:PORT or http://HOST:PORT.")
  which = transport.Which(model, version, label)
  return Client(
    transport.Grpc(url.netloc, which) if url.scheme == "grpc" else transport.Rest(server, which),
    settings,
  )


class Client:
  """A model on a server.

  Args:
    channel: to the server.
    settings: timeouts and retries.
    sleep: waits, s.
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

  def status(self) -> list[transport.Status]:
    """Returns the state of the model's versions, or of the one that is asked for."""
    return self._retry(lambda: self._channel.status(self._settings.timeout))

  def signatures(self) -> dict[str, contract.Signature]:
    """Returns what the model offers; asked for once."""
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
    """Starts scans: returns their state and the positions [count, n, 2] px of their first
    segment.
    """
    return self.predict("start", scan_id=np.arange(count, dtype=np.int64))

  def step(self, observation: np.ndarray, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Requests the next segment.

    Args:
      observation: [B, n], what was measured at the last answer's positions.
      answer: the last answer, whose state is handed back.

    Returns:
      State, angles [B, 1] rad and positions [B, n, 2] px.
    """
    state = {name: value for name, value in answer.items() if name.startswith(_STATE)}
    return self.predict("step", observation=observation, **state)

  def scan(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Requests scans of whole images [B, S, S, 1]: path, partial_scan and completion."""
    return self.predict("scan", image=images)

  def drive(self, images: np.ndarray, normalise: str = "image") -> stepping.Scan:
    """Scans images [B, S, S, 1] here, asking the server after each segment, and has them completed.

    Args:
      images: in [-1, 1].
      normalise: as the model was trained (`stepping.scan_images`).
    """
    return stepping.scan_images(self, images, self.geometry, normalise)

  def _checked(self, name, inputs):
    try:
      contract.check_known(name, self.signatures())
      signature = self.signatures()[name]
      dtypes = {key: tensor.dtype.as_numpy_dtype for key, tensor in signature.inputs.items()}
      arrays = {key: np.asarray(value, dtypes.get(key)) for key, value in inputs.items()}
      contract.check(name, signature, arrays)
    except ValueError as error:  # also what NumPy says of lists that are ragged
      raise RequestError(str(error)) from None
    for key, array in arrays.items():
      _check_finite(key, array)
    return arrays

  def _retry(self, call):
    """Calls; while the server is unavailable, again after pauses that double, up to a limit and a
    random half less.
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
