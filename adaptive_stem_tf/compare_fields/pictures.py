"""Sheets of fields: where the dose went, what came of it, and what was expected."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import figure

from adaptive_stem_tf.compare_fields import choice, metrics, settings
from adaptive_stem_tf.compare_fields.choice import Pair
from adaptive_stem_tf.compare_fields.comparison import Comparison
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.evaluation import figures
from adaptive_stem_tf.fields import strata

_DEVIATIONS = 0.25  # of the scale of [-1, 1], white in pictures of errors


class Shown(NamedTuple):
  """A field and its scans, as a line of the sheet."""

  title: str
  specimen: FieldSpecimen
  mask: np.ndarray  # [H, W] bool, of the adaptive scan
  static: np.ndarray  # [H, W] completion of the best static pair
  adaptive: np.ndarray  # [H, W] completion
  deviation: np.ndarray | None  # [H, W] expected; None if nothing says it


def shown_scan(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, str] | None:
  """Returns adaptive scan, completion and model that pictures show; None without such a scan.

  The first of actor, gradient and greedy, completed by the generator if there is one.
  """
  present = {(row["scan"], row["completion"], row["model"]) for row in rows}
  for scan in (settings.ACTOR, settings.GRADIENT, settings.GREEDY):
    for completion in settings.COMPLETIONS:
      for own in sorted(present):
        if own[:2] == (scan, completion):
          return own
  return None


def extremes(result: Mapping[str, Any], shown: tuple[str, str, str]) -> dict[str, list[str]]:
  """Returns the files with the best, the median and the worst ratio to the best static pair.

  Args:
    result: what `report.result` returned.
    shown: scan, completion and model whose ratios are ordered, at the middle coverage.

  Returns:
    Files by stratum, three at most.
  """
  coverage = middle(result["coverages"])
  pairs = {
    (one["coverage"], one["stratum"], one["model"]): Pair(one["scan"], one["completion"])
    for one in result["static_pairs"]
  }
  errors = defaultdict(list)
  for row in result["per_field"]:
    own = (row["scan"], row["completion"], row["model"])
    errors[row["coverage"], row["file"], own].append(np.log(max(row["ten_mse"], 1e-12)))
  chosen = {}
  for stratum in strata.STRATA:
    pair = pairs.get((coverage, stratum, shown[2])) or pairs.get((coverage, stratum, ""))
    files = {row["file"] for row in result["per_field"] if row["stratum"] == stratum}
    if not files or pair is None:
      continue
    reference = (*pair, choice.owner(pair, shown[2]))
    ratio = lambda file, reference=reference: (
      np.mean(errors[coverage, file, shown]) - np.mean(errors[coverage, file, reference])
    )
    ordered = sorted(files, key=ratio)
    places = sorted({0, len(ordered) // 2, len(ordered) - 1})
    chosen[stratum] = [ordered[place] for place in places]
  return chosen


def middle(coverages: Sequence[float]) -> float:
  """Returns the coverage that pictures are of."""
  return sorted(coverages)[len(coverages) // 2]


def scan_for_sheet(
  comparison: Comparison,
  specimen: FieldSpecimen,
  coverage: float,
  shown: tuple[str, str, str],
  pair: Pair,
) -> Shown:
  """Scans and completes a field again, for a line of the sheet, with the first seed."""
  measured = comparison.measured(specimen)[:1]

  def completed(scan, completion, model):
    """Returns the mask [H, W] of a scan's last round, and its completion."""
    mask = scan.masks[-1, :1]
    partial = np.where(mask, measured, 0.0).astype(np.float32)
    return mask[0], comparison.complete(completion, model, partial, mask)

  scans = list(comparison.scans(specimen, coverage, (shown[0], pair.scan)))
  own = next(scan for scan in scans if scan.name == shown[0] and scan.model in ("", shown[2]))
  static = next(scan for scan in scans if scan.name == pair.scan)
  mask, adaptive = completed(own, shown[1], shown[2])
  _, still = completed(static, pair.completion, choice.owner(pair, shown[2]))
  errors = [metrics.ten_mse(one.mean, specimen.target)[0] for one in (still, adaptive)]
  title = f"{specimen.file}: {specimen.stratum}, g {specimen.gini:.2f}; 10 MSE {errors[0]:.4f} "
  title += f"({pair.scan} + {pair.completion}) and {errors[1]:.4f} ({shown[0]} + {shown[1]})"
  deviation = None if adaptive.variance is None else np.sqrt(adaptive.variance[0])
  return Shown(title, specimen, mask, still.mean[0], adaptive.mean[0], deviation)


def sheet(lines: Sequence[Shown]) -> figure.Figure:
  """Draws a line of pictures for each field.

  The field, where the dose went, the static and the adaptive completion, the error of the
  adaptive one, and the error that it expected, on one scale.
  """
  canvas = figure.Figure(figsize=(13, 2.35 * len(lines)), layout="constrained")
  titles = ("field", "where the dose went", "static", "adaptive", "error", "expected error")
  for part, shown in zip(canvas.subfigures(len(lines), 1, squeeze=False)[:, 0], lines):
    part.suptitle(shown.title, fontsize=7)
    partial = np.stack([shown.specimen.image, shown.mask], -1)
    error = np.abs(shown.adaptive - shown.specimen.target)
    pictures = (
      shown.specimen.image, figures.partial_picture(partial), shown.static, shown.adaptive,
      error, shown.deviation)  # fmt: skip
    for axes, picture, title in zip(part.subplots(1, len(titles)), pictures, titles):
      axes.axis("off")
      if picture is None:
        continue
      colours = {"cmap": "gray", "vmin": -1, "vmax": 1}
      if "error" in title:
        colours = {"cmap": "magma", "vmin": 0, "vmax": _DEVIATIONS}
      axes.imshow(picture, interpolation="nearest", **colours)
      axes.set_title(title, fontsize=7, pad=2)
  return canvas
