"""Reproduces a figure of the supplement: trains what is missing, measures, draws, compares.

  python -m launch.reproduce --figure=s2a --scale=small --images=FILE.npy --output_dir=reproduction
  python -m launch.reproduce --figure=all --seeds=0,1,2,3,4 --parallel=2 --output_dir=reproduction

Figures: s2a ... s2f, s3a, s3b, s4, s5, s6 of the supplement; controllers, clipping, replay
and edge_penalty of the main paper; all of them, one after another, with a summary of claims and
results (DIR/summary.md). Runs live in DIR/runs/NAME-seedK, each with a flagfile
NAME-seedK.cfg that launch.train takes; figures share them, finished ones are not repeated
and interrupted ones resume. DIR receives FIGURE.png, FIGURE.md and FIGURE.json.
"""

from __future__ import annotations

import os
import pathlib
import warnings

from absl import flags

from adaptive_stem_tf import config
from adaptive_stem_tf.reproduction import entries, summary, supplement
from adaptive_stem_tf.reproduction import plan as reproduction_plan
from adaptive_stem_tf.training import distribution
from adaptive_stem_tf.training import job as job_lib
from launch import flags as launch_flags
from launch import presets, reproduce_figure, runner

_ALL = "all"
_FIGURE = flags.DEFINE_enum(
  "figure", None, [*supplement.FIGURES, _ALL], "which figure, or all of them", required=True
)
_SCALE = flags.DEFINE_enum(
  "scale",
  "small",
  list(presets.SCALES),
  "sizes and iterations: the supplement's (paper; for "
  "a GPU), small networks and 3000 iterations (small), or whether it works at all (smoke)",
)
_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for runs, figures and tables", required=True
)
_DATASET = flags.DEFINE_string(
  "dataset", "", "TFDS data set: simulated_stem (default) or wemd_stem"
)
_IMAGES = flags.DEFINE_string("images", "", "NumPy file of crops to use instead of a data set")
_DOWNSAMPLED = flags.DEFINE_string(
  "downsampled_images",
  "",
  "NumPy file of downsampled micrographs that belong to --images (figure s2c)",
)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "seeds of every run, separated by commas")
_ITERATIONS = flags.DEFINE_integer(
  "iterations", 0, "iterations of a run; 0 for the scale's", lower_bound=0
)
_PARALLEL = flags.DEFINE_integer("parallel", 1, "runs carried out side by side", lower_bound=1)
_THREADS = flags.DEFINE_integer(
  "threads", 0, "threads of each run; 0 shares all cores out", lower_bound=0
)
_ONLY = flags.DEFINE_list(
  "only", [], "some of the figure's runs instead of all, by the names of their workdirs"
)
_WRITE = flags.DEFINE_boolean(
  "write_flagfiles",
  False,
  "only write the runs' flagfiles, to train them elsewhere; those of s3b follow from its "
  "sweep, which is trained first",
)
_DRAW = flags.DEFINE_boolean(
  "draw_only",
  False,
  "train nothing: measure and draw the runs that have finished, each with the seeds that have",
)


def main() -> None:
  """Reproduces --figure."""
  _check_flags()
  names = list(supplement.FIGURES) if _FIGURE.value == _ALL else [_FIGURE.value]
  figures = {name: _figure(name) for name in names}
  if _WRITE.value:
    plan = _plan(_seeds())
    if "s3b" in figures and reproduce_figure.rates_are_known(plan):
      figures["s3b"] = reproduce_figure.rates_figure(plan)
    for job in plan.jobs(*map(_runs, figures.values())):
      print(job_lib.write_flagfile(job))
    return
  _set_up(_plan(_seeds()).settings)
  if _FIGURE.value == _ALL:
    # All at once: at the end of each figure some cores would wait for its last run.
    _train(_plan(_seeds()), *map(_runs, figures.values()))
  for name, figure in figures.items():
    print(_reproduce(name, figure))
  if _FIGURE.value == _ALL:
    print(summary.write(pathlib.Path(_OUTPUT.value)))


def _figure(name: str) -> entries.Figure:
  """Returns a figure of the table, with the runs that --only names."""
  figure = supplement.FIGURES[name]
  return figure._replace(lines=_chosen(name, figure))


def _reproduce(name: str, figure: entries.Figure) -> str:
  """Trains what is missing for a figure, draws it, and returns a message for the user."""
  # A sheet shows one run.
  plan = _plan(_seeds()[:1] if figure.kind == "sheet" else _seeds())
  absent = lambda: (
    _DRAW.value and _FIGURE.value == _ALL and not reproduce_figure.any_finished(plan, figure)
  )
  left_out = f"{name}: none of its runs has finished; left out."
  if absent():
    return left_out
  _train(plan, _runs(figure))
  if name == "s3b":  # until here, its run was the sweep that its rates follow from
    figure = reproduce_figure.rates_figure(plan)
    if absent():
      return left_out
    _train(plan, _runs(figure))
  request = reproduce_figure.Request(
    name, _SCALE.value, pathlib.Path(_OUTPUT.value), presets.SCALES[_SCALE.value].test_images
  )
  return reproduce_figure.make(request, plan, figure)


def _runs(figure: entries.Figure) -> list[str]:
  return [line.run for line in figure.lines]


