"""Evaluates a run: every test image once, without exploration, beside a spiral of equal dose.

  python -m launch.evaluate --workdir=runs/small --output_dir=runs/small/evaluation

Writes evaluation.json (means, standard deviations and 95 % intervals of 10 MSE, MSE,
PSNR and SSIM, and every image's values), and sheets of the adaptive scans and of the
spirals (partial scan, target, completion). The spiral is completed by the run's own
generator, which was not trained for it.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
from absl import flags

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.evaluation import figures, metrics, model, statistics, style
from launch import data
from launch import flags as launch_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for evaluation.json and pictures", required=True
)
_IMAGES = flags.DEFINE_string(
  "images",
  "",
  "NumPy file of specimens; its test split (last 20 %) is used. "
  "Default: the data the run was trained on",
)
_SPLIT = flags.DEFINE_enum(
  "split", "test", ["train", "validation", "test", "all"], "which split is evaluated"
)
_EXAMPLES = 12

_shown = lambda measured: statistics.with_interval(measured, form=".4f")  # means and intervals


def main() -> None:
  """Evaluates the run in --workdir."""
  trained, iteration = model.load(_WORKDIR.value)
  settings = trained.experiment.replace(**({"images": _IMAGES.value} if _IMAGES.value else {}))
  images, sources = data.load_split(settings.data, settings.scan.image_size, _SPLIT.value)
  result, scans = metrics.evaluate(trained, images, sources)
  result = {
    "workdir": _WORKDIR.value,
    "iteration": iteration,
    "split": _SPLIT.value,
    "images": _IMAGES.value or settings.data.images or settings.data.dataset,
    **result,
  }
  folder = pathlib.Path(_OUTPUT.value)
  writing.text(folder / "evaluation.json", json.dumps(result, indent=1))
  _draw(folder, images, scans, settings.data)
  print(_table(result))
  print(f"Written: {folder}/evaluation.json, and a sheet of examples of each scan as PNG.")


def _draw(folder: pathlib.Path, images: np.ndarray, scans: dict, settings: config.Data) -> None:
  rows = np.linspace(0, len(images) - 1, min(_EXAMPLES, len(images))).round().astype(int)
  targets = metrics.targets_of(images[rows], settings.filter_sigma)["filtered"]
  for name, all_scans in scans.items():
    shown = type(all_scans)(*(part[rows] for part in all_scans))
    canvas = figures.sheet(
      shown.partial, targets, shown.completions, metrics.sheet_titles(shown, targets)
    )
    style.save(canvas, folder / f"{name.replace(' ', '_')}.png")


def _table(result: dict) -> str:
  lines = [
    f"{result['count']} images, {result['probing_positions']} probing positions each; 10 MSE on "
    "filtered and raw targets, mean and 95 % interval:"
  ]
  for name, measured in result["scans"].items():
    cells = [_shown(measured[kind]["ten_mse"]) for kind in ("filtered", "raw")]
    more = ", ".join(
      f"{metric.upper()} {measured['filtered'][metric]['mean']:.2f}" for metric in ("psnr", "ssim")
    )
    lines.append(
      f"  {name:10} {cells[0]}  raw {cells[1]}  {more}, {measured['distinct_pixels']:.2%} "
      "distinct pixels"
    )
  difference = _shown(result["own_minus_spiral_ten_mse"])
  lines.append(f"  {next(iter(result['scans']))} - spiral {difference} (paired)")
  lines.append(f"  each image's mean {_shown(result['image_mean_ten_mse'])}")
  return "\n".join(lines)


if __name__ == "__main__":
  launch_flags.run(main)
