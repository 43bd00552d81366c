"""Latency of planning and completing whole fields, by the SavedModel and by LiteRT."""

import pathlib
import time
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import intensities
from adaptive_stem_tf.serving import field_litert, field_request, field_scan

_FINEST = 16  # px, of the structure of fields that are scanned


class _Request(NamedTuple):
  """A call of a signature."""

  name: str
  inputs: dict[str, np.ndarray]
  answer: dict[str, np.ndarray]
  times: tuple[float, float]  # s: by the clock, and of the processor (of all threads together)


class _Recorder:
  """A model that keeps its requests and answers."""

  def __init__(self, model: field_scan.Fields):
    self._model = model
    self.requests: list[_Request] = []

  def call(self, name, **inputs):
    """Calls a signature."""
    began, worked = time.perf_counter(), time.process_time()
    answer = self._model.call(name, **inputs)
    times = time.perf_counter() - began, time.process_time() - worked
    self.requests.append(_Request(name, inputs, answer, times))
    return answer


def measure(
  model: field_scan.ExportedFields, side: int, coverage: float, scans: int
) -> dict[str, dict[str, float]]:
  """Times scans of a square field, as `field_scan.scan` makes them.

  Args:
    model: plans and completes.
    side: of the field, px.
    coverage: share of the pixels that is measured.
    scans: number of scans that are timed, after one that warms up.

  Returns:
    For `survey`, `plan` (one round), `complete` and `scan` (all of them), in ms: min, median and
    max; `processor`, the least processor time, which other work on the cores hardly changes.
  """
  requests = [_scan(model, model.rounds, side, coverage) for _ in range(1 + scans)][1:]
  times = np.array([[one.times for one in scan] for scan in requests])
  return {
    "survey": _summary(times[:, 0]),
    "plan": _summary(times[:, 1:-1]),
    "complete": _summary(times[:, -1]),
    "scan": _summary(times.sum(1)),
  }


def measure_fast(
  folder: pathlib.Path, model: field_scan.ExportedFields, coverage: float, repeats: int
) -> dict[str, Any]:
  """Times LiteRT on the requests of a scan by the SavedModel, and compares the answers.

  Args:
    folder: of plan.tflite and complete.tflite.
    model: that they were converted from.
    coverage: share of the pixels that is measured.
    repeats: number of times that each request is timed, after one that warms up.

  Returns:
    For `plan` and `complete`, in ms, min, median, max and processor; `side`, px;
    `other_positions`, the greatest share of a round's positions that differ; `difference`, the
    greatest of completions.
  """
  fast = field_litert.FastFields(folder)
  recorder = _Recorder(fast)
  times: dict[str, list[tuple[float, float]]] = {"plan": [], "complete": []}
  others, differences = [0.0], []
  for name, inputs, expected, _ in _scan(model, model.rounds, fast.side, coverage):
    if name not in times:
      continue
    answer = fast.call(name, **inputs)
    differences.append(float(np.abs(answer["completion"] - expected["completion"]).max()))
    if name == "plan":
      new = expected["next_mask"] - inputs["mask"]
      others.append(float((answer["next_mask"] < new).sum() / new.sum()))
    for _ in range(repeats):
      recorder.call(name, **inputs)
      times[name].append(recorder.requests.pop().times)
  return {
    **{name: _summary(np.array(values)) for name, values in times.items()},
    "side": fast.side,
    "other_positions": max(others),
    "difference": max(differences),
  }


def _scan(model, rounds, side, coverage):
  """Scans a smooth random field; returns the requests."""
  random = np.random.default_rng(0)
  coarse = random.uniform(-1, 1, [side // _FINEST + 1] * 2)
  image = np.kron(coarse, np.ones([_FINEST, _FINEST]))[:side, :side]
  settings = field_scan.FieldSettings(image.shape, round(coverage * image.size), rounds)
  known = intensities.IntensityRange(np.array([-1.0]), np.array([1.0]))
  beam = field_request.reader(image, None, 0)
  recorder = _Recorder(model)
  field_scan.scan(recorder, settings, known, beam)
  return recorder.requests


def _summary(seconds):
  """Summarises times [..., 2] s, by the clock and of the processor."""
  ms, processor = np.moveaxis(1000 * seconds, -1, 0)
  return {
    "min": float(ms.min()),
    "median": float(np.median(ms)),
    "max": float(ms.max()),
    "processor": float(processor.min()),
  }
