"""Choices before scans are compared: the pitches of spirals, and doses of equal time."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare import scanning
from adaptive_stem_tf.compare.plan import Plan
from adaptive_stem_tf.compare.scanning import Scanned
from adaptive_stem_tf.evaluation import metrics
from adaptive_stem_tf.scan import baselines, travel

_FEWEST = 3  # segments of a scan


class Pitch(NamedTuple):
  """The pitch chosen for a spiral."""

  chosen: float  # px
  ten_mse: dict[str, float]  # of every candidate, on validation specimens


def pitch(
  name: str, plan: Plan, images: np.ndarray, complete: Callable[[float, Scanned], np.ndarray]
) -> Pitch:
  """Chooses the pitch of least mean 10 MSE on filtered targets of validation specimens (METHOD
  section 9).

  Args:
    name: of a spiral.
    plan: of its scan.
    images: [N, S, S, 1] validation specimens.
    complete: completes scans of a pitch.
  """
  target = metrics.targets_of(images, plan.base.data.filter_sigma)["filtered"]
  observed = scanning.observe(images, plan.base.data, scanning.CLEAN)
  errors = {}
  for candidate in baselines.PITCHES:
    path = scanning.baseline(plan.scan(name, {name: candidate}))
    scanned = scanning.scan_all(path, observed, False, plan.base.data.normalise)
    errors[candidate] = float(metrics.ten_mse(complete(candidate, scanned), target).mean())
  return Pitch(
    min(errors, key=lambda one: errors[one]), {f"{one:g}": error for one, error in errors.items()}
  )


def mean_time(paths: np.ndarray, scan: config.ScanGeometry, beam: microscope_config.Beam) -> float:
  """Returns the mean time of scans [N, P, 2] px in us."""
  return float(np.mean([travel.travel_time(path, scan, beam) for path in paths]))


def equal_time(
  names: Sequence[str], scan: config.ScanGeometry, beam: microscope_config.Beam, budget: float
) -> Mapping[str, int]:
  """Returns the numbers of segments, within a budget in us, of the scans that would exceed it.

  Raises:
    ValueError: if even three segments of a scan take longer.
  """
  segments = {}
  for name in names:
    fitting = next(
      (
        count
        for count in range(scan.segments, _FEWEST - 1, -1)
        if _time(name, scan, beam, count) <= budget * (1 + 1e-9)
      ),
      None,
    )
    if fitting is None:
      raise ValueError(
        f"scan {name} takes longer than the {budget / 1000:.2f} ms of the adaptive scan even with "
        f"{_FEWEST * scan.probes} probing positions: leave it out of --scans, or change the beam's "
        "times."
      )
    if fitting < scan.segments:
      segments[name] = fitting
  return segments


def _time(
  name: str, scan: config.ScanGeometry, beam: microscope_config.Beam, segments: int
) -> float:
  shortened = dataclasses.replace(scan, path=name, segments=segments)
  blank = np.zeros([8, scan.image_size, scan.image_size, 1], np.float32)
  return mean_time(
    scanning.scan_all(scanning.baseline(shortened), blank, False).positions, shortened, beam
  )
