"""Learning rate range test (SI fig. S3): sweeps rates, tries candidates, recommends one.

  python -m launch.lr_range --flagfile=launch/flagfiles/small.cfg --images=FILE.npy \\
    --output_dir=runs/lr_range --sweep_iterations=1000 --candidate_iterations=1000

The sweep raises the rate exponentially from --sweep_from to --sweep_to, for each of
--optimisers. Five candidates around a tenth of the rate at which --generator_optimiser
became unstable are then trained on the usual schedule, and the one with the lowest error
on the validation split is recommended. Run again to resume. The folder receives
sweep.png, candidates.png and lr_range.json.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
from absl import flags

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.reproduction import figures as reproduction_figures
from adaptive_stem_tf.reproduction import lr_range
from adaptive_stem_tf.reproduction import results as reproduction_results
from adaptive_stem_tf.training import distribution
from adaptive_stem_tf.training.job import Job
from launch import flags as launch_flags
from launch import runner

_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for runs, plots and lr_range.json", required=True
)
_OPTIMISERS = flags.DEFINE_list(
  "optimisers", ["adam", "sgd"], "generator optimisers that are swept"
)
_SWEEP = flags.DEFINE_integer("sweep_iterations", 10_000, "iterations of the sweep", lower_bound=10)
_CANDIDATE = flags.DEFINE_integer(
  "candidate_iterations", 100_000, "iterations of each candidate", lower_bound=1
)
_SWEEP_KEYS = ("unstable_rate", "not_finite_rate")
_BOXCAR = 1000  # iterations, of the candidates' curves


def main() -> None:
  """Sweeps, tries candidates and recommends a rate."""
  base, settings = _base(), launch_flags.section(config.RunSettings)
  distribution.set_up_tensorflow(settings)
  folder = pathlib.Path(_OUTPUT.value)
  sweeps = {
    name: _job(
      folder / f"sweep_{name}", base.replace(**lr_range.changes(name, _SWEEP.value)), settings
    )
    for name in _OPTIMISERS.value
  }
  _train(folder, list(sweeps.values()))
  sweep_results = {name: _measure(job) for name, job in sweeps.items()}
  shown = {name: (name.upper(), [one]) for name, one in sweep_results.items()}
  style.save(
    reproduction_figures.sweeps("Learning rate sweep", shown, lr_range.boxcar_width(_SWEEP.value)),
    folder / "sweep.png",
  )
  sweep = sweep_results[base.optimisation.generator_optimiser]
  rates = lr_range.candidates(_unstable(sweep, base))
  candidates = {
    rate: _job(
      folder / f"rate_{rate:.2e}",
      base.replace(generator_rate=rate, iterations=_CANDIDATE.value),
      settings,
    )
    for rate in rates
  }
  _train(folder, list(candidates.values()))
  _conclude(folder, sweep_results, {rate: _measure(job) for rate, job in candidates.items()})


def _base() -> config.Experiment:
  base = launch_flags.experiment()
  o = base.optimisation
  if launch_flags.given(["generator_rate"]):
    raise ValueError(
      f"generator_rate={o.generator_rate} and a learning rate range test disagree: the rate is "
      "what is looked for; leave it out."
    )
  if o.schedule == "sweep":
    raise ValueError(
      "schedule=sweep and a learning rate range test disagree: it is the schedule of its "
      "candidates; choose cyclic, exponential or constant."
    )
  unknown = [name for name in _OPTIMISERS.value if name not in ("adam", "rmsprop", "sgd")]
  if unknown or o.generator_optimiser not in _OPTIMISERS.value:
    raise ValueError(
      f"optimisers={','.join(_OPTIMISERS.value)} must be among adam, rmsprop and sgd and contain "
      f"generator_optimiser={o.generator_optimiser}, for which a rate is recommended."
    )
  return (
    base if base.data.validation_fraction else base.replace(validation_fraction=lr_range.VALIDATION)
  )


def _train(folder: pathlib.Path, jobs: list[Job]) -> None:
  with runner.lock(folder):
    runner.run_here(runner.missing(jobs))


def _job(workdir: pathlib.Path, experiment: config.Experiment, settings: config.RunSettings) -> Job:
  return Job(workdir, experiment, settings, None)


def _measure(job: Job) -> reproduction_results.Measured:
  """Measures a run; errors are those of the validation split."""
  splits = runner.load_splits(job.experiment.data, job.experiment.scan.image_size)
  return reproduction_results.measure(
    job.workdir, splits._replace(test=splits.validation), 0, _BOXCAR
  )


def _unstable(measured: reproduction_results.Measured, base: config.Experiment) -> float:
  """Returns the rate at which learning became unstable; the last if it never did."""
  assert measured.sweep is not None
  if measured.sweep.unstable is None:
    print(
      f"The sweep stayed stable up to its last rate, {base.optimisation.sweep_to:.2g}, which is "
      "taken instead."
    )
  return measured.sweep.unstable or base.optimisation.sweep_to


def _conclude(
  folder: pathlib.Path,
  sweep_results: dict[str, reproduction_results.Measured],
  candidates: dict[float, reproduction_results.Measured],
) -> None:
  """Draws the candidates, writes lr_range.json, and prints sweeps, candidates and the
  recommendation.
  """
  shown = {f"rate_{rate}": (f"{rate:.2e}", [one]) for rate, one in candidates.items()}
  style.save(
    reproduction_figures.curves("Learning rates", shown, _CANDIDATE.value, _BOXCAR, "Validation"),
    folder / "candidates.png",
  )
  errors = {rate: one.metrics.get("test", np.inf) for rate, one in candidates.items()}
  best = lr_range.recommend(errors)
  sweeps = {
    name: {"iterations": _SWEEP.value, **{key: one.metrics.get(key) for key in _SWEEP_KEYS}}
    for name, one in sweep_results.items()
  }
  result = {
    "sweeps": sweeps,
    "candidates": [
      {
        "rate": rate,
        "iterations": _CANDIDATE.value,
        "validation_ten_mse": one.metrics.get("test"),
        "diverged_at_iteration": one.diverged,
      }
      for rate, one in candidates.items()
    ],
    "recommended_rate": best,
  }
  text = json.dumps(reproduction_results.for_json(result), indent=1)
  writing.text(folder / "lr_range.json", text)
  for name, one in sweeps.items():
    print(
      f"{name}: unstable at {_rate(one['unstable_rate'])}, not finite at "
      f"{_rate(one['not_finite_rate'])}"
    )
  for rate, error in errors.items():
    print(
      f"  rate {rate:.2e}: validation 10 MSE "
      f"{error:.4f}{'  <- recommended' if rate == best else ''}"
    )
  print(
    f"Recommended: --generator_rate={best:g}. Written: {folder}/sweep.png, candidates.png and "
    "lr_range.json."
  )


def _rate(rate: float | None) -> str:
  return "no rate" if rate is None else f"{rate:.1e}"


if __name__ == "__main__":
  launch_flags.define_experiment()
  launch_flags.define(config.RunSettings)
  launch_flags.run(main)
