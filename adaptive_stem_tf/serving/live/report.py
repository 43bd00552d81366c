"""What is told of a live scan: timings, numbers and files."""

import csv
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.serving import image_scan
from adaptive_stem_tf.serving.live.loop import LiveScan, Rules, Timing
from adaptive_stem_tf.serving.live.picture import Frame
from adaptive_stem_tf.serving.scan_result import ScanResult


def decision_times(timings: Sequence[Timing]) -> dict[str, Any]:
  """Returns how long decisions took, how many were late, and how long the beam waited.

  `decision_us` is the model's own time, `latency_us` counts from a segment's last intensity,
  waiting for the decision before included; of each the median, the 99th percentile and the
  greatest.
  """
  return {
    "decisions": len(timings),
    "late": sum(t.late for t in timings),
    "decision_us": _quantiles([t.busy_us for t in timings]),
    "latency_us": _quantiles([t.took_us for t in timings]),
    "deadline_us": float(timings[0].deadline_us) if timings else None,
    "beam_waited_us": float(sum(t.idle_us for t in timings)),
  }


def _quantiles(times):
  if not times:
    return {}
  return {
    "p50": float(np.quantile(times, 0.5)),
    "p99": float(np.quantile(times, 0.99)),
    "max": float(max(times)),
  }


def result_of(
  scanned: LiveScan,
  probes: int,
  truth: np.ndarray | None,
  filter_sigma: float,
  about: dict[str, Any],
  origin: tuple[int, int] = (0, 0),
  pixel_size_nm: float | None = None,
) -> ScanResult:
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
  errors = (
    None
    if truth is None
    else image_scan.ten_mse(scanned.completion[None], truth[None], filter_sigma)
  )
  about = {
    **about,
    "segments": scanned.segments,
    "stopped_early": scanned.stopped_early,
    "ended_by": scanned.ended_by,
    "intensities_of_black_and_white": list(scanned.black_and_white),
    **decision_times(scanned.timings),
  }
  numbers = np.arange(len(scanned.positions)) // probes
  return ScanResult(
    scanned.positions,
    scanned.intensities,
    np.zeros_like(numbers),
    numbers,
    scanned.partial,
    scanned.completion,
    truth,
    origin,
    pixel_size_nm,
    errors,
    about,
    filter_sigma,
  )


def write_timings(file: str | os.PathLike, timings: Sequence[Timing]) -> None:
  """Writes one row a decision."""
  with pathlib.Path(file).open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(Timing._fields)
    for timing in timings:
      writer.writerow(
        [
          "" if value is None else f"{value:.7g}" if isinstance(value, float) else value
          for value in timing
        ]
      )


def last_frame(
  scanned: LiveScan,
  scan: config.Scan,
  rules: Rules,
  truth: np.ndarray | None,
  pixel_size_nm: float | None = None,
) -> Frame:
  """Returns the picture at the end of a scan."""
  timings = scanned.timings
  predicted = [timing.predicted_error for timing in timings if timing.predicted_error is not None]
  return Frame(
    scan.image_size,
    scanned.positions,
    scanned.intensities,
    scan.probes,
    scan.segments,
    scanned.completion,
    np.array([timing.took_us for timing in timings]),
    np.array([timing.late for timing in timings], bool),
    timings[0].deadline_us if timings else rules.deadline,
    np.array(predicted) if predicted else None,
    truth,
    pixel_size_nm,
  )
