"""Measures what corrections of scan distortions recover, on specimens whose truth is known.

  python -m launch.evaluate_distortion --output_dir=OUT \\
      --correctors=weak/cyclic=runs/weak,weak/paired=runs/weak-paired,strong/cyclic=runs/strong

--correctors are MICROSCOPE/METHOD=WORKDIR, runs of launch.train_distortion; those of one microscope
must have been trained on the same distortions and the same completer. Test specimens are scanned by
each microscope, and completed four ways and more: `undistorted` is the completer given scans
without distortion (the best there can be), `uncorrected` the same given distorted ones (the floor),
the others are the correctors. --cross also lets correctors correct the scans of the other
microscopes, which they were not trained for.

The folder receives distortion.json (means and 95 % intervals over source files and crops;
recovered shares with Fieller's intervals; displacements in px estimated by optical flow),
distortion.md (tables), recovery.png and, for each microscope, MICROSCOPE.png with paths, scans and
completions and MICROSCOPE_displacements.png with the displacements that were learnt.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import tqdm
from absl import flags

from adaptive_stem_tf import writing
from adaptive_stem_tf.correction import evaluation as correction_evaluation
from adaptive_stem_tf.correction import figures as correction_figures
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.evaluation import model, statistics, style
from launch import data
from launch import flags as launch_flags

_CORRECTORS = flags.DEFINE_list(
  "correctors", None, "MICROSCOPE/METHOD=WORKDIR, separated by commas", required=True
)
_OUTPUT = flags.DEFINE_string("output_dir", None, "folder for numbers and pictures", required=True)
_IMAGES = flags.DEFINE_string(
  "images", "", "NumPy file of specimens, if the completer's has moved. Default: that"
)
_SPLIT = flags.DEFINE_enum(
  "split",
  "test",
  ["validation", "test"],
  "which split is scanned: choose on validation, report on test",
)
_CROSS = flags.DEFINE_boolean(
  "cross", False, "also correct each microscope's scans by the others' correctors"
)
_EXAMPLES = flags.DEFINE_integer("examples", 4, "specimens in each picture", lower_bound=1)
_PROGRESS = flags.DEFINE_boolean("progress", True, "show a progress bar")
# what correctors of one microscope must share
_TRAINED_BY = ("system", "beam", "scan", "generator", "data")


class _Corrector(NamedTuple):
  workdir: str
  microscope: str
  method: str
  network: correction_evaluation.Network
  experiment: Correction
  iteration: int


def main() -> None:
  """Measures --correctors."""
  correctors = [_load(text) for text in _CORRECTORS.value]
  _check_labels([(one.microscope, one.method) for one in correctors])
  names = list(dict.fromkeys(one.microscope for one in correctors))
  folder = pathlib.Path(_OUTPUT.value)
  results = {}
  for name in tqdm.tqdm(names, "microscopes", disable=not _PROGRESS.value):
    own = [one for one in correctors if one.microscope == name]
    results[name] = _measure(name, own, correctors if _CROSS.value else own, folder)
  style.save(correction_figures.recovery(results), folder / "recovery.png", vector=True)
  result = {
    "split": _SPLIT.value,
    "units": "10 * MSE on [-1, 1], low-pass filtered target; px",
    "microscopes": results,
  }
  writing.text(folder / "distortion.json", json.dumps(result, indent=1))
  writing.text(folder / "distortion.md", _table(results))
  print(_table(results))
  print(
    f"Written: {folder}/distortion.json, distortion.md, recovery.png and {', '.join(names)}.png."
  )


def _load(text: str) -> _Corrector:
  label, equals, workdir = text.partition("=")
  microscope, slash, method = label.partition("/")
  if not (equals and slash and microscope and method and workdir):
    raise ValueError(
      f"correctors={text} is not MICROSCOPE/METHOD=WORKDIR: write weak/cyclic=runs/weak, say."
    )
  if method in (correction_evaluation.UNCORRECTED, correction_evaluation.UNDISTORTED):
    raise ValueError(
      f"correctors={text}: {method} is what correctors are compared with; choose another name."
    )
  return _Corrector(workdir, microscope, method, *correction_training.load(workdir))


def _check_labels(labels: list[tuple[str, str]]) -> None:
  twice = [
    f"{microscope}/{method}"
    for number, (microscope, method) in enumerate(labels)
    if (microscope, method) in labels[:number]
  ]
  if twice:
    raise ValueError(
      f"correctors name {twice[0]} twice: give every method of a microscope a name of its own."
    )


def _measure(
  name: str, own: list[_Corrector], correctors: list[_Corrector], folder: pathlib.Path
) -> dict[str, Any]:
  """Measures correctors on the scans of one microscope, and draws examples.

  Args:
    name: of the microscope.
    own: correctors that were trained for it.
    correctors: that are measured.
    folder: for the pictures.
  """
  first = own[0].experiment
  _check_same_scans(name, own)
  settings = first.replace(**({"images": _IMAGES.value} if _IMAGES.value else {}))
  part = data.load_part(settings.data, settings.scan.image_size, _SPLIT.value)
  completer, _ = model.load(first.cycle.completer)
  networks = {
    one.method if one.microscope == name else f"{one.method} of {one.microscope}": one.network
    for one in correctors
    if one.experiment.scan.image_size == first.scan.image_size
  }
  measured = correction_evaluation.measure(
    correction_evaluation.Microscope(completer, first.system, first.beam), networks, part.images
  )
  rows = [
    round(row)
    for row in np.linspace(0, len(part.images) - 1, min(_EXAMPLES.value, len(part.images)))
  ]
  style.save(
    correction_figures.examples(part.images, measured, rows), folder / f"{name}.png", dpi=170
  )
  _draw_learnt(own, measured, folder / f"{name}_displacements.png")
  return {
    "system": vars(first.system),
    "dwell_us": first.beam.dwell_us,
    "count": len(part.images),
    "path": first.scan.path,
    "iterations": {one.method: one.iteration for one in own},
    **correction_evaluation.summarise(measured, part.sources),
  }


def _check_same_scans(name: str, own: list[_Corrector]) -> None:
  """Checks that correctors of one microscope were trained on its scans by the same completer."""
  first = own[0].experiment
  for other in own[1:]:
    differing = [
      section
      for section in _TRAINED_BY
      if getattr(other.experiment, section) != getattr(first, section)
    ]
    if differing or other.experiment.cycle.completer != first.cycle.completer:
      raise ValueError(
        f"{own[0].method} and {other.method} of {name} were not trained on the same microscope's "
        f"scans ({', '.join(differing) or 'completer'} differ): give the microscopes different "
        "names."
      )


def _draw_learnt(
  own: list[_Corrector], measured: correction_evaluation.Measured, path: pathlib.Path
) -> None:
  learnt = {
    one.method: correction_training.learnt_displacements(one.workdir, measured.scans.nominal[:1])
    for one in own
  }
  known = {method: values for method, values in learnt.items() if values is not None}
  if known:
    style.save(correction_figures.displacements(measured, known), path)


def _table(results: dict[str, dict]) -> str:
  lines = [
    "| microscope | misses by, px (rms) | way | 10 MSE | minus uncorrected | recovered share | "
    "residual, px |",
    "|" + "---|" * 7,
  ]
  for name, result in results.items():
    for way, measured in result["ways"].items():
      cells = [
        name,
        f"{result['missed_px_rms']['mean']:.2f}",
        way,
        statistics.with_interval(measured["ten_mse"]),
        statistics.with_interval(measured.get("minus_uncorrected")),
        statistics.with_interval(measured.get("recovered_share"), ".2f"),
        statistics.with_interval(measured["residual_px"], ".2f"),
      ]
      lines.append(f"| {' | '.join(cells)} |")
    raster = statistics.with_interval(result["fast_raster_ten_mse"])
    lines.append(f"| {name} | | raster of every pixel, as fast | {raster} | | | |")
  lines += [
    "",
    statistics.FEW,
    "Where what distortion costs is not resolved from 0, its share is unbounded.",
  ]
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  launch_flags.run(main)
