"""Scans many specimens as digital twins, to measure what delay, dose and lag cost."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.evaluation import statistics, style
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import image_scan
from adaptive_stem_tf.serving.live import deciding, loop, model, report, twin
from adaptive_stem_tf.serving.live.rules import Rules


class Condition(NamedTuple):
  """A condition under which specimens are scanned."""

  name: str  # of the model
  dose: float  # electrons per probing position at white; 0 for no shot noise
  lag: float  # us


class Measured(NamedTuple):
  """Results of N scans."""

  filtered: np.ndarray  # [N], 10 MSE on filtered targets
  raw: np.ndarray  # [N], on raw ones
  segments: np.ndarray  # [N], scanned
  late: np.ndarray  # [N], late decisions
  waited: np.ndarray  # [N] us, for which the beam stood blanked


def scan_all(
  follows: model.Decider,
  images: np.ndarray,
  faults: twin.Faults,
  rules: Rules,
  decision_us: float,
  normalisation: Normalisation,
  progress: Callable[[Iterable], Iterable] = iter,
) -> Measured:
  """Scans every image [N, S, S, 1] as a digital twin; specimen i has noise of the seed faults.seed
  + i.

  Args:
    follows: the model.
    images: in [-1, 1].
    faults: of the microscope.
    rules: of the scan.
    decision_us: time that every decision takes.
    normalisation: which intensities become [-1, 1].
    progress: wraps the images, to show progress.
  """
  rows = []
  for i in progress(range(len(images))):
    truth = images[i, ..., 0]
    scope = twin.DigitalTwin(truth, dataclasses.replace(faults, seed=faults.seed + i))
    decides = deciding.Simulated(follows, scope.clock, lambda _: decision_us)
    intensities = normalisation.start(1, truth[None])
    scanned = loop.run(scope, follows, decides, intensities, rules)
    errors = image_scan.ten_mse(scanned.completion[None], truth[None], follows.filter_sigma)
    times = report.decision_times(scanned.timings)
    rows.append(
      (
        errors["filtered"][0],
        errors["raw"][0],
        scanned.segments,
        times["late"],
        times["beam_waited_us"],
      )
    )
  return Measured(*np.array(rows, np.float64).T)


def summarise(
  measured: dict[Condition, Measured], sources: Sequence[str] | None
) -> list[dict[str, Any]]:
  """Returns one row for each condition, for JSON.

  Rows have means with 95 % intervals over source files, then crops. Paired differences are from the
  first model under the same condition, and from the same model's first condition.

  Args:
    measured: by condition, in order.
    sources: [N], the file each image was cut from; None if unknown.
  """
  rows, first = [], next(iter(measured))
  for condition, measurement in measured.items():
    row = {
      **condition._asdict(),
      "filtered": statistics.summarise(measurement.filtered, sources),
      "raw": statistics.summarise(measurement.raw, sources),
      "segments": float(measurement.segments.mean()),
      "late_decisions": float(measurement.late.mean()),
      "beam_waited_us": float(measurement.waited.mean()),
      "per_image": measurement.filtered.tolist(),
    }
    for key, other in (
      ("minus_first_model", condition._replace(name=first.name)),
      ("minus_first_condition", first._replace(name=condition.name)),
    ):
      if other != condition:
        row[key] = statistics.summarise(measurement.filtered - measured[other].filtered, sources)
    rows.append(row)
  return rows


@style.look()
def draw(rows: Sequence[dict[str, Any]]) -> figure.Figure:
  """Draws the mean error of each model under each condition with its interval."""
  names = list(dict.fromkeys(row["name"] for row in rows))
  conditions = list(dict.fromkeys((row["dose"], row["lag"]) for row in rows))
  canvas = figure.Figure(figsize=(2.4 + 1.1 * len(conditions), 3.6), layout="constrained")
  axes = canvas.subplots()
  for k, name in enumerate(names):
    own = [row for row in rows if row["name"] == name]
    places = np.array([conditions.index((row["dose"], row["lag"])) for row in own])
    means = np.array([row["filtered"]["mean"] for row in own])
    limits = np.array([statistics.ends(row["filtered"]) for row in own])
    axes.errorbar(
      places + 0.14 * (k - (len(names) - 1) / 2),
      means,
      np.abs(limits.T - means),
      fmt="o",
      capsize=3,
      markersize=5,
      label=name,
    )
  axes.set_xticks(
    range(len(conditions)),
    [
      f"{f'{dose:g} e/px' if dose else 'no noise'}\n{f'lag {lag:g} us' if lag else 'no lag'}"
      for dose, lag in conditions
    ],
    fontsize=8,
  )
  axes.set(ylabel="10 MSE, filtered target", xlim=(-0.5, len(conditions) - 0.5))
  axes.set_ylim(bottom=0)
  if len(names) > 1:
    axes.legend(fontsize=8, frameon=False)
  return canvas
