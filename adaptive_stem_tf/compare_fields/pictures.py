"""Sheets of fields: dose, completions, errors and expected errors."""

import functools
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import cm, colors, figure

from adaptive_stem_tf.compare_fields import choice, metrics, settings
from adaptive_stem_tf.compare_fields.choice import Pair
from adaptive_stem_tf.compare_fields.comparison import Comparison
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.fields import strata

_DEVIATIONS = 0.25  # of the scale of [-1, 1], brightest in pictures of errors
_ERRORS = ("adaptive completion:\nabsolute error", "adaptive completion:\nexpected error")
_LOOKS = (
  {"cmap": "gray", "vmin": -1, "vmax": 1},
  {"cmap": style.ERROR, "vmin": 0, "vmax": _DEVIATIONS},
)
_BAR = 0.04  # height of a scale of colours over that of a picture
_LONGEST = 24  # characters of a file's name, its end, that a picture has room for
_DOT = 0.35  # square points, of a measured pixel


class Shown(NamedTuple):
  """A field and its scans, as a line of the sheet."""

  title: str
  specimen: FieldSpecimen
  rounds: np.ndarray  # [H, W] int, round of the adaptive scan, 0 for the survey; -1 if not measured
  static: np.ndarray  # [H, W] completion of the best static pair
  adaptive: np.ndarray  # [H, W] completion
  captions: tuple[str, str]  # names and errors of these two
  deviation: np.ndarray | None  # [H, W] expected; None if it is not estimated


def shown_scan(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, str] | None:
  """Returns the adaptive scan, completion and model to show in pictures; None without such a scan.

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
  files_of = {}
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
    files_of[stratum] = [ordered[place] for place in places]
  return files_of


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
    """Returns the completion of a scan's last round."""
    mask = scan.masks[-1, :1]
    partial = np.where(mask, measured, 0.0).astype(np.float32)
    return comparison.complete(completion, model, partial, mask)

  scans = list(comparison.scans(specimen, coverage, (shown[0], pair.scan)))
  own = next(scan for scan in scans if scan.name == shown[0] and scan.model in ("", shown[2]))
  static_scan = next(scan for scan in scans if scan.name == pair.scan)
  adaptive = completed(own, shown[1], shown[2])
  static_completion = completed(static_scan, pair.completion, choice.owner(pair, shown[2]))
  caption = lambda kind, one, of: (
    f"{kind}: {_words(one[0])}, {_words(one[1])}\n"
    f"10 MSE {metrics.ten_mse(of.mean, specimen.target)[0]:.4f}"
  )
  captions = caption("static", pair, static_completion), caption("adaptive", shown, adaptive)
  title = f"{pathlib.Path(specimen.file).stem[-_LONGEST:]}\n{specimen.stratum}"
  deviation = None if adaptive.variance is None else np.sqrt(adaptive.variance[0])
  # Masks grow: a pixel in n of the R + 1 masks was measured in round R + 1 - n.
  when = len(own.masks) - own.masks[:, 0].sum(0)
  rounds = np.where(own.masks[-1, 0], when, -1)
  return Shown(
    title, specimen, rounds, static_completion.mean[0], adaptive.mean[0], captions, deviation
  )


def _words(name):
  return name.replace("_", " ")


@style.look()
def sheet(lines: Sequence[Shown]) -> figure.Figure:
  """Draws a line of pictures for each field.

  The field, where the dose went, by round, the static and the adaptive completion, the error of
  the adaptive one on the target, and the error that it expected, on one scale.
  """
  canvas = figure.Figure(figsize=(13, 2.6 * len(lines) + 0.6), layout="constrained")
  # Bars have a line of their own: beside pictures they would shift those of their columns.
  *grid, bars = canvas.subplots(
    len(lines) + 1, 6, squeeze=False, height_ratios=[1] * len(lines) + [_BAR]
  )
  for line, shown in zip(grid, lines):
    error = np.abs(shown.adaptive - shown.specimen.target)
    pictures = (shown.specimen.image, None, shown.static, shown.adaptive, error, shown.deviation)
    titles = (shown.title, "where the dose went\nby round", *shown.captions, *_ERRORS)
    for axes, picture, title in zip(line, pictures, titles):
      style.bare(axes)
      axes.set_title(title, fontsize=8, pad=3)
      if picture is not None:
        axes.imshow(picture, interpolation="nearest", **_LOOKS[title in _ERRORS])
    dose = _draw_dose(line[1], shown.rounds)
  last = int(dose.norm.vmax)
  error_map = cm.ScalarMappable(colors.Normalize(0, _DEVIATIONS), style.ERROR)
  bar = functools.partial(canvas.colorbar, orientation="horizontal")
  bar(dose, cax=bars[1], label="round (0: survey)", ticks=range(last + 1))
  bar(error_map, cax=bars[4], label="error (black to white: 2)")
  for axes in (bars[0], *bars[2:4], bars[5]):
    axes.remove()
  return canvas


def _draw_dose(axes, rounds):
  """Draws measured pixels in the colours of their rounds."""
  rows, columns = np.nonzero(rounds >= 0)
  axes.imshow(np.zeros(rounds.shape), cmap="gray", vmin=0, vmax=1)
  return axes.scatter(
    columns, rows, c=rounds[rows, columns], s=_DOT, linewidths=0, cmap=style.ORDER,
    vmin=0, vmax=max(rounds.max(), 1),
  )  # fmt: skip
