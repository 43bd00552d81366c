"""Measures the runs of a figure, draws it, and writes its table."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.reproduction import figures as reproduction_figures
from adaptive_stem_tf.reproduction import lr_range, supplement
from adaptive_stem_tf.reproduction import results as reproduction_results
from adaptive_stem_tf.reproduction import table as reproduction_table
from adaptive_stem_tf.reproduction.entries import Figure, Line
from adaptive_stem_tf.reproduction.plan import Plan
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import runner

_EXAMPLES = 24


class Request(NamedTuple):
  """A figure that a user asks for."""

  figure: str
  scale: str
  output: pathlib.Path
  test_images: int  # that are evaluated; 0 for all


def make(request: Request, plan: Plan, figure: Figure) -> str:
  """Writes FIGURE.png, FIGURE.md and FIGURE.json, and returns a message for the user.

  Args:
    request: which figure, at which scale, and where it is written.
    plan: of the runs.
    figure: with the lines that are to be drawn.

  Raises:
    ValueError: if none of the figure's runs has finished.
  """
  measured = _measure(request, plan, figure)
  if not measured:
    raise ValueError(
      f"none of the runs of figure={request.figure} in {plan.folder} has finished: leave "
      "--draw_only out to train them."
    )
  labels = {line.run: _label(plan, line) for line in figure.lines if line.run in measured}
  values: dict[str, Any] = reproduction_results.gather(measured)
  if request.figure == "s3b":
    values["best"] = {"rate": reproduction_results.best_rates(measured)}
  canvas = _draw(request, plan, figure, labels, measured)
  style.save(canvas, request.output / f"{request.figure}.png", vector=True)
  result = reproduction_table.build(
    request.figure,
    figure,
    labels,
    values,
    _notes(request, plan, measured),
    _comparable(request, plan),
  )
  reproduction_table.write(result, request.output / request.figure)
  absent = [line.run for line in figure.lines if line.run not in measured]
  lines = [f"Written: {request.output / request.figure}.png, .md and .json."]
  return "\n".join(([f"Not finished, left out: {', '.join(absent)}."] if absent else []) + lines)


def any_finished(plan: Plan, figure: Figure) -> bool:
  """Returns whether one of a figure's runs has finished."""
  return any(_finished(plan, line) for line in figure.lines)


def _finished(plan: Plan, line: Line) -> list[pathlib.Path]:
  """Returns the workdirs of a run's seeds that have finished."""
  workdirs = [plan.workdir(line.run, seed) for seed in plan.seeds]
  return [workdir for workdir in workdirs if workdir_lib.is_finished(workdir)]


def rates_are_known(plan: Plan) -> bool:
  """Returns whether the sweep that s3b takes its rates from has finished."""
  return workdir_lib.is_finished(_sweep(plan))


def _sweep(plan: Plan) -> pathlib.Path:
  return plan.workdir("sweep_adam", plan.seeds[0])


def rates_figure(plan: Plan) -> Figure:
  """Returns s3b with its candidates, chosen by the finished sweep of the first seed.

  Raises:
    ValueError: if it has not finished.
  """
  workdir = _sweep(plan)
  if not rates_are_known(plan):
    raise ValueError(
      f"figure=s3b needs the sweep in {workdir}, which has not finished: leave --draw_only out."
    )
  sweep = reproduction_results.measure(workdir, None, 0, 1000).sweep
  assert sweep is not None
  highest = workdir_lib.read_experiment(workdir).optimisation.sweep_to
  if sweep.unstable is None:
    print(f"The sweep stayed stable up to its last rate, {highest:.2g}, which is taken instead.")
  return supplement.rates_figure(lr_range.candidates(sweep.unstable or highest))


def _label(plan: Plan, line: Line) -> str:
  """Returns a run's label, with the numbers that it has at this scale."""
  return line.label.format(**plan.experiment(line.run, plan.seeds[0]).flat())


def _measure(
  request: Request, plan: Plan, figure: Figure
) -> dict[str, list[reproduction_results.Measured]]:
  """Measures the runs that have finished, with the seeds that have."""
  measured = {}
  for line in figure.lines:
    workdirs = _finished(plan, line)
    if not workdirs:
      continue
    experiment = plan.experiment(line.run, plan.seeds[0])
    sweep = experiment.optimisation.schedule == "sweep"
    splits = None if sweep else runner.load_splits(experiment.data, experiment.scan.image_size)
    measured[line.run] = [
      reproduction_results.measure(workdir, splits, request.test_images, figure.boxcar)
      for workdir in workdirs
    ]
  return measured


def _draw(
  request: Request,
  plan: Plan,
  figure: Figure,
  labels: dict[str, str],
  measured: dict[str, list[reproduction_results.Measured]],
) -> Any:
  shown = {name: (label, measured[name]) for name, label in labels.items()}
  place = "Main paper" if request.figure in supplement.OF_MAIN_PAPER else f"S{request.figure[1:]}"
  title = f"{place}: {figure.title} ({request.scale} scale)"
  if figure.kind == "sweep":
    return reproduction_figures.sweeps(title, shown, lr_range.boxcar_width(plan.sweep_iterations))
  if figure.kind == "sheet":
    return _sheet(request, plan, figure)
  experiment = plan.experiment(next(iter(labels)), plan.seeds[0])
  return reproduction_figures.curves(
    title, shown, experiment.optimisation.iterations, figure.boxcar
  )


def _sheet(request: Request, plan: Plan, figure: Figure) -> Any:
  """Draws scans of every second test specimen, so that S4 and S5 show different ones."""
  name = figure.lines[0].run
  experiment = plan.experiment(name, plan.seeds[0])
  test = runner.load_splits(experiment.data, experiment.scan.image_size).test
  count = min(request.test_images or _EXAMPLES, _EXAMPLES)
  images = reproduction_results.spread(test[figure.part :: 2] if len(test) > 1 else test, count)
  return reproduction_results.sheet(plan.workdir(name, plan.seeds[0]), images)


def _comparable(request: Request, plan: Plan) -> bool:
  """Returns whether sizes and specimens are the supplement's."""
  data = plan.base.data
  return (
    request.scale == "paper"
    and not data.images
    and data.dataset == "wemd_stem/crops_96"
    and plan.base.optimisation.iterations == 1_000_000
  )


def _notes(
  request: Request, plan: Plan, measured: dict[str, list[reproduction_results.Measured]]
) -> dict[str, Any]:
  name, data = next(iter(measured)), plan.base.data
  return {
    "scale": request.scale,
    "specimens": data.images or data.dataset,
    "seeds": list(plan.seeds),
    "iterations": plan.experiment(name, plan.seeds[0]).optimisation.iterations,
  }
