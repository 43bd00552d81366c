"""What is told of a live scan: timings, numbers and files."""

import csv
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, specimens
from adaptive_stem_tf.serving.live import files
from adaptive_stem_tf.serving.live.loop import LiveScan, Rules, Timing
from adaptive_stem_tf.serving.live.picture import Frame


def decision_times(timings: Sequence[Timing]) -> dict[str, Any]:
  """Returns how long decisions took, how many were late, and how long the beam waited.

  `decision_us` is the model's own time, `latency_us` counts from a segment's last intensity, waiting for the
  decision before included; of each the median, the 99th percentile and the greatest.
  """
  return {"decisions": len(timings), "late": sum(t.late for t in timings),
          "decision_us": _quantiles([t.busy_us for t in timings]),
          "latency_us": _quantiles([t.took_us for t in timings]),
          "deadline_us": float(timings[0].deadline_us) if timings else None,
          "beam_waited_us": float(sum(t.idle_us for t in timings))}


def _quantiles(times):
  if not times:
    return {}
  return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99)), "max": float(max(times))}


def ten_mse(completion: np.ndarray, truth: np.ndarray, filter_sigma: float) -> dict[str, float]:
  """Returns 10 * MSE on [-1, 1], the truth's own range, on the filtered and the raw truth.

  Args:
    completion: [S, S], in the truth's units.
    truth: [S, S].
    filter_sigma: px, of the low-pass filter.
  """
  unit = np.array(truth, np.float32)[None, ..., None]
  specimens.normalise(unit)
  low, high = float(truth.min()), float(truth.max())
  ours = 2 * (completion - low) / (high - low if high > low else 1.0) - 1
  filtered = specimens.low_pass(tf.constant(unit), filter_sigma).numpy()[0, ..., 0]
  return {"filtered": float(10 * np.mean((ours - filtered) ** 2)),
          "raw": float(10 * np.mean((ours - unit[0, ..., 0]) ** 2))}


def result_of(scanned: LiveScan, probes: int, truth: np.ndarray | None, filter_sigma: float, about: dict[str, Any],
              origin: tuple[int, int] = (0, 0), pixel_size_nm: float | None = None) -> files.ScanResult:
  """Makes what is written of a live scan.

  Args:
    scanned: the scan.
    probes: per segment.
    truth: [S, S], what was scanned, if it is known.
    filter_sigma: px, of targets.
    about: for the summary.
    origin: first row and column of the field in the image that it is part of.
    pixel_size_nm: side of a px, if it is known.
  """
  errors = None if truth is None else {
      name: np.array([value]) for name, value in ten_mse(scanned.completion, truth, filter_sigma).items()}
  about = {**about, "segments": scanned.segments, "stopped_early": scanned.stopped_early,
           "intensities_of_black_and_white": [float(limit) for limit in scanned.scale],
           **decision_times(scanned.timings)}
  numbers = np.arange(len(scanned.positions)) // probes
  return files.ScanResult(scanned.positions, scanned.intensities, np.zeros_like(numbers), numbers, scanned.partial,
                          scanned.completion, truth, origin, pixel_size_nm, errors, about)


def write_timings(path: str | os.PathLike, timings: Sequence[Timing]) -> None:
  """Writes one row a decision."""
  with pathlib.Path(path).open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(Timing._fields)
    for timing in timings:
      writer.writerow(["" if value is None else f"{value:.7g}" if isinstance(value, float) else value
                       for value in timing])


def last_frame(scanned: LiveScan, scan: config.Scan, rules: Rules, truth: np.ndarray | None) -> Frame:
  """Returns the picture at the end of a scan."""
  timings = scanned.timings
  predicted = [timing.predicted_error for timing in timings if timing.predicted_error is not None]
  return Frame(scan.image_size, scanned.positions, scanned.intensities, scan.probes, scan.segments, scanned.completion,
               np.array([timing.took_us for timing in timings]), np.array([timing.late for timing in timings], bool),
               timings[0].deadline_us if timings else rules.deadline, np.array(predicted) if predicted else None, truth)
