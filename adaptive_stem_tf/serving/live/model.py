"""The exported model that a live scan follows, and how intensities are mapped for it (METHOD decision 13)."""

import os
import pathlib
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config

Answer = dict[str, np.ndarray]  # outputs of start or step: state_*, positions, angle, predicted_error; each [1, ...]
_SIGNATURES = ("start", "step", "complete")


class Engine(Protocol):
  """What runs an exported model, here with batches of one."""

  def start(self, count: int) -> Answer:
    """Starts scans."""

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Takes intensities [1, n] float32 in [-1, 1], and what the call before returned."""

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes partial scans [1, S, S, 2] float32: returns [1, S, S, 1]."""


class Decider(Protocol):
  """What decides and completes, one scan at a time."""

  scan: config.Scan
  filter_sigma: float  # px, of the targets it was trained on

  def start(self) -> Answer:
    """Starts a scan."""

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Takes the intensities [n] in [-1, 1] of a segment, and what the call before returned."""

  def complete(self, partial_scan: np.ndarray) -> np.ndarray:
    """Completes a partial scan [S, S, 2]: returns [S, S]."""


class ExportedModel:
  """A model that `launch.export` wrote, and what runs it.

  Attributes:
    scan: its geometry; `scan.truncate` says whether `step` returns predicted_error.
    filter_sigma: px, of the targets it was trained on.
  """

  def __init__(self, folder: str | os.PathLike, engine: Engine | None = None):
    """Reads NAME/VERSION, and calls it once, so that the first decision is no slower than the others.

    Args:
      folder: of the SavedModel.
      engine: what runs it; None for TensorFlow in this process.

    Raises:
      ValueError: if there is no model, it is not one of ours, or its path is fixed.
    """
    folder = pathlib.Path(folder)
    try:
      experiment = config.Experiment.from_json((folder / "assets.extra" / "config.json").read_text())
      self._engine: Engine = engine or InProcess(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
      raise ValueError(f"model={folder} is no exported model ({str(error).splitlines()[0]}): give a folder "
                       "NAME/VERSION that `python -m launch.export` wrote.") from error
    if experiment.scan.path != "adaptive":
      raise ValueError(f"model={folder} follows a fixed path ({experiment.scan.path}): a live scan needs an actor.")
    self.scan, self.filter_sigma = experiment.scan, experiment.data.filter_sigma
    self.step(np.zeros(self.scan.probes), self.start())
    self.complete(np.zeros([self.scan.image_size, self.scan.image_size, 2]))

  def start(self) -> Answer:
    """Starts a scan."""
    return self._engine.start(1)

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Decides; arguments and results as `Decider.step`."""
    return self._engine.step(np.asarray(observation, np.float32)[None], answer)

  def complete(self, partial_scan: np.ndarray) -> np.ndarray:
    """Completes a partial scan [S, S, 2]: returns [S, S]."""
    return self._engine.complete(np.asarray(partial_scan, np.float32)[None])[0, ..., 0]


class InProcess:
  """TensorFlow, in this process."""

  def __init__(self, folder: pathlib.Path):
    """Loads a SavedModel.

    Raises:
      ValueError: if it has not the signatures of one of ours.
    """
    self._loaded = tf.saved_model.load(str(folder))
    missing = [name for name in _SIGNATURES if name not in self._loaded.signatures]
    if missing:
      raise ValueError(f"it has no signature {', '.join(missing)}")

  def start(self, count: int) -> Answer:
    """Starts scans."""
    return _arrays(self._loaded.signatures["start"](scan_id=tf.range(count, dtype=tf.int64)))

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Decides; arguments and results as `Engine.step`."""
    state = {name: tf.constant(value) for name, value in answer.items() if name.startswith("state_")}
    return _arrays(self._loaded.signatures["step"](observation=tf.constant(observation), **state))

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes; arguments and results as `Engine.complete`."""
    return self._loaded.signatures["complete"](partial_scan=tf.constant(partial_scans))["completion"].numpy()


class Scale(NamedTuple):
  """A linear map of intensities: low becomes -1, high 1."""

  low: float
  high: float

  def to_unit(self, values: np.ndarray) -> np.ndarray:
    """Maps intensities; 0 where low and high are the same. Nothing is clipped."""
    if not self.high > self.low:
      return np.zeros_like(values, dtype=np.float64)
    return 2 * (np.asarray(values, np.float64) - self.low) / (self.high - self.low) - 1

  def from_unit(self, values: np.ndarray) -> np.ndarray:
    """Maps back."""
    return self.low + (np.asarray(values, np.float64) + 1) / 2 * (self.high - self.low)


class IntensityRange:
  """A known range, or else that of the probes measured so far, frozen after the first segment whose probes differ."""

  def __init__(self, known: tuple[float, float] | None = None):
    """Takes a calibration, the intensities of black and white.

    Raises:
      ValueError: if it is not finite, or black is not below white.
    """
    if known is not None and not (np.isfinite(known).all() and known[0] < known[1]):
      raise ValueError(f"intensity_range={known[0]:g},{known[1]:g} is no range: give black first, then white, such as "
                       "0,65535.")
    self.known = known is not None
    self.scale = Scale(*known) if known else Scale(np.inf, -np.inf)

  def take(self, intensities: np.ndarray) -> np.ndarray:
    """Takes in the intensities [n] of a segment; returns them mapped to [-1, 1]."""
    if not self.scale.high > self.scale.low:
      self.scale = Scale(min(self.scale.low, float(intensities.min())), max(self.scale.high, float(intensities.max())))
    return self.scale.to_unit(intensities)


def _arrays(tensors):
  return {name: tensor.numpy() for name, tensor in tensors.items()}
