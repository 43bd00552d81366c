"""Compares scans on a set of fields, and sums up."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adaptive_stem_tf.compare_fields import choice, summary
from adaptive_stem_tf.compare_fields.comparison import Comparison
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.fields import strata

# Metrics of which ratios are taken, and metrics that static pairs are chosen by. A noisy target
# favours scans that reproduce its noise: if the truth is known, the best pair is that of the truth.
_METRICS = {"ten_mse": "ten_mse", "ten_mse_raw": "ten_mse", "ten_mse_truth": "ten_mse_truth"}
_Progress = Callable[[Iterable[Any]], Iterable[Any]]


def measure(
  comparison: Comparison,
  specimens: Sequence[FieldSpecimen],
  progress: _Progress = iter,
  names: tuple[str, ...] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """Returns the rows of all fields and coverages: of errors, and of uncertainty.

  Args:
    comparison: scans and completes.
    specimens: the fields.
    progress: wraps the fields, to show progress.
    names: of some of the scans that are compared; None for all.
  """
  rows, doubts = [], []
  for specimen in progress(specimens):
    for coverage in comparison.request.coverages:
      own, doubt = comparison.rows(specimen, coverage, names)
      rows += own
      doubts += doubt
  return rows, doubts


def result(
  measured: tuple[list[dict[str, Any]], list[dict[str, Any]]],
  validation: Sequence[Mapping[str, Any]] | None,
  models: Mapping[str, str],
) -> dict[str, Any]:
  """Returns the whole comparison, for JSON and `tables`.

  Args:
    measured: the rows that `measure` returned.
    validation: rows that static pairs are chosen on; None to choose on the fields themselves,
      which flatters the static scans.
    models: where each model comes from, by name.
  """
  rows, doubts = measured
  static_pairs = _pairs(rows, validation, "ten_mse")
  fields = {row["file"]: row["stratum"] for row in rows}
  counts = Counter(fields.values())
  return {
    "fields": len(fields),
    "strata": {name: counts[name] for name in strata.STRATA},
    "coverages": sorted({row["coverage"] for row in rows}),
    "seeds": sorted({row["seed"] for row in rows}),
    "models": dict(models),
    "chosen_on": _chosen_on(rows, validation),
    "static_pairs": [
      {"coverage": key[0], "stratum": key[1], "model": key[2], **pair._asdict()}
      for key, pair in sorted(static_pairs.items())
    ],
    "ratios": [
      one
      for metric, pairs in _METRICS.items()
      for one in summary.ratios(rows, _pairs(rows, validation, pairs), metric)
    ],
    "uncertainty": doubts,
    "per_field": rows,
  }


def _pairs(rows, validation, metric):
  """Returns the static pairs of the least error by coverage, stratum and model."""
  if validation is None:
    return choice.best_static(rows, metric)
  # Pairs of strata that validation fields lack are chosen on the fields themselves.
  return choice.best_static(rows, metric) | choice.best_static(validation, metric)


def _chosen_on(rows, validation):
  if validation is None:
    return (
      "on the fields themselves, for each budget and stratum, which flatters the static scans: no "
      "validation fields were given"
    )
  files = len({row["file"] for row in validation})
  missing = sorted({row["stratum"] for row in rows} - {row["stratum"] for row in validation})
  rest = f"; strata that these lack, on the fields themselves: {', '.join(missing)}" * bool(missing)
  return f"on {files} validation fields, for each budget and stratum{rest}"
