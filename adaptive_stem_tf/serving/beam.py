"""A beam that visits the positions of a whole field, as `field_scan.scan` asks it to."""

import collections
from collections.abc import Callable

import numpy as np

from adaptive_stem_tf.serving import stop as stop_lib

Measure = Callable[[np.ndarray], np.ndarray]  # positions [N, 2] px in order -> intensities [N]


class Beam:
  """A beam that visits positions in the order in which they are submitted.

  This one measures positions when their intensities are collected; others move on by themselves.

  Attributes:
    stop: whether it is to stop, and why; it then visits no more positions.
    failure: the error that ended it; None as long as there is none.
  """

  def __init__(self, measure: Measure):
    self._measure = measure
    self.stop = stop_lib.Stop()
    self.failure: Exception | None = None
    self._submitted: collections.deque[np.ndarray] = collections.deque()

  @property
  def ended(self) -> bool:
    """Whether it visits no more positions."""
    return bool(self.stop or self.failure)

  def submit(self, positions: np.ndarray) -> None:
    """Queues positions [N, 2] px, to be visited as soon as those before them are."""
    self._submitted.append(positions)

  def collect(self) -> np.ndarray:
    """Returns the intensities [N] of the oldest positions submitted, once they are measured.

    They are fewer, those of the first positions, if the beam was stopped or failed meanwhile.
    """
    positions = self._submitted.popleft()
    return np.empty(0) if self.ended else self._measure(positions)
