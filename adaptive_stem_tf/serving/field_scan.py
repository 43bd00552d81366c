"""Scans whole fields with an exported model, round by round (docs/FIELDS.md)."""

import collections
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import routes
from adaptive_stem_tf.intensities import IntensityRange
from adaptive_stem_tf.serving import beam as beam_lib
from adaptive_stem_tf.serving import contract, extra, local, served_fields
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.scan_result import FieldProgress

Watcher = Callable[[FieldProgress], None]


class FieldSettings(NamedTuple):
  """How a field is scanned."""

  shape: tuple[int, int]  # (H, W), px
  budget: int  # positions in all
  rounds: int  # after the survey
  seed: int = 0  # of the even pattern
  contiguous: bool = False  # whether the beam is on while it moves, so that it measures its way
  plan_ahead: float = 0.0  # share of a round that is still to come when the next one is planned


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
  ended_by: str | None = None  # why positions are missing; None if none is


class Fields(Protocol):
  """The part of a model that a scan uses."""

  def call(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Calls a signature with arrays."""


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
    self.rounds, self.cell = (int(settings["scan"][name]) for name in ("rounds", "cell"))
    self.survey = float(settings["scan"]["survey"])
    self.filter_sigma = float(settings["data"]["target_sigma"])
    self._loaded = tf.saved_model.load(str(self.folder))

  def call(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Calls a signature with arrays.

    Raises:
      ValueError: if the graph refuses them.
    """
    tensors = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
    try:
      answer = self._loaded.signatures[name](**tensors)
    except tf.errors.InvalidArgumentError as error:
      raise ValueError(f"{name} was refused: {error.message}") from error
    return {key: value.numpy() for key, value in answer.items()}


def scan(
  model: Fields,
  settings: FieldSettings,
  intensities: IntensityRange,
  beam: beam_lib.Beam,
  watch: Watcher | None = None,
  progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> FieldScan:
  """Scans a field: a survey, rounds that the model decides, and the completion of everything.

  With `plan_ahead`, the beam visits the rest of a round, spread over the field, while the next
  one is planned from everything before. The plan leaves out the positions under way, so that every
  round keeps its number of positions, and none is visited twice.

  If the beam is stopped, it has measured less than the budget. The scan so far is completed, and
  `ended_by` says why.

  Args:
    model: decides and completes.
    settings: of the scan.
    intensities: range of the detector's intensities that becomes [-1, 1], of one specimen. If it
      has to be measured, it is that of the survey (with `plan_ahead`, of its first part).
    beam: visits positions.
    watch: called when a round is planned.
    progress: wraps the numbers of survey and rounds, to show progress.

  Raises:
    ValueError: if the budget exceeds the field's pixels, settings disagree, or intensities are not
      finite.
    stop.NotBegunError: if the beam was stopped before the first position.
    stop.IncompleteScan: if anything fails after the first positions; it holds the scan so far.
  """
  _check(settings)
  beam.stop.check()
  known, seconds = _Known(settings, intensities), list[float]()
  failure = None
  try:
    _rounds(model, settings, known, beam, seconds, watch, progress)
  except Exception as error:
    failure = error
  return _completed(model, settings, known, failure or beam.failure, beam, seconds)


def complete(model: Fields, partial: np.ndarray, intensities: IntensityRange) -> FieldScan:
  """Completes a field that was measured before, wherever and in whatever order.

  Args:
    model: completes.
    partial: [H, W], NaN where it was not measured.
    intensities: range of the detector's intensities that becomes [-1, 1]; measured here if unknown.

  Returns:
    The scan, all of it in round 0, its positions row by row.

  Raises:
    ValueError: if nothing was measured, or intensities are infinite.
  """
  mask = ~np.isnan(partial)
  if not mask.any():
    raise ValueError("no pixel of the field was measured: there is nothing to complete.")
  settings = FieldSettings((partial.shape[0], partial.shape[1]), int(mask.sum()), 0)
  known = _Known(settings, intensities)
  known.add(0, np.argwhere(mask), partial[mask])
  return _completed(
    model, settings, known, None, beam_lib.Beam(lambda positions: positions[:, 0]), []
  )


def rehearse(model: Fields, settings: FieldSettings) -> None:
  """Scans a made-up field, so that a beam need not wait for the model's first answers.

  TensorFlow prepares each signature when it is first called, which takes seconds.

  Raises:
    ValueError: if the budget exceeds the field's pixels, or settings disagree.
  """
  ramp = beam_lib.Beam(lambda positions: positions.sum(1) / sum(settings.shape))
  scan(model, settings, IntensityRange(np.zeros(1), np.ones(1)), ramp)


def _rounds(model, settings, known, beam, seconds, watch, progress):
  """Measures the survey and the rounds, until the beam ends."""
  numbers = {
    name: np.array([value], np.int32)
    for name, value in zip(("budget", "rounds", "seed"), settings[1:4])
  }
  sides = {
    name: np.array([side], np.int32) for name, side in zip(("rows", "columns"), settings.shape)
  }
  answer = _timed(seconds, model, "survey", **sides, **numbers)
  parts = _parts(settings, answer["next_positions"][0], known.mask, 0)
  _submit(beam, parts)
  for number in progress(range(settings.rounds + 1)):
    first, rest = parts
    known.add(number, first, beam.collect())
    if number < settings.rounds and not beam.ended:
      fields = known.tensors()
      state = {name: value for name, value in answer.items() if name.startswith("state_")}
      if number == 0:
        # No completion was before the survey that its intensities could surprise: none is recent.
        state["state_mask"] = fields["mask"]
      which = np.array([number + 1], np.int32)
      answer = _timed(seconds, model, "plan", **fields, round_number=which, **numbers, **state)
      positions = _without(answer["next_positions"][0], rest, settings.shape)
      parts = _parts(settings, positions, known.mask, number + 1)
      _submit(beam, parts)
      if watch:
        watch(known.progress(answer, list(seconds)))
    if len(rest):
      known.add(number, rest, beam.collect())
    if beam.ended:
      break


def _completed(model, settings, known, failure, beam, seconds):
  """Completes a scan, also one that ended early or failed.

  Raises:
    stop.IncompleteScan: if the scan failed after its first positions.
  """
  if not known.mask.any():
    if failure:
      raise failure
    beam.stop.check()
  try:
    answer = _timed(seconds, model, "complete", **known.tensors())
  except Exception:
    if not failure:
      raise
    # The measured intensities are worth more than another error: they go out without a completion.
    answer = collections.defaultdict(lambda: np.full([1, *settings.shape, 1], np.nan, np.float32))
  ended_by = beam.stop.reason if known.mask.sum() < settings.budget else None
  result = known.result(answer, seconds, str(failure) if failure else ended_by)
  if failure:
    raise stop_lib.IncompleteScan(failure, result) from failure
  return result


def _check(settings):
  if not 0 <= settings.plan_ahead < 1:
    raise ValueError(
      f"plan_ahead={settings.plan_ahead:g} is out of range: it is a share of a round, of 0 to "
      "below 1."
    )
  if settings.plan_ahead and settings.contiguous:
    raise ValueError(
      f"plan_ahead={settings.plan_ahead:g} and contiguous=True disagree: the rest of a round is "
      "spread over the field, where a beam that is on has been already; leave one out."
    )


def _parts(settings, positions, mask, number):
  """Splits a round's positions into those measured before the next round is planned, and the rest.

  Each is in order of time; the rest lies along the way back.
  """
  if settings.contiguous:
    return routes.through(positions, mask), positions[:0]
  share = settings.plan_ahead if number < settings.rounds else 0.0
  count = min(round(share * len(positions)), len(positions) - 1)
  rest = routes.thinned(positions, settings.shape, count) if count else positions[:0]
  first = positions[~routes.among(positions, rest, settings.shape)]
  return routes.serpentine(first, settings.shape), rest[::-1]


def _submit(beam, parts):
  for positions in parts:
    if len(positions):
      beam.submit(positions)


def _without(planned, coming, shape):
  """Returns planned positions without those that are under way, `coming`.

  Positions under way count towards the plan. If some of them were not planned, as many planned
  ones are left out instead.
  """
  others = planned[~routes.among(planned, coming, shape)]
  return routes.thinned(others, shape, len(planned) - len(coming))


class _Known:
  """The measurements so far."""

  def __init__(self, settings: FieldSettings, intensities: IntensityRange):
    self._partial, self.mask = np.zeros(settings.shape), np.zeros(settings.shape, bool)
    self._intensities = intensities
    # Positions [n, 2] px, intensities [n] and round [n] of each part, in order of time.
    self._route: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

  def add(self, number, positions, values):
    """Adds the intensities at the first, or all, positions [N, 2] px of a round."""
    values = np.asarray(values, np.float64)
    positions = positions[: len(values)]
    if not len(values):
      return
    if not np.isfinite(values).all():
      raise ValueError(f"round {number} measured intensities that are not finite: scan again.")
    if not self._route:
      self._intensities = self._intensities.update(values[None])
    self._partial[tuple(positions.T)], self.mask[tuple(positions.T)] = values, True
    self._route.append((positions, values, np.full(len(positions), number)))

  def tensors(self):
    """Returns the field as inputs of signatures."""
    mask = self.mask[None, ..., None].astype(np.float32)
    unit = self._intensities.to_unit(self._partial[None, ..., None])
    return {"partial_field": unit * mask, "mask": mask}

  def progress(self, answer, seconds) -> FieldProgress:
    """Returns the field as an answer of `plan` or `complete` estimates it."""
    low, high = (float(end[0]) for end in (self._intensities.low, self._intensities.high))
    return FieldProgress(
      self._back(answer, "completion"),
      answer["standard_deviation"][0, ..., 0] * np.float32((high - low) / 2),
      (low, high),
      seconds,
    )

  def result(self, answer, seconds, ended_by) -> FieldScan:
    """Returns the scan, completed by an answer of `complete`."""
    progress = self.progress(answer, seconds)
    positions, intensities, numbers = (np.concatenate(parts) for parts in zip(*self._route))
    return FieldScan(
      positions,
      intensities,
      numbers,
      self._partial.astype(np.float32),
      self.mask,
      progress.completion,
      progress.uncertainty,
      self._back(answer, "interpolation"),
      progress.black_and_white,
      seconds,
      ended_by,
    )

  def _back(self, answer, name):
    return self._intensities.from_unit(answer[name])[0, ..., 0]


def _timed(seconds, model, name, **inputs):
  began = time.perf_counter()
  answer = model.call(name, **inputs)
  seconds.append(time.perf_counter() - began)
  return answer
