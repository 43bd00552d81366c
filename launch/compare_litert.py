"""Compares a model's fast path with its SavedModel, call by call and over whole scans.

  python -m launch.export --workdir=runs/small --output=savedmodels/small/1 \\
      --litert_precisions=float16,int8
  python -m launch.compare_litert --model=savedmodels/small/1 --images=FILE.npy

Each image of the split is scanned without noise by both, segment by segment. Errors are
10 MSE on low-pass filtered targets.
"""

from __future__ import annotations

import json
import pathlib

import tqdm
from absl import flags

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.evaluation import statistics
from adaptive_stem_tf.serving import equivalence, extra
from launch import data
from launch import flags as launch_flags

_MODEL = flags.DEFINE_string(
  "model", None, "exported model NAME/VERSION with assets.extra/litert", required=True
)
_IMAGES = flags.DEFINE_string(
  "images", "", "NumPy file of specimens; default: the data the model was trained on"
)
_SPLIT = flags.DEFINE_enum(
  "split", "test", ["train", "validation", "test", "all"], "which split is scanned"
)
_COUNT = flags.DEFINE_integer(
  "count", 0, "how many of them, from the first; 0 for all", lower_bound=0
)
_JSON = flags.DEFINE_string("json", "", "also write the comparison to this file")

_shown = lambda measured: statistics.with_interval(measured, form="+.1e")  # means and intervals


def main() -> None:
  """Prints the comparison."""
  folder = pathlib.Path(_MODEL.value)
  path = folder / extra.FOLDER / "config.json"
  if not path.is_file():
    raise FileNotFoundError(
      f"{path} is missing: give a model that launch.export wrote, NAME/VERSION."
    )
  experiment = config.Experiment.from_json(path.read_text())
  experiment = experiment.replace(**({"images": _IMAGES.value} if _IMAGES.value else {}))
  images, sources = data.load_split(experiment.data, experiment.scan.image_size, _SPLIT.value)
  count = _COUNT.value or len(images)
  result = equivalence.compare(
    folder,
    images[:count],
    sources and sources[:count],
    lambda batches: tqdm.tqdm(batches, "scans", leave=False),
  )
  print(_report(result))
  if _JSON.value:
    writing.text(_JSON.value, json.dumps(result, indent=1))


def _report(result):
  lines = [
    f"{result['images']} scans without noise, LiteRT beside the SavedModel, both one scan at a "
    "time",
    "  a decision            greatest relative difference "
    f"{result['decision_relative_difference']:.1e}",
    f"  whole paths           {result['identical_paths']:.1%} identical to the pixel (SavedModel "
    "in one batch beside itself one by one: "
    f"{result['identical_paths_of_the_savedmodel_in_one_batch']:.1%})",
    f"  whole scans           mean 10 MSE {result['litert_ten_mse']:.5f}, SavedModel "
    f"{result['savedmodel_ten_mse']:.5f}, difference "
    f"{_shown(result['litert_minus_savedmodel_ten_mse'])}",
  ]
  lines += [
    f"  completion {precision:10} greatest relative difference {one['relative_difference']:.1e}; "
    f"of the same scans mean 10 MSE {one['ten_mse']:.5f}, difference "
    f"{_shown(one['minus_savedmodel_ten_mse'])}"
    for precision, one in result["completions"].items()
  ]
  return "\n".join(lines)


if __name__ == "__main__":
  launch_flags.run(main)
