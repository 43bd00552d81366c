"""Computes the requests of many clients together.

A network takes hardly longer for eight scans than for one, so a server that many microscopes ask
computes the requests that wait together. None waits for company: a request that finds nothing under
way is computed at once, and those that arrive meanwhile are the next batch.
"""

import collections
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Tensors = Mapping[str, np.ndarray]


class _Request:
  """A request, and its answer once there is one."""

  def __init__(self, inputs: Tensors):
    self.inputs = inputs
    self.size = len(next(iter(inputs.values())))
    self.key = tuple(sorted((name, value.shape[1:]) for name, value in inputs.items()))
    self.answer: Tensors | None = None
    self.error: Exception | None = None
    self.woken = threading.Event()  # answered, or the next to compute a batch

  @property
  def is_answered(self) -> bool:
    return self.answer is not None or self.error is not None


class Batcher:
  """Runs a function of tensors [B, ...] for many threads, on the examples of all that wait.

  Args:
    run: computes the outputs [B, ...] of a batch; called by one thread at a time.
    most: examples that are computed together; a request that has more is computed by itself.
  """

  def __init__(self, run: Callable[[Tensors], Tensors], most: int):
    self._run, self._most = run, most
    self._lock = threading.Lock()
    self._is_running = False
    self._waiting: collections.deque[_Request] = collections.deque()

  def __call__(self, inputs: Tensors) -> Tensors:
    """Returns the outputs for inputs [B, ...].

    Raises:
      Exception: what the function raises for these inputs alone.
    """
    request = _Request(inputs)
    with self._lock:
      leads, self._is_running = not self._is_running, True
      if not leads:
        self._waiting.append(request)
    if not leads:
      request.woken.wait()
    if not request.is_answered:
      self._compute(self._batch_of(request))
    if request.error is not None:
      raise request.error
    assert request.answer is not None
    return request.answer

  def _batch_of(self, first: _Request) -> list[_Request]:
    """Takes what waits and fits with the first request, in the order in which it came."""
    batch, size = [first], first.size
    with self._lock:
      for request in list(self._waiting):
        if request.key == first.key and size + request.size <= self._most:
          self._waiting.remove(request)
          batch.append(request)
          size += request.size
    return batch

  def _compute(self, batch: Sequence[_Request]) -> None:
    """Answers requests, and hands over to the one that has waited longest."""
    try:
      self._answer(batch)
    finally:
      with self._lock:
        following = self._waiting.popleft() if self._waiting else None
        self._is_running = following is not None
      for request in batch[1:]:
        request.woken.set()
      if following is not None:
        following.woken.set()

  def _answer(self, batch: Sequence[_Request]) -> None:
    if len(batch) > 1:
      names = batch[0].inputs
      joined = {name: np.concatenate([one.inputs[name] for one in batch]) for name in names}
      try:
        outputs = self._run(joined)
      except Exception:  # one request's fault is none of the others': each by itself
        pass
      else:
        ends = np.cumsum([request.size for request in batch])
        for request, end in zip(batch, ends, strict=True):
          part = slice(end - request.size, end)
          request.answer = {name: value[part] for name, value in outputs.items()}
        return
    for request in batch:
      try:
        request.answer = self._run(request.inputs)
      except Exception as error:
        request.error = error
