"""Trains what a comparison needs, measures it, and writes tables and pictures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare import (
  animation,
  choices,
  classical,
  drawings,
  measure,
  scanning,
  summary,
  tables,
)
from adaptive_stem_tf.compare.groups import Group
from adaptive_stem_tf.compare.plan import ALL, COMPLETIONS, OWN, SPIRALS, Plan, shown_first
from adaptive_stem_tf.evaluation import metrics, model, statistics, style
from adaptive_stem_tf.training import workdir as workdir_lib
from adaptive_stem_tf.training.job import Job
from launch import data, runner

_EXAMPLES, _ANIMATED = 4, 2
_VALIDATION = 0.15  # of the training crops, for pitches, where the models set none aside


class Request(NamedTuple):
  """A comparison that a user asks for."""

  images: str
  split: str
  output: pathlib.Path
  completions: tuple[str, ...]
  pitches: Mapping[str, float]  # px, by spiral, of those that the user chose
  pitch_iterations: int
  electrons: tuple[float, ...]
  beam: microscope_config.Beam
  equal_time: bool
  train: bool
  in_process: bool
  parallel: int
  size: int  # of specimens, px


class _Pitches(NamedTuple):
  chosen: dict[str, float]  # px, by spiral
  how: str
  candidates: dict[str, dict[str, float]]  # 10 MSE, by spiral and pitch


def make(request: Request, plan: Plan, groups: Sequence[Group]) -> str:
  """Carries out a comparison, and returns a report for the user."""
  part = data.load_part(
    dataclasses.replace(plan.base.data, images=request.images), request.size, request.split
  )
  if request.equal_time:
    plan = dataclasses.replace(plan, segments=_equal_time(request, plan, groups[0], part.images))
  _train(request, plan, _first_jobs(request, plan))
  pitches = _choose_pitches(request, plan)
  if OWN in request.completions:
    _train(
      request,
      plan,
      [plan.own(name, seed, pitches.chosen) for name in plan.scans for seed in plan.seeds],
    )
  contenders = _contenders(request, plan, groups, pitches.chosen)
  inputs = measure.Inputs(
    part.images,
    plan.base.data,
    request.beam,
    _everything(request, plan),
    [name for name in request.completions if name in classical.METHODS],
    scanning.conditions(request.electrons, plan.base.data.normalise),
    _examples(part),
  )
  measured = measure.measure(contenders, inputs, progress=True)
  result = {
    **_head(request, plan, groups, part, pitches),
    **summary.build(measured, contenders, part.sources, part.kinds),
  }
  tables.write(result, request.output)
  _draw(request, result, contenders, inputs, measured, part)
  return _report(request, result)


def _first_jobs(request: Request, plan: Plan) -> list[Job]:
  """Returns the jobs that are trained before pitches are known."""
  jobs = [plan.everything(seed) for seed in plan.seeds] if ALL in request.completions else []
  if request.pitch_iterations:
    jobs += [
      job
      for (name, _), job in plan.candidates(request.pitch_iterations).items()
      if name not in request.pitches
    ]
  return jobs


def _train(request: Request, plan: Plan, jobs: Sequence[Job]) -> None:
  """Trains the jobs that have not finished.

  Raises:
    ValueError: if there are some, and nothing may be trained.
    RuntimeError: if a loss was not finite.
  """
  if not jobs:
    return
  with runner.lock(plan.folder):
    missing = runner.missing(jobs)
    print(f"{len(jobs)} generators, {len(missing)} to train.", flush=True)
    if missing and not request.train:
      raise ValueError(
        f"{', '.join(job.workdir.name for job in missing)} are missing in {plan.folder}: leave "
        "--notrain out, or leave their completions or scans out."
      )
    if request.in_process:
      runner.run_here(missing)
    else:
      runner.run_side_by_side(missing, request.parallel)
  diverged = [job.workdir.name for job in jobs if workdir_lib.diverged_at(job.workdir) is not None]
  if diverged:
    raise RuntimeError(
      f"{', '.join(diverged)} met losses that are not finite: see {plan.folder}. Train the models "
      "with a lower --generator_rate."
    )


@functools.cache
def _load(workdir: pathlib.Path) -> model.Model:
  return model.load(workdir)[0]


def _equal_time(
  request: Request, plan: Plan, group: Group, images: np.ndarray
) -> Mapping[str, int]:
  positions = scanning.scan_all(_load(group.workdirs[0]).path, images, False).positions
  budget = choices.mean_time(positions, plan.base.scan, request.beam)
  return choices.equal_time(plan.scans, plan.base.scan, request.beam, budget)


def _choose_pitches(request: Request, plan: Plan) -> _Pitches:
  """Chooses the pitches that the user did not choose."""
  chosen = {name: request.pitches[name] for name in SPIRALS if name in request.pitches}
  open_ = [name for name in SPIRALS if name in plan.scans and name not in chosen]
  if not open_:
    return _Pitches(chosen, "given", {})
  fraction = plan.base.data.validation_fraction
  aside = dataclasses.replace(plan.base.data, validation_fraction=fraction or _VALIDATION)
  images = runner.load_splits(aside, request.size).validation
  crops = (
    f"{len(images)} validation crops"
    if fraction
    else f"{len(images)} training crops of the last files"
  )
  candidates = {}
  for name in open_:
    choice = choices.pitch(
      name, plan, images, functools.partial(_complete_candidate, request, plan, name)
    )
    chosen[name], candidates[name] = choice.chosen, choice.ten_mse
  by = (
    f"with a generator of {request.pitch_iterations} iterations for each"
    if request.pitch_iterations
    else "with the generator of all scans"
    if ALL in request.completions
    else "with linear interpolation"
  )
  return _Pitches(chosen, f"chosen on {crops} {by}", candidates)


def _complete_candidate(request, plan, name, pitch, scanned):
  if request.pitch_iterations:
    generator = _load(plan.candidate(name, pitch, request.pitch_iterations).workdir).generator
    return scanning.complete_all(generator, scanned)
  if ALL in request.completions:
    return scanning.complete_all(_load(plan.everything(plan.seeds[0]).workdir).generator, scanned)
  return classical.complete("linear", scanned.partial)


def _contenders(
  request: Request, plan: Plan, groups: Sequence[Group], pitches: Mapping[str, float]
) -> list[measure.Contender]:
  contenders, own = [], OWN in request.completions
  for group in groups:
    models = [_load(workdir) for workdir in group.workdirs]
    kind = "adaptive" if group.adaptive else "run"
    name = "adaptive" if len(groups) == 1 and group.adaptive else f"{kind}: {group.name}"
    entries = tuple(
      measure.Entry(seed, one.path, one.generator if own else None)
      for seed, one in zip(group.seeds, models)
    )
    contenders.append(
      measure.Contender(name, name, group.adaptive, group.experiments[0].scan, entries)
    )
  for name in plan.scans:
    path = scanning.baseline(plan.scan(name, pitches))
    load = lambda seed, name=name: (
      _load(plan.own(name, seed, pitches).workdir).generator if own else None
    )
    entries = tuple(
      measure.Entry(seed, path, load(seed)) for seed in (plan.seeds if own else plan.seeds[:1])
    )
    contenders.append(
      measure.Contender(name, plan.label(name), False, plan.scan(name, pitches), entries)
    )
  return contenders


def _everything(request: Request, plan: Plan) -> dict[int, Any]:
  if ALL not in request.completions:
    return {}
  return {seed: _load(plan.everything(seed).workdir).generator for seed in plan.seeds}


def _examples(part: data.Part) -> np.ndarray:
  """Returns rows of images to draw: of different kinds where these are known, evenly spread
  otherwise.
  """
  if part.kinds is None:
    return (
      np.linspace(0, len(part.images) - 1, min(_EXAMPLES, len(part.images))).round().astype(int)
    )
  kinds = sorted(set(part.kinds))
  rows = [np.flatnonzero(np.asarray(part.kinds) == kind) for kind in kinds]
  picked = [row[place] for place in range(_EXAMPLES) for row in rows if place < len(row)]
  return np.array(picked[:_EXAMPLES])


def _head(
  request: Request, plan: Plan, groups: Sequence[Group], part: data.Part, pitches: _Pitches
) -> dict[str, Any]:
  return {
    "models": {
      group.name: {
        "workdirs": [str(workdir) for workdir in group.workdirs],
        "seeds": list(group.seeds),
        "iterations": group.experiments[0].optimisation.iterations,
      }
      for group in groups
    },
    "images": pathlib.Path(request.images).name,
    "split": request.split,
    "count": len(part.images),
    "files": len(set(part.sources)) if part.sources else None,
    "probing_positions": plan.base.scan.segments * plan.base.scan.probes,
    "generator_iterations": plan.base.optimisation.iterations,
    "seeds": list(plan.seeds),
    "normalise": plan.base.data.normalise,
    "equal_time": request.equal_time,
    "beam": dataclasses.asdict(request.beam),
    "multi_scale_ssim_scales": len(metrics.scale_weights(request.size)),
    "pitches": pitches.chosen,
    "pitches_chosen": pitches.how,
    "pitch_candidates_ten_mse": pitches.candidates,
  }


def _draw(
  request: Request,
  result: Mapping[str, Any],
  contenders: Sequence[measure.Contender],
  inputs: measure.Inputs,
  measured: measure.Measurements,
  part: data.Part,
) -> None:
  forest = drawings.forest(result)
  if forest is not None:
    style.save(forest, request.output / "differences.png", vector=True)
  rows = inputs.examples
  targets = metrics.targets_of(part.images[rows], inputs.data.filter_sigma)["filtered"]
  titles = [part.kinds[row] if part.kinds else f"image {row}" for row in rows]
  shown = [
    (one.label, measured.examples[one.name]) for one in contenders if one.name in measured.examples
  ]
  style.save(
    drawings.examples(part.images[rows], targets, shown, titles), request.output / "examples.png"
  )
  first = contenders[0]
  entry, observed = (
    first.entries[0],
    scanning.observe(part.images, inputs.data, scanning.CLEAN)[rows[:_ANIMATED]],
  )
  positions = scanning.scan_all(entry.path, observed, False).positions
  generator = (
    entry.own or _load(pathlib.Path(next(iter(result["models"].values()))["workdirs"][0])).generator
  )
  animation.write(
    request.output / "scan.gif",
    observed,
    targets[:_ANIMATED],
    positions,
    generator,
    config.Experiment(data=inputs.data, scan=first.scan),
  )


def _report(request: Request, result: Mapping[str, Any]) -> str:
  """Returns a short form of the first table, and the names of the files."""
  clean = result["conditions"][scanning.CLEAN.name]
  completion = shown_first(clean)
  comparison = clean[completion]
  lines = [
    f"{result['count']} images, {result['probing_positions']} probing positions; 10 MSE on "
    f"filtered targets, completed by {COMPLETIONS[completion]}; in brackets the 95 % interval, "
    "then the paired differences from the better spiral and from "
    f"{comparison['adaptive'] or 'the adaptive scan'}:"
  ]
  for name, values in comparison["scans"].items():
    label, ten_mse = result["scans"][name]["label"], values["filtered"]["ten_mse"]
    lines.append(
      f"  {label:16} {statistics.with_interval(ten_mse)}  {tables.difference(values):24}  "
      f"{tables.difference(values, 'minus_adaptive')}"
    )
  return "\n".join(
    [
      *lines,
      f"Written: {request.output}/compare.json, .csv and .md, differences.png, examples.png and "
      "scan.gif.",
    ]
  )