def _train(plan: reproduction_plan.Plan, *figures: list[str]) -> None:
  """Trains what is missing of each figure's runs."""
  if _DRAW.value:
    return
  jobs = plan.jobs(*figures)
  with runner.lock(plan.folder):
    missing = runner.missing(jobs)
    print(f"{len(jobs)} runs, {len(missing)} to train.", flush=True)
    if _SCALE.value == "smoke" and _PARALLEL.value == 1:
      runner.run_here(missing)
    else:
      runner.run_side_by_side(missing, _PARALLEL.value)


def _set_up(settings: config.RunSettings) -> None:
  distribution.set_up_tensorflow(settings)
  if _SCALE.value == "smoke":  # tracing would take longer than the few iterations
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    # TensorFlow warns that tf.data is not eager, which it need not be.
    warnings.filterwarnings("ignore", message="Even though the .*run_functions_eagerly")


def _plan(seeds: tuple[int, ...]) -> reproduction_plan.Plan:
  scale = presets.SCALES[_SCALE.value]
  base, settings = presets.read(scale.flagfile)
  iterations = _ITERATIONS.value or scale.iterations
  base = base.replace(iterations=iterations, **_specimens())
  threads = _THREADS.value or max(1, (os.cpu_count() or 1) // _PARALLEL.value)
  return reproduction_plan.Plan(
    base,
    presets.with_threads(settings, threads),
    _downsampled(),
    (pathlib.Path(_OUTPUT.value) / "runs").resolve(),
    seeds,
    max(1, round(iterations * scale.sweep_share)),
    max(1, round(iterations * scale.candidate_share)),
  )


def _specimens() -> dict[str, str]:
  if _IMAGES.value:
    return {"images": str(pathlib.Path(_IMAGES.value).resolve())}
  name = _DATASET.value or "simulated_stem"
  return {"dataset": name if "/" in name else f"{name}/crops_96"}


def _downsampled() -> dict[str, str]:
  if _DOWNSAMPLED.value:
    return {"images": str(pathlib.Path(_DOWNSAMPLED.value).resolve())}
  return {"dataset": f"{(_DATASET.value or 'simulated_stem').split('/')[0]}/downsampled_96"}


def _seeds() -> tuple[int, ...]:
  try:
    seeds = tuple(int(seed) for seed in _SEEDS.value)
  except ValueError:
    seeds = (-1,)
  if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
    raise ValueError(
      f"seeds={','.join(_SEEDS.value)} are not different whole numbers from 0: write --seeds=0,1,2."
    )
  return seeds


def _chosen(name: str, figure: entries.Figure) -> tuple[entries.Line, ...]:
  known = [line.run for line in figure.lines]
  unknown = [name for name in _ONLY.value if name not in known]
  if unknown:
    raise ValueError(
      f"only={','.join(unknown)} is no run of figure={name}: choose among {', '.join(known)}."
    )
  return tuple(line for line in figure.lines if not _ONLY.value or line.run in _ONLY.value)


def _check_flags() -> None:
  """Checks that flags do not contradict each other."""
  figure = _FIGURE.value
  of_s2c = figure in ("s2c", _ALL)
  if _IMAGES.value and _DATASET.value:
    raise ValueError(
      f"images={_IMAGES.value} and dataset={_DATASET.value} contradict each other: give one of "
      "them."
    )
  if _WRITE.value and _DRAW.value:
    raise ValueError("write_flagfiles and draw_only contradict each other: give one of them.")
  if _DRAW.value and _PARALLEL.value > 1:
    raise ValueError(
      f"draw_only and parallel={_PARALLEL.value} contradict each other: nothing is trained; leave "
      "--parallel out."
    )
  if _DOWNSAMPLED.value and not of_s2c:
    raise ValueError(
      f"downsampled_images={_DOWNSAMPLED.value} and figure={figure} contradict each other: only "
      "s2c compares crops with downsampled micrographs."
    )
  if _DOWNSAMPLED.value and not _IMAGES.value:
    raise ValueError(
      f"downsampled_images={_DOWNSAMPLED.value} without images leaves the crops to a data set of "
      "other micrographs: give --images too."
    )
  if of_s2c and _IMAGES.value and not _DOWNSAMPLED.value:
    raise ValueError(
      f"figure=s2c compares crops with downsampled micrographs, and images={_IMAGES.value} names "
      "crops only: give --downsampled_images too, or --dataset=simulated_stem for both."
    )
  if of_s2c and "/" in _DATASET.value:
    raise ValueError(
      f"figure=s2c compares two configurations of a data set, and dataset={_DATASET.value} names "
      f"one: give --dataset={_DATASET.value.split('/')[0]}."
    )
  if figure != _ALL and supplement.FIGURES[figure].kind == "sheet" and len(_SEEDS.value) > 1:
    raise ValueError(
      f"seeds={','.join(_SEEDS.value)} and figure={figure} contradict each other: a sheet shows "
      "one run; give one seed."
    )
  if figure in ("s3b", _ALL) and _ONLY.value:
    raise ValueError(
      f"only={','.join(_ONLY.value)} and figure={figure} contradict each other: the runs of s3b "
      "follow from a sweep; leave --only out."
    )


if __name__ == "__main__":
  launch_flags.run(main)
