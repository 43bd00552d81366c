"""Choices of a live scan: how it goes on, and which engine runs its model."""

import dataclasses

import numpy as np

AUTO, TENSORFLOW, LITERT = ENGINES = ("auto", "tensorflow", "litert")  # decide and complete
LATE = ("repeat", "wait")


@dataclasses.dataclass(frozen=True)
class Rules:
  """How a live scan goes on.

  Raises:
    ValueError: if values are out of range or unknown.
  """

  # If a decision does not come in time: repeat the last direction, mirrored at the field's border,
  # or wait.
  late: str = "repeat"
  deadline: float = (
    0.0  # us after a segment's intensities came; 0 for the time that a segment takes
  )
  stop_below: float = 0.0  # stop when the predicted 10 * MSE falls below; 0 never

  def __post_init__(self):
    if self.late not in LATE:
      raise ValueError(
        f"late={self.late!r} is unknown: choose repeat (go on in the last direction) or wait."
      )
    for name in ("deadline", "stop_below"):
      if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
        raise ValueError(
          f"{name}={getattr(self, name)} is out of range: it must be at least 0 and finite."
        )
