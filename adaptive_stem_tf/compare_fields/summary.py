"""Paired ratios of errors, by budget and stratum, with their intervals."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf.compare_fields import choice, settings
from adaptive_stem_tf.compare_fields.choice import Pair, Row
from adaptive_stem_tf.evaluation import statistics
from adaptive_stem_tf.fields import static_scans, strata

BEST_STATIC, FARTHEST, RULE, CLASSICAL = COMPARISONS = (
  "best static pair", "farthest points, same completion", "gradient, same completion",
  "best classical completion, same positions")  # fmt: skip
ALL = "all"
_TINY = 1e-12
# Maps a row to the scan, completion and model that its error is divided by.
_Reference = Callable[[Row], tuple[str, str, str]]


def ratios(
  rows: Sequence[Row], chosen: Mapping[tuple[float, str, str], Pair], metric: str = "ten_mse"
) -> list[dict[str, Any]]:
  """Returns geometric means of paired ratios of every comparison, budget, group and model.

  Groups are strata, all fields, and kinds of specimen where these are known.

  Args:
    rows: of all scans.
    chosen: the static pair by coverage, stratum and model.
    metric: of which ratios are taken.
  """
  rows = [row for row in rows if metric in row]
  values = {_key(row, *_own(row)): row[metric] for row in rows}
  results = []
  for model in choice.models_of(rows):
    for (coverage, scan, completion), own in _scans(choice.of_model(rows, model)).items():
      for name, reference in _references(own, scan, completion, model, chosen, metric, rows):
        for group, members in _groups(own):
          head = {"comparison": name, "metric": metric, "coverage": coverage, "group": group}
          head |= {"model": model, "scan": scan, "completion": completion}
          results.append(head | _ratio(members, values, reference, metric))
  return results


def geometric_means(rows: Sequence[Row], metric: str = "ten_mse") -> dict[tuple, float]:
  """Returns geometric means over fields and seeds, by coverage, group, model, scan, completion."""
  logs = defaultdict(list)
  for row in rows:
    if metric in row:
      for group in (row["stratum"], ALL):
        key = (row["coverage"], group, row["model"], row["scan"], row["completion"])
        logs[key].append(np.log(max(row[metric], _TINY)))
  return {key: float(np.exp(np.mean(values))) for key, values in logs.items()}


def _own(row):
  return row["scan"], row["completion"], row["model"]


def _key(row, scan, completion, model):
  """Returns the key of the error of a scan and completion that belongs to a row.

  A model's errors are those of the row's own training, or of the first if the row has no model.
  """
  training = _training(row) if model else 1
  return row["coverage"], row["file"], row["seed"], training, scan, completion, model


def _training(row):
  return row.get("training", 1) if row["model"] else 1


def _scans(rows) -> dict[tuple[float, str, str], list[Row]]:
  """Returns rows by coverage, scan and completion."""
  scans = defaultdict(list)
  for row in rows:
    scans[row["coverage"], row["scan"], row["completion"]].append(row)
  return scans


def _groups(rows) -> Iterator[tuple[str, list[Row]]]:
  kinds = sorted({row["kind"] for row in rows if row["kind"]})
  for stratum in strata.STRATA:
    yield stratum, [row for row in rows if row["stratum"] == stratum]
  yield ALL, rows
  for kind in kinds:
    yield f"kind: {kind}", [row for row in rows if row["kind"] == kind]


def _references(
  rows, scan, completion, model, chosen, metric, every
) -> Iterator[tuple[str, _Reference]]:
  """Yields the comparisons that a scan with a completion takes part in, with their references."""
  if scan not in static_scans.SCANS:

    def best(row):
      """Returns the best static scan, its completion and its model, for a row."""
      pair = chosen[row["coverage"], row["stratum"], model]
      return *pair, choice.owner(pair, model)

    even = Pair(settings.EVEN, completion)
    if all((row["coverage"], row["stratum"], model) in chosen for row in rows):
      yield BEST_STATIC, best
    yield FARTHEST, lambda row: (*even, choice.owner(even, model))
    if scan in settings.LEARNT:
      rule = Pair(settings.GRADIENT, completion)
      yield RULE, lambda row: (*rule, choice.owner(rule, model))
  if completion == settings.GENERATOR:
    classical = _best_classical(every, scan, model, metric)
    if classical:
      deciding = model if scan in settings.LEARNT else ""
      yield CLASSICAL, lambda row: (scan, classical[row["coverage"], row["stratum"]], deciding)


def _best_classical(rows, scan, model, metric) -> dict[tuple[float, str], str]:
  """Returns the classical completion of the least error by coverage and stratum."""
  means = geometric_means(
    [
      row
      for row in rows
      if row["scan"] == scan
      and row["model"] in ("", model)
      and row["completion"] != settings.GENERATOR
    ],
    metric,
  )
  best: dict[tuple[float, str], str] = {}
  for coverage, group, _, _, completion in sorted(means, key=lambda key: means[key]):
    best.setdefault((coverage, group), completion)
  return best


def _ratio(rows, values, reference, metric) -> dict[str, Any]:
  """Returns the geometric mean of the ratios of rows to their references, with its interval and the
  numbers that it rests on.
  """
  pairs = [(row, _key(row, *reference(row))) for row in rows]
  pairs = [(row, key) for row, key in pairs if key in values]
  if not pairs:
    return {"ratio": None, "fields": 0}
  logs = np.log([max(row[metric], _TINY) / max(values[key], _TINY) for row, key in pairs])
  files = [row["file"] for row, _ in pairs]
  interval = statistics.geometric_mean_ratio(
    logs,
    [row["source"] for row, _ in pairs],
    files,
    [(_training(row), row["seed"]) for row, _ in pairs],
  )
  by_field = defaultdict(list)
  for file, log in zip(files, logs):
    by_field[file].append(log)
  of_fields = [float(np.exp(np.mean(field))) for field in by_field.values()]
  return {
    "ratio": statistics.for_json(interval),
    "fields": len(by_field),
    "least": min(of_fields),
    "greatest": max(of_fields),
    "over": sorted({" + ".join(part for part in key[4:6]) for _, key in pairs}),
  }
