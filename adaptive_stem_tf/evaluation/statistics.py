"""Summaries of measurements: means, differences and ratios with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf.evaluation import intervals
from adaptive_stem_tf.evaluation.intervals import Interval

FEW_FILES = 10  # with fewer, tables carry a warning
FEW = (  # the warning, for tables
  f"`few`: below {FEW_FILES} files, intervals of skewed errors hold the mean less often than they "
  "say."
)


def geometric_mean_ratio(
  log_ratios: np.ndarray,
  sources: Sequence[Any],
  fields: Sequence[Any],
  seeds: Sequence[Any],
  seed: int = 0,
) -> Interval:
  """Returns the geometric mean of paired ratios, with its interval.

  Seeds are resampled, then source files, then fields within them. Every field counts alike.

  Args:
    log_ratios: [M], natural logarithm of the ratio of each row: one seed on one field.
    sources: [M], the source file of each row's field.
    fields: [M], the field of each row, by a name that is unique within its source file.
    seeds: [M], the training seed of each row.
    seed: of the resampling.

  Raises:
    ValueError: if a logarithm is not finite, or a seed lacks a field or repeats it.
  """
  log_ratios = np.asarray(log_ratios, np.float64)
  if not np.isfinite(log_ratios).all():
    raise ValueError(
      f"{np.count_nonzero(~np.isfinite(log_ratios))} of {log_ratios.size} log "
      "ratios are not finite: an error of zero or a failed completion has no ratio; "
      "leave it out, and say so."
    )
  columns, column = intervals.numbered([f"{a}\0{b}" for a, b in zip(sources, fields, strict=True)])
  rows, row = intervals.numbered(list(map(str, seeds)))
  counts = np.zeros([len(rows), len(columns)], int)
  np.add.at(counts, (row, column), 1)
  if not log_ratios.size or (counts != 1).any():
    raise ValueError(
      f"{len(rows)} seeds and {len(columns)} fields make {counts.size} pairs, of "
      f"which {np.count_nonzero(counts == 0)} are missing and "
      f"{np.count_nonzero(counts > 1)} repeat: every seed needs each field once."
    )
  values = np.empty(counts.shape)
  values[row, column] = log_ratios
  logs = intervals.interval_of_mean(values, [name.split("\0")[0] for name in columns], seed=seed)
  return logs._replace(
    estimate=float(np.exp(logs.estimate)),
    low=float(np.exp(logs.low)),
    high=float(np.exp(logs.high)),
  )


def summarise(
  values: np.ndarray, sources: Sequence[Any] | None = None, minus: np.ndarray | None = None
) -> dict[str, Any]:
  """Returns count, mean, standard deviation over images, and the interval, for JSON.

  Arguments are those of `intervals.interval_of_mean`.
  """
  interval = intervals.interval_of_mean(values, sources, minus)
  images = np.atleast_2d(values).mean(0) - (0.0 if minus is None else np.atleast_2d(minus).mean(0))
  spread = float(images.std(ddof=1)) if len(images) > 1 else 0.0
  return {
    "count": len(images),
    "standard_deviation": spread,
    **for_json(interval, files_known=sources is not None),
  }


def for_json(interval: Interval, files_known: bool = True) -> dict[str, Any]:
  """Returns an interval for JSON; `interval_95` is None if the interval is unbounded."""
  ends = [interval.low, interval.high]
  return {
    "mean": interval.estimate,
    "interval_95": ends if np.isfinite(ends).all() else None,
    "files": interval.files if files_known else None,
    "num_seeds": interval.seeds,
  }


def ends(summary: Mapping[str, Any]) -> tuple[float, float]:
  """Returns the ends of a summary's interval, for tables and pictures; NaN if it is unbounded."""
  low, high = summary["interval_95"] or (np.nan, np.nan)
  return low, high


def with_interval(summary: Mapping[str, Any] | None, form: str = ".3f") -> str:
  """Returns a mean, its interval and the number of source files as text; empty for None.

  Args:
    summary: result of `summarise` or `for_json`.
    form: format of the numbers.
  """
  if summary is None:
    return ""
  low, high = ends(summary)
  bounds = f"[{low:{form}}, {high:{form}}]" if np.isfinite([low, high]).all() else "[unbounded]"
  return f"{summary['mean']:{form}} {bounds} ({basis(summary)})"


def interval_method(sources: Sequence[Any] | None) -> str:
  """Returns a description of how `summarise` computes intervals, for readers of results."""
  if sources is None:
    return "95 %, studentised bootstrap over seeds and images (source files are unknown)"
  return (
    f"95 %, studentised bootstrap over seeds, source files, images ({_files(len(set(sources)))})"
  )


def basis(summary: Mapping[str, Any]) -> str:
  """Returns the numbers of files and, if several, of seeds behind an interval: `3 files: few`."""
  files = summary.get("files")
  text = "sources unknown" if files is None else _files(files)
  seeds = summary.get("num_seeds", 1)
  return text + (f", {seeds} seeds" if seeds > 1 else "")


def _files(count: int) -> str:
  return f"{count} file{'s' * (count != 1)}{': few' if count < FEW_FILES else ''}"
