"""Compares scans of equal dose: adaptive ones with spirals, lines, grids, points and walks.

  python -m launch.compare --models=runs/best-seed0,runs/best-seed1,runs/best-seed2 \\
      --images=FILE.npy --output_dir=comparison

Every scan has as many probing positions as the models'. Generators for the other scans are
trained where they are missing, in DIR/runs: with the models' configuration, data and number
of iterations, interrupted ones resume, finished ones are not repeated. The pitch of each
spiral is chosen on validation crops. DIR receives compare.json, compare.csv, compare.md,
differences.png (paired differences from the better spiral), examples.png and scan.gif.
Models that differ in their seeds only are one group; NAME=WORKDIR names a group. Models of any
path can be compared, and --scans=NAME=FILE.npy adds a scan of your own: its positions in px, as
many as the models', or its directions in rad. The generator of all scans was not trained on it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

from absl import flags

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare import groups as groups_lib
from adaptive_stem_tf.compare import plan as plan_lib
from adaptive_stem_tf.training import distribution
from launch import compare_report, presets
from launch import flags as launch_flags

_MODELS = flags.DEFINE_list(
  "models",
  None,
  "finished training workdirs, WORKDIR or NAME=WORKDIR, separated by commas: of adaptive scanners, "
  "or of any other path",
  required=True,
)
_IMAGES = flags.DEFINE_string(
  "images", None, "NumPy file of specimens; its test split (last 20 %) is scanned", required=True
)
_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for runs, tables and pictures", required=True
)
_SPLIT = flags.DEFINE_enum(
  "split",
  "test",
  ["test", "validation"],
  "which split is scanned: choose on validation, report on test",
)
_SCANS = flags.DEFINE_list(
  "scans",
  [],
  f"scans to compare with: {', '.join(plan_lib.SCANS)}, and NAME=FILE.npy for positions [P, 2] px "
  "or directions [T] rad of your own. Default: all that have names",
)
_COMPLETIONS = flags.DEFINE_list(
  "completions",
  [],
  "how scans are completed: own (a generator trained for each scan), all (one trained on all "
  "scans), nearest, linear, biharmonic, total_variation. Default: all of these",
)
_ITERATIONS = flags.DEFINE_integer(
  "generator_iterations",
  0,
  "iterations of the generators that are trained; 0 for as "
  "many as the models', pre-training included",
  lower_bound=0,
)
_SEEDS = flags.DEFINE_list(
  "seeds", [], "seeds of the generators that are trained. Default: those of the first group"
)
_TRAINING = flags.DEFINE_string(
  "training_images",
  "",
  "NumPy file that generators are trained on, if the models' has "
  "moved. Default: what the models were trained on",
)
_TRAIN = flags.DEFINE_boolean(
  "train", True, "train generators that are missing; --notrain stops instead, naming them"
)
_PITCH = flags.DEFINE_float(
  "spiral_pitch", 0.0, "pitch of the spiral, px; 0 to choose it", lower_bound=0.0
)
_POLYGON = flags.DEFINE_float(
  "polygon_pitch", 0.0, "pitch of the polygon spiral, px; 0 to choose it", lower_bound=0.0
)
_PITCH_ITERATIONS = flags.DEFINE_integer(
  "pitch_iterations",
  0,
  "iterations of a generator for each candidate pitch; 0 chooses pitches with the generator "
  "of all scans, or linear interpolation where there is none",
  lower_bound=0,
)
_ELECTRONS = flags.DEFINE_list(
  "electrons",
  [],
  "electrons per pixel at white, separated by commas: repeats the "
  "comparison with Poisson dose noise at each",
)
_EQUAL_TIME = flags.DEFINE_boolean(
  "equal_time",
  False,
  "give scans that take longer than the adaptive one fewer "
  "probing positions, whole segments, so that none takes longer",
)
_PARALLEL = flags.DEFINE_integer("parallel", 1, "trainings carried out side by side", lower_bound=1)
_THREADS = flags.DEFINE_integer(
  "threads", 0, "threads of each training; 0 shares all cores out", lower_bound=0
)
_HERE = flags.DEFINE_boolean(
  "in_process", False, "train in this process, one run after another (small runs)"
)


def main() -> None:
  """Compares --models with other scans."""
  groups = groups_lib.read(_MODELS.value)
  request = _request(groups)
  plan = _plan(groups)
  distribution.set_up_tensorflow(config.RunSettings(threads=_THREADS.value))
  print(compare_report.make(request, plan, groups))


def _request(groups: list[groups_lib.Group]) -> compare_report.Request:
  completions = plan_lib.check("completions", _COMPLETIONS.value, list(plan_lib.COMPLETIONS))
  if _EQUAL_TIME.value and plan_lib.ALL in completions:
    if _COMPLETIONS.value:
      raise ValueError(
        "equal_time and completions=all contradict each other: the generator of all scans is "
        "trained on scans of one dose; leave one of them out."
      )
    completions = tuple(name for name in completions if name != plan_lib.ALL)
  if _HERE.value and _PARALLEL.value > 1:
    raise ValueError(
      f"in_process and parallel={_PARALLEL.value} contradict each other: leave one of them out."
    )
  if _PITCH.value and _POLYGON.value and _PITCH_ITERATIONS.value:
    raise ValueError(
      f"pitch_iterations={_PITCH_ITERATIONS.value} and both pitches given contradict each other: "
      "there is nothing to choose; leave --pitch_iterations out."
    )
  size = groups[0].experiments[0].scan.image_size
  return compare_report.Request(
    images=_IMAGES.value,
    split=_SPLIT.value,
    output=pathlib.Path(_OUTPUT.value),
    completions=completions,
    pitches={
      name: pitch for name, pitch in zip(plan_lib.SPIRALS, (_PITCH.value, _POLYGON.value)) if pitch
    },
    pitch_iterations=_PITCH_ITERATIONS.value,
    electrons=_electrons(),
    beam=launch_flags.section(microscope_config.Beam),
    equal_time=_EQUAL_TIME.value,
    train=_TRAIN.value,
    in_process=_HERE.value,
    parallel=_PARALLEL.value,
    size=size,
  )


def _plan(groups: list[groups_lib.Group]) -> plan_lib.Plan:
  first = groups[0].experiments[0]
  scans, files = plan_lib.parse_scans(_SCANS.value)
  if files and _EQUAL_TIME.value:
    raise ValueError(
      f"equal_time and scans={','.join(files)} of files contradict each other: a file has "
      "positions of one number; leave one of them out."
    )
  changes: dict = {"iterations": _ITERATIONS.value or first.optimisation.iterations}
  images = _TRAINING.value or first.data.images
  if images:
    if not pathlib.Path(images).is_file():
      raise ValueError(
        f"the models were trained on images={images}, which is not there: give --training_images."
      )
    changes["images"] = str(pathlib.Path(images).resolve())
  threads = _THREADS.value or max(1, (os.cpu_count() or 1) // _PARALLEL.value)
  settings = dataclasses.replace(
    presets.with_threads(config.RunSettings(), threads), progress=_HERE.value
  )
  return plan_lib.Plan(
    groups[0],
    first.replace(**changes),
    settings,
    (pathlib.Path(_OUTPUT.value) / "runs").resolve(),
    _seeds() or groups[0].seeds,
    scans,
    files=files,
  )


def _seeds() -> tuple[int, ...]:
  try:
    seeds = tuple(int(seed) for seed in _SEEDS.value)
  except ValueError:
    seeds = (-1,)
  if seeds and (min(seeds) < 0 or len(set(seeds)) < len(seeds)):
    raise ValueError(
      f"seeds={','.join(_SEEDS.value)} are not different whole numbers from 0: write --seeds=0,1,2."
    )
  return seeds


def _electrons() -> tuple[float, ...]:
  try:
    electrons = tuple(float(count) for count in _ELECTRONS.value)
  except ValueError:
    electrons = (0.0,)
  if electrons and not min(electrons) > 0:
    raise ValueError(
      f"electrons={','.join(_ELECTRONS.value)} are not numbers above 0: write "
      "--electrons=10,100,1000."
    )
  return electrons


if __name__ == "__main__":
  launch_flags.define(microscope_config.Beam)
  launch_flags.run(main)
