"""Scans whole fields with an exported model, round by round (docs/FIELDS.md)."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import routes
from adaptive_stem_tf.intensities import IntensityRange
from adaptive_stem_tf.serving import contract, extra, local, served_fields

Measure = Callable[[np.ndarray], np.ndarray]  # positions [N, 2] px in order -> intensities [N]
Watcher = Callable[[np.ndarray, int], None]  # completion [H, W] in [-1, 1], rounds done


class FieldSettings(NamedTuple):
  """How a field is scanned."""

  shape: tuple[int, int]  # (H, W), px
  budget: int  # positions in all
  rounds: int  # after the survey
  seed: int = 0  # of the even pattern


class FieldScan(NamedTuple):
  """The scan of a field, in the detector's units."""

  positions: np.ndarray  # [N, 2] px, in order of time
  intensities: np.ndarray  # [N]
  numbers: np.ndarray  # [N] int, 0 for the survey, then the round
  partial: np.ndarray  # [H, W], 0 where not measured
  mask: np.ndarray  # [H, W] bool
  completion: np.ndarray  # [H, W]
  uncertainty: np.ndarray  # [H, W] standard deviation of the completion's error
  interpolation: np.ndarray  # [H, W] without any network
  black_and_white: tuple[float, float]  # the intensities that became -1 and 1
  seconds: list[float]  # of computing: the survey, each round, the last completion


class ExportedFields:
  """A SavedModel that scans whole fields.

  Args:
    folder: NAME/VERSION.

  Raises:
    local.ModelError: if there is none, or it does not scan fields.
  """

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)
    local.check_folder(self.folder)
    missing = set(served_fields.SIGNATURES) - set(
      contract.of_protos(extra.read_protos(self.folder))
    )
    if missing:
      raise local.ModelError(
        f"model={folder} has no signature {', '.join(sorted(missing))}: it does not scan whole "
        "fields; export a run of launch.train_fields."
      )
    settings = json.loads((self.folder / extra.FOLDER / "config.json").read_text())
    self.rounds = int(settings["scan"]["rounds"])
    self.filter_sigma = float(settings["data"]["target_sigma"])
    self._loaded = tf.saved_model.load(str(self.folder))

  def call(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Calls a signature with arrays.

    Raises:
      ValueError: for what the graph refuses.
    """
    tensors = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
    try:
      answer = self._loaded.signatures[name](**tensors)
    except tf.errors.InvalidArgumentError as error:
      raise ValueError(f"{name} was refused: {error.message}") from error
    return {key: value.numpy() for key, value in answer.items()}


def scan(
  model: ExportedFields,
  settings: FieldSettings,
  intensities: IntensityRange,
  measure: Measure,
  watch: Watcher | None = None,
  progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> FieldScan:
  """Scans a field: a survey, rounds that the model decides, and the completion of everything.

  Args:
    model: decides and completes.
    settings: of the scan.
    intensities: how the detector's are mapped, those of one specimen; the survey's count where
      the range has to be measured.
    measure: moves the beam along positions, those of a round in serpentine order.
    watch: called with the completion before each round.
    progress: wraps the numbers of survey and rounds, to show how far the scan is.

  Raises:
    ValueError: for a budget beyond the field's pixels, or intensities that are not finite.
  """
  partial, route = np.zeros([*settings.shape], np.float64), []
  seconds: list[float] = []
  numbers = {
    name: np.array([value], np.int32)
    for name, value in zip(("budget", "rounds", "seed"), settings[1:])
  }
  sides = {
    name: np.array([side], np.int32) for name, side in zip(("rows", "columns"), settings.shape)
  }
  answer = _timed(seconds, model, "survey", **sides, **numbers)
  for number in progress(range(settings.rounds + 1)):
    positions = routes.serpentine(answer["next_positions"][0], settings.shape)
    values = np.asarray(measure(positions), np.float64)
    if not np.isfinite(values).all():
      raise ValueError(f"round {number} measured intensities that are not finite: scan again.")
    partial[tuple(positions.T)] = values
    route.append((positions, values))
    intensities = intensities.update(values[None]) if number == 0 else intensities
    mask = answer["next_mask"]
    known = {"partial_field": intensities.to_unit(partial[None, ..., None]) * mask, "mask": mask}
    if number < settings.rounds:
      state = {name: value for name, value in answer.items() if name.startswith("state_")}
      which = np.array([number + 1], np.int32)
      answer = _timed(seconds, model, "plan", **known, round_number=which, **numbers, **state)
      if watch:
        watch(answer["completion"][0, ..., 0], number)
  answer = _timed(seconds, model, "complete", **known)
  return _result(route, partial, mask, answer, intensities, seconds)


def _timed(seconds, model, name, **inputs):
  began = time.perf_counter()
  answer = model.call(name, **inputs)
  seconds.append(time.perf_counter() - began)
  return answer


def _result(route, partial, mask, answer, intensities, seconds):
  low, high = float(intensities.low[0]), float(intensities.high[0])
  back = lambda name: intensities.from_unit(answer[name])[0, ..., 0]
  return FieldScan(
    np.concatenate([positions for positions, _ in route]),
    np.concatenate([values for _, values in route]),
    np.repeat(np.arange(len(route)), [len(positions) for positions, _ in route]),
    partial.astype(np.float32),
    mask[0, ..., 0] > 0,
    back("completion"),
    answer["standard_deviation"][0, ..., 0] * np.float32((high - low) / 2),
    back("interpolation"),
    (low, high),
    seconds,
  )
