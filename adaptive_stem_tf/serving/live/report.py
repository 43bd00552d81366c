"""Reports of live scans: timings, numbers and files."""

import csv
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.serving import image_scan, path_sampling
from adaptive_stem_tf.serving.live import picture
from adaptive_stem_tf.serving.live.engines import Engine
from adaptive_stem_tf.serving.live.loop import LiveScan, Progress, Rules, Timing
from adaptive_stem_tf.serving.live.picture import Frame
from adaptive_stem_tf.serving.live.rules import TENSORFLOW
from adaptive_stem_tf.serving.scan_result import ScanResult


def decision_times(timings: Sequence[Timing]) -> dict[str, Any]:
  """Returns how long decisions took, how many were late, and how long the beam waited.

  `late` includes decisions that were left out. `decision_us` is the model's own time; `latency_us`
  counts from a segment's last intensity and includes the wait for the decision before. Both have
  the median, the 99th percentile and the greatest.
  """
  return {
    "decisions": len(timings),
    "late": sum(t.late for t in timings),
    "left_out": sum(t.busy_us is None for t in timings),
    "decision_us": _quantiles([t.busy_us for t in timings if t.busy_us is not None]),
    "latency_us": _quantiles([t.took_us for t in timings if t.took_us is not None]),
    "deadline_us": float(timings[0].deadline_us) if timings else None,
    "beam_waited_us": float(sum(t.idle_us for t in timings)),
  }


def warning(timings: Sequence[Timing], rules: Rules, engine: Engine, probes: int) -> str | None:
  """Returns a warning that a scan was hardly adaptive, with what to do; None if at most half of the
  decisions were late.

  Args:
    timings: of the scan.
    rules: of lateness.
    engine: ran the model.
    probes: number of positions of a segment.
  """
  summary = decision_times(timings)
  if rules.late == "wait" or 2 * summary["late"] <= summary["decisions"]:
    return None
  how = "not" if summary["late"] == summary["decisions"] else "hardly"
  words = (
    f"{summary['late']} of {summary['decisions']} decisions were late and the beam went on without "
    f"them: the scan was {how} adaptive. "
  )
  times = summary["decision_us"]
  if not times:
    return words
  allowed = summary["deadline_us"]
  words += f"A decision took {times['p50']:.0f} us (p99 {times['p99']:.0f}), of {allowed:.0f} us. "
  remedies = [f"--dwell_us={np.ceil(1.25 * times['p99'] / probes):.0f} or more", "--late=wait"]
  if rules.deadline:
    remedies[0] = f"--deadline_us={np.ceil(1.25 * times['p99']):.0f} or more"
  if engine.name == TENSORFLOW:
    remedies.insert(0, f"LiteRT instead of {engine.words}")
  return f"{words}Choose {', '.join(remedies[:-1])}, or {remedies[-1]}."


def sampling(
  scanned: LiveScan, scan: config.ScanGeometry, complete: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
  """Returns whether a scan was dense enough, for JSON: `path_sampling.unforeseen`, and a warning.

  Args:
    scanned: the scan.
    scan: its geometry.
    complete: completes a partial scan [S, S, 2] in [-1, 1].
  """
  (low, high), share = scanned.black_and_white, None
  # Otherwise the model failed, or all intensities were equal.
  if np.isfinite(scanned.completion).all() and high > low:
    unit = 2 * (scanned.intensities - low) / (high - low) - 1
    share = path_sampling.unforeseen(
      scanned.positions, unit, scan.probes, scan.image_size, complete
    )
  return {"unforeseen_share": share, "sampling_warning": path_sampling.warning(share)}


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
  """Returns the result of a live scan as it is written to files.

  Args:
    scanned: the scan.
    probes: per segment.
    truth: [S, S], the scanned specimen, if it is known.
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
  """Writes one row for each decision."""
  with writing.whole(file) as unfinished, unfinished.open("w", newline="") as stream:
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
  scan: config.ScanGeometry,
  rules: Rules,
  truth: np.ndarray | None,
  pixel_size_nm: float | None = None,
) -> Frame:
  """Returns the frame at the end of a scan."""
  known = frame_of(
    (scanned.positions, scanned.intensities), scanned.timings, scan, rules, truth, pixel_size_nm
  )
  state = "stopped" if scanned.ended_by else "over"
  return known._replace(completion=scanned.completion, state=state)


def frame_of(
  measured: tuple[np.ndarray, np.ndarray],
  timings: Sequence[Timing],
  scan: config.ScanGeometry,
  rules: Rules,
  truth: np.ndarray | None,
  pixel_size_nm: float | None = None,
) -> Frame:
  """Returns the frame of a scan from its measured positions [N, 2] px and intensities [N]."""
  predicted = [timing.predicted_error for timing in timings if timing.predicted_error is not None]
  return Frame(
    scan.image_size,
    *measured,
    scan.probes,
    scan.segments,
    took=np.array([timing.took_us for timing in timings], np.float64),  # NaN if left out
    late=np.array([timing.late for timing in timings], bool),
    deadline=timings[0].deadline_us if timings else rules.deadline,
    predicted=np.array(predicted) if predicted else None,
    truth=truth,
    pixel_size_nm=pixel_size_nm,
  )


def frame_so_far(
  progress: Progress,
  scan: config.ScanGeometry,
  rules: Rules,
  truth: np.ndarray | None,
  pixel_size_nm: float | None = None,
) -> Frame:
  """Returns the frame of a scan that goes on."""
  measured = np.concatenate(progress.positions), np.concatenate(progress.intensities)
  known = frame_of(measured, progress.timings(), scan, rules, truth, pixel_size_nm)
  low, high = (float(end[0]) for end in (progress.ranges.low, progress.ranges.high))
  unit = progress.ranges.to_unit(known.intensities[None])[0]
  return known._replace(partial=picture.drawn(known, unit), black_and_white=(low, high))
