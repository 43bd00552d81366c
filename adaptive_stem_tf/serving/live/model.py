"""The exported model that a live scan follows, one scan at a time."""

import os
import pathlib
from typing import Protocol

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.serving import corrector as corrector_lib
from adaptive_stem_tf.serving import edge, extra, local, stepping
from adaptive_stem_tf.serving.live import engines, rules
from adaptive_stem_tf.serving.stepping import Answer

_WARM = 20  # decisions


class Decider(Protocol):
  """A model that decides and completes, one scan at a time."""

  scan: config.ScanGeometry
  filter_sigma: float  # px, of the targets it was trained on

  def start(self) -> Answer:
    """Starts a scan."""

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Decides from a segment's intensities [n] in [-1, 1] and the answer of the call before."""

  def complete(self, partial_scan: np.ndarray) -> np.ndarray:
    """Completes a partial scan [S, S, 2]: returns [S, S]."""


class ExportedModel:
  """A model that `launch.export` wrote, and the engine that runs it.

  Attributes:
    scan: its geometry; `scan.truncate` says whether `step` returns predicted_error.
    filter_sigma: px, of the targets it was trained on.
    engine: the engine that runs it.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    engine: str = rules.TENSORFLOW,
    corrector: str | os.PathLike | None = None,
  ):
    """Reads NAME/VERSION, and calls it a few times, so that the first decisions are no slower than
    the others.

    Args:
      folder: of the SavedModel.
      engine: name of an engine, as `engines.choose` takes it.
      corrector: folder of a SavedModel that completes distorted scans in place of its generator;
        None for none.

    Raises:
      ValueError: if there is no model, `launch.export` did not write it, its path is fixed, or the
        engine is unknown.
      FileNotFoundError: if LiteRT is asked for and the model was exported without its fast path.
      RuntimeError: if the engine is not installed.
    """
    folder = pathlib.Path(folder)
    local.check_folder(folder)
    try:
      experiment = config.Experiment.from_json((folder / extra.FOLDER / "config.json").read_text())
    except (OSError, ValueError, TypeError, AttributeError) as error:
      raise local.ModelError(
        f"model={folder} has no configuration of ours ({str(error).splitlines()[0]}): export it "
        "by `python -m launch.export`."
      ) from error
    if experiment.scan.path != "adaptive":
      raise ValueError(
        f"model={folder} follows a fixed path ({experiment.scan.path}): a live scan needs an actor."
      )
    self.engine = engines.choose(folder, engine)
    self._engine = _load(folder, self.engine.name)
    self.scan, self.filter_sigma = experiment.scan, experiment.data.filter_sigma
    self._complete = (
      corrector_lib.Corrector(corrector, self.scan.image_size) if corrector else self._engine
    ).complete
    for _ in range(_WARM):
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
    return self._complete(np.asarray(partial_scan, np.float32)[None])[0, ..., 0]


def _load(folder: pathlib.Path, name: str) -> stepping.Scanner:
  if name == rules.LITERT:
    return edge.EdgeModel(engines.litert_folder(folder))
  return local.LocalModel(folder)
