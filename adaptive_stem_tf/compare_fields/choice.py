"""The best static pair of scan and completion, chosen per budget, stratum and model."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.compare_fields.settings import GENERATOR
from adaptive_stem_tf.fields import static_scans

Row = Mapping[str, Any]


class Pair(NamedTuple):
  """A scan and a completion."""

  scan: str
  completion: str


def models_of(rows: Iterable[Row]) -> tuple[str, ...]:
  """Returns the names of the models in rows; one empty name if there are none."""
  return tuple(dict.fromkeys(row["model"] for row in rows if row["model"])) or ("",)


def of_model(rows: Iterable[Row], model: str) -> list[Row]:
  """Returns the rows that compete with a model's: its own and those without a model."""
  return [row for row in rows if row["model"] in ("", model)]


def best_static(rows: Sequence[Row], metric: str = "ten_mse") -> dict[tuple[float, str, str], Pair]:
  """Returns the static pair of the least geometric mean error, by coverage, stratum and model.

  Errors span decades: the geometric mean lets every field count alike.

  Args:
    rows: of the fields that pairs are chosen on.
    metric: the metric to average.
  """
  best = {}
  for model in models_of(rows):
    logs: dict[tuple, dict[Pair, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in of_model(rows, model):
      if row["scan"] in static_scans.SCANS and metric in row:
        pair = Pair(row["scan"], row["completion"])
        logs[row["coverage"], row["stratum"]][pair].append(np.log(max(row[metric], 1e-12)))
    for (coverage, stratum), pairs in logs.items():
      best[coverage, stratum, model] = min(pairs, key=lambda pair: np.mean(pairs[pair]))
  return best


def owner(pair: Pair, model: str) -> str:
  """Returns the model of a static pair's rows: a generator's; classical completions have none."""
  return model if pair.completion == GENERATOR else ""
