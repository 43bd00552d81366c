"""Measures finished runs: test errors, learning curves, and the metrics that claims are about."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import config, input_pipeline, writing
from adaptive_stem_tf.evaluation import figures, model
from adaptive_stem_tf.evaluation import metrics as metrics_lib
from adaptive_stem_tf.reproduction import lr_range, runs
from adaptive_stem_tf.training import metrics_writer
from adaptive_stem_tf.training import workdir as workdir_lib

_ERRORS = "errors.json"


class Curve(NamedTuple):
  """The learning curve of one run of one seed."""

  iterations: np.ndarray  # [N], at the end of each row
  losses: np.ndarray  # [N], 10 MSE of training scans


class Measured(NamedTuple):
  """One run of one seed."""

  curve: Curve
  errors: dict[str, Any]  # of `measure_errors`
  metrics: dict[str, float]  # by the names that claims use
  diverged: int | None
  sweep: lr_range.Sweep | None
  seed: int


def measure(
  workdir: pathlib.Path, splits: input_pipeline.Splits | None, most: int, boxcar: float
) -> Measured:
  """Measures a finished run.

  Args:
    workdir: of the run.
    splits: its specimens; None leaves test errors out (sweeps).
    most: images of each split that are evaluated, evenly spread; 0 for all.
    boxcar: iterations that its curve is averaged over; at most a twentieth of the run.
  """
  experiment = workdir_lib.read_experiment(workdir)
  rows = metrics_writer.read_rows(workdir / "metrics.csv")
  curve = Curve(
    *(np.array([row[name] for row in rows]) for name in ("iteration", "generator_loss"))
  )
  diverged = workdir_lib.diverged_at(workdir)
  metrics = curve_metrics(curve, experiment.optimisation.iterations, boxcar)
  sweep, errors = None, {}
  if experiment.optimisation.schedule == "sweep":
    sweep = lr_range.read_sweep(rows, experiment.optimisation, diverged)
    metrics.update(
      {
        name: rate
        for name, rate in (("unstable_rate", sweep.unstable), ("not_finite_rate", sweep.not_finite))
        if rate is not None
      }
    )
  elif diverged is not None:
    metrics.update(test=np.inf, test_sd=np.inf, instability=np.inf)
  elif splits is not None:
    errors = measure_errors(workdir, experiment, splits, most)
    metrics.update(_error_metrics(errors))
  return Measured(curve, errors, metrics, diverged, sweep, experiment.seed)


def curve_metrics(curve: Curve, iterations: int, boxcar: float) -> dict[str, float]:
  """Returns means of a curve over its first tenth, first half and last tenth, and its instability.

  Instability is the greatest ratio of the boxcar average to its running minimum, after
  the first tenth.
  """
  at, losses = curve
  if not len(at):
    return {}
  weights = np.diff(at, prepend=0)
  mean = lambda rows: (
    float(np.average(losses[rows], weights=weights[rows])) if rows.any() else np.nan
  )
  width = boxcar_width(iterations, boxcar)
  smooth = figures.boxcar(losses, weights, width)
  lowest = np.minimum.accumulate(np.where(at >= width, smooth, np.inf))
  judged = (at > 0.1 * iterations) & (at >= width)
  return {
    "initial": mean(at <= 0.1 * iterations),
    "early": mean(at <= 0.5 * iterations),
    "late": mean(at > 0.9 * iterations),
    "instability": float((smooth[judged] / lowest[judged]).max()) if judged.any() else np.nan,
  }


def boxcar_width(iterations: int, boxcar: float) -> float:
  """Returns the iterations that a curve is averaged over: at most a twentieth of the run."""
  return min(boxcar, max(iterations / 20, 1))


def measure_errors(
  workdir: pathlib.Path, experiment: config.Experiment, splits: input_pipeline.Splits, most: int
) -> dict[str, Any]:
  """Returns mean and standard deviation of 10 MSE, and keeps them in the workdir.

  Evaluated are the test and training splits, and the validation split if there is one, at the last
  iteration; for fixed paths also half-way (SI S4). Each split has at most as many images as the
  test split, evenly spread. Numbers that the workdir has for the same iterations and counts are
  read from there: they are taken to be of the same specimens.
  """
  last = experiment.optimisation.iterations
  steps = (
    {"end": last}
    if experiment.scan.path == "adaptive" or last < 2
    else {"end": last, "half": last // 2}
  )
  count = min(most or len(splits.test), len(splits.test))
  parts = {"test": splits.test, "train": splits.train}
  request = {"steps": steps, "images": count}
  if len(splits.validation):
    parts["validation"] = splits.validation
    request["validation"] = True
  file = pathlib.Path(workdir) / _ERRORS
  if file.is_file():
    errors = json.loads(file.read_text())
    if errors.get("asked") == request:
      return errors
  errors = {"asked": request}
  for place, step in steps.items():
    trained, _ = model.load(workdir, step)
    errors[place] = {name: _error(trained, spread(images, count)) for name, images in parts.items()}
  writing.text(file, json.dumps(errors, indent=1))
  return errors


def spread(images: np.ndarray, count: int) -> np.ndarray:
  """Returns `count` of the images, evenly spread; all if there are fewer."""
  return images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]


def sheet(workdir: str | os.PathLike, images: np.ndarray) -> Any:
  """Draws the scans of a trained run: partial scan, target and completion of each image (SI figs.
  S4 to S6).
  """
  trained, _ = model.load(workdir)
  scans = trained.scan_all(images)
  targets = metrics_lib.targets_of(images, trained.experiment.data.filter_sigma)["filtered"]
  return figures.sheet(
    scans.partial, targets, scans.completions, metrics_lib.sheet_titles(scans, targets), columns=3
  )


def _error(trained: model.Model, images: np.ndarray) -> dict[str, float]:
  targets = metrics_lib.targets_of(images, trained.experiment.data.filter_sigma)["filtered"]
  ten_mse = metrics_lib.ten_mse(trained.scan_all(images).completions, targets)
  return {
    "mean": float(ten_mse.mean()),
    "standard_deviation": float(ten_mse.std()),
    "images": len(images),
  }


def _error_metrics(errors: dict[str, Any]) -> dict[str, float]:
  metrics = {}
  for place, suffix in (("end", ""), ("half", "_half")):
    if place in errors:
      test, train = errors[place]["test"], errors[place]["train"]
      if "validation" in errors[place]:
        metrics[f"validation{suffix}"] = errors[place]["validation"]["mean"]
      metrics.update(
        {
          f"test{suffix}": test["mean"],
          f"test{suffix}_sd": test["standard_deviation"],
          f"train{suffix}": train["mean"],
          f"overfitting{suffix}": test["mean"] - train["mean"],
        }
      )
  return metrics


def best_rates(measured: Mapping[str, Sequence[Measured]]) -> dict[int, float]:
  """Returns the rate of lowest error on the validation split (METHOD section 2), by seed.

  Args:
    measured: one measurement a seed, by the names of the runs of s3b. Seeds that some of the runs
      do not have are left out.

  Raises:
    ValueError: if no rate of a seed has a finite error.
  """
  errors: dict[int, dict[float, float]] = {}
  for name, seeds in measured.items():
    for one in seeds:
      rate = float(name.removeprefix(runs.RATE))
      errors.setdefault(one.seed, {})[rate] = one.metrics.get("validation", np.inf)
  complete = {seed: rates for seed, rates in errors.items() if len(rates) == len(measured)}
  return {seed: lr_range.recommend(rates) for seed, rates in complete.items()}


def gather(measured: Mapping[str, Sequence[Measured]]) -> dict[str, dict[str, dict[int, float]]]:
  """Returns the metrics of each run by seed, from which claims are judged."""
  return {
    name: {
      metric: {one.seed: one.metrics[metric] for one in seeds if metric in one.metrics}
      for metric in sorted({metric for one in seeds for metric in one.metrics})
    }
    for name, seeds in measured.items()
  }


def for_json(value: Any) -> Any:
  """Replaces numbers that are not finite, which JSON cannot hold, by None."""
  if isinstance(value, Mapping):
    return {key: for_json(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [for_json(item) for item in value]
  return None if isinstance(value, float) and not np.isfinite(value) else value
