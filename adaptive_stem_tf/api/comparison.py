"""Compares policies with static scans of equal dose: `stem.compare(fields, policies={...})`."""

import functools
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from matplotlib import figure

from adaptive_stem_tf import installation, microscope_config
from adaptive_stem_tf.api import comparison_plot
from adaptive_stem_tf.api.models import Model
from adaptive_stem_tf.compare_fields import comparison as comparison_lib
from adaptive_stem_tf.compare_fields import exported, report, settings, specimen, summary
from adaptive_stem_tf.evaluation import statistics
from adaptive_stem_tf.fields import knowledge
from adaptive_stem_tf.micrographs import whole_fields
from adaptive_stem_tf.serving import field_request, subject

_load = functools.cache(exported.ExportedModel)  # notebooks make several comparisons
_FILES = 3  # least number of files for an interval
SCANS = (settings.EVEN, "jittered_grid", settings.GRADIENT, settings.ACTOR)
COMPLETIONS = (settings.GENERATOR, settings.LOCAL_LINEAR)
_COLUMNS = ("coverage", "scan", "completion", "10 MSE", "PSNR [dB]", "SSIM", "of the best static")


class Comparison:
  """Errors of scans of equal dose.

  Attributes:
    rows: one for each field, coverage, scan, completion and seed, with metrics by name: 10 MSE
      (`ten_mse`, filtered target), `psnr`, `ssim` and others.
    result: everything that `launch.compare_fields` writes to compare_fields.json.
  """

  def __init__(self, result: dict[str, Any]):
    self.result, self.rows = result, result["per_field"]

  def table(self) -> str:
    """Returns a table in Markdown, best first: means over fields and seeds.

    10 MSE are geometric means; the last column has the ratio to the best static pair of scan and
    completion, with its 95 % interval from three fields on.
    """
    cells = [[str(cell) for cell in line] for line in (_COLUMNS, *self._lines())]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    return "\n".join(
      [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|"] + lines[1:]
    )

  def plot(self) -> figure.Figure:
    """Draws 10 MSE of every scan and completion: dots are fields and seeds, marks their means."""
    return comparison_plot.draw(self.rows)

  def __repr__(self) -> str:
    return self.table()

  def _repr_markdown_(self) -> str:
    """Returns the table that notebooks show."""
    return self.table()

  def _lines(self):
    """Yields the cells of each line of the table, best first at each coverage."""
    means = summary.geometric_means(self.rows)
    ratios = {
      (one["coverage"], one["scan"], one["completion"]): one["ratio"]
      for one in self.result["ratios"]
      if (one["comparison"], one["metric"], one["group"])
      == (summary.BEST_STATIC, "ten_mse", summary.ALL)
    }
    for key in sorted(means, key=lambda key: (key[0], means[key])):
      coverage, group, model, scan, completion = key
      rows = [row for row in self.rows if _identity(row) == (coverage, model, scan, completion)]
      if group == summary.ALL:
        mean = lambda name, rows=rows: float(np.mean([row[name] for row in rows]))
        ratio = _ratio(ratios.get((coverage, scan, completion)))
        yield (
          f"{coverage:.3f}", scan, completion, f"{means[key]:.4f}", f"{mean('psnr'):.1f}",
          f"{mean('ssim'):.3f}", ratio,
        )  # fmt: skip


def compare(
  fields: Any,
  policies: Mapping[str, knowledge.Weigh] | None = None,
  *,
  coverages: Sequence[float] = (field_request.COVERAGE,),
  seeds: Sequence[int] = (0,),
  scans: Sequence[str] = SCANS,
  completions: Sequence[str] = COMPLETIONS,
  model: Model | str | os.PathLike | None = None,
  progress: bool | None = None,
  **decisions: Any,
) -> Comparison:
  """Scans fields with every policy and static scan at the same dose, and completes every scan.

  Args:
    fields: one field or several, each as `Model.scan` takes it; a mapping names them.
    policies: your own, by name (`stem.policies`).
    coverages: shares of the pixels that are measured.
    seeds: of the patterns of even positions.
    scans: the scans to compare your own with: static ones (farthest_points, jittered_grid,
      uniform_grid, low_discrepancy, zigzag, spiral, raster), even, gradient, greedy, actor.
    completions: some of generator, local_linear, linear, biharmonic and total_variation.
    model: whose generator completes and whose actor decides; None for the shipped one.
    progress: whether to show a bar of the fields; None to show it on a terminal only.
    **decisions: rounds, survey, pairs, gradient_power, greedy_power, and electrons per white
      pixel, which bring shot noise; the model's by default.

  Raises:
    ValueError: if a name is unknown or taken, or a policy does not return weights.
  """
  own = dict(policies or {})
  _check("policies", [name for name in own if name in settings.SCANS], "is a scan already")
  _check("scans", [name for name in scans if name not in settings.SCANS], "is unknown")
  _check("completions", set(completions) - set(settings.COMPLETIONS), "is unknown")
  request = settings.Request(
    tuple(coverages),
    tuple(seeds),
    (*scans, *own),
    tuple(completions),
    settings.Decisions(**decisions),
  )
  if request.decisions.contiguous and own:
    raise ValueError(
      f"contiguous=True and policies={', '.join(own)} disagree: pixels on the beam's way are "
      "measured for the project's own scans alone; leave one out."
    )
  folder = model.folder if isinstance(model, Model) else model or installation.model()
  models = {pathlib.Path(folder).parent.name: _load(str(folder))}
  comparison = comparison_lib.Comparison(models, request, microscope_config.Beam(), own)
  specimens = [_specimen(name, field) for name, field in _named(fields).items()]
  bar = lambda items: tqdm.tqdm(
    items, "fields", file=sys.stderr, disable=None if progress is None else not progress
  )
  measurements = report.measure(comparison, specimens, bar)
  return Comparison(report.result(measurements, None, {name: str(folder) for name in models}))


def _check(argument: str, wrong: Iterable[str], words: str) -> None:
  """Raises an error for the first of an argument's wrong names; `words` say what is wrong."""
  for name in wrong:
    known = settings.COMPLETIONS if argument == "completions" else settings.SCANS
    raise ValueError(f"{argument}={name} {words}: there are {', '.join(known)}.")


def _named(fields: Any) -> Mapping[str, Any]:
  """Returns fields by name, of one or several."""
  # One field may be a file, a signal of HyperSpy, a dictionary of RosettaSciIO, or an array.
  one = isinstance(fields, str | os.PathLike) or hasattr(fields, "axes_manager")
  if isinstance(fields, Mapping):
    if not {"data", "axes"} <= set(fields):
      return fields
    one = True
  if one or (isinstance(fields, np.ndarray) and fields.ndim == 2):
    fields = [fields]
  return {
    f"{i}: {pathlib.Path(field).name}"
    if isinstance(field, str | os.PathLike)
    else f"field {i}": field
    for i, field in enumerate(fields)
  }


def _specimen(name, field):
  image = subject.of(field).image
  return specimen.make(str(name), whole_fields.to_unit_range(image))


def _ratio(ratio):
  """Returns a ratio as text, with its interval if there are enough files for one."""
  if ratio is None:
    return ""
  if ratio["files"] < _FILES:
    return f"{ratio['mean']:.2f}"
  return statistics.with_interval(ratio, ".2f")


def _identity(row):
  return row["coverage"], row["model"], row["scan"], row["completion"]
