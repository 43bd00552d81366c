"""The models that are compared, in groups: runs that differ only in their seeds are one group."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import path_names
from adaptive_stem_tf.training import fixed_path
from adaptive_stem_tf.training import workdir as workdir_lib

_EQUAL = ("data", "generator")  # sections that compared models share, as their baselines do


class Group(NamedTuple):
  """Runs of one configuration, a seed each."""

  name: str
  workdirs: tuple[pathlib.Path, ...]
  experiments: tuple[config.Experiment, ...]

  @property
  def adaptive(self) -> bool:
    """Whether an actor decides where these models scan."""
    return self.experiments[0].scan.path == "adaptive"

  @property
  def seeds(self) -> tuple[int, ...]:
    """The seeds of the runs."""
    return tuple(experiment.seed for experiment in self.experiments)


def read(models: Sequence[str]) -> list[Group]:
  """Reads finished runs, of adaptive scans or any other path, and groups them.

  Args:
    models: each is WORKDIR, or NAME=WORKDIR to name its group.

  Raises:
    ValueError: if there are none, one has not finished, or they cannot be compared.
  """
  if not models:
    raise ValueError("models= names no run: give --models=WORKDIR[,WORKDIR...].")
  configurations: dict[str, list[tuple[str, pathlib.Path, config.Experiment]]] = {}
  for model in models:
    name, _, workdir = model.rpartition("=")
    experiment = _read_one(pathlib.Path(workdir))
    key = experiment.replace(seed=0, images="", path=_path_kind(experiment)).to_json()
    configurations.setdefault(key, []).append((name, pathlib.Path(workdir), experiment))
  groups = [_group(members) for members in configurations.values()]
  _check(groups)
  return groups


def _read_one(workdir: pathlib.Path) -> config.Experiment:
  experiment = workdir_lib.read_experiment(workdir)
  if not workdir_lib.is_finished(workdir) or workdir_lib.diverged_at(workdir) is not None:
    raise ValueError(
      f"models={workdir} has not finished its {experiment.optimisation.iterations} iterations: "
      f"train it to its end (python -m launch.train --workdir={workdir})."
    )
  return experiment


def _path_kind(experiment: config.Experiment) -> str:
  """Returns a path's name, without the run if it is taken from one: each seed has its own."""
  path = experiment.scan.path
  return next(
    (kind for kind in (fixed_path.FROM_RUN, path_names.FROM_ACTOR) if path.startswith(kind)), path
  )


def _group(members: Sequence[tuple[str, pathlib.Path, config.Experiment]]) -> Group:
  names, workdirs, experiments = zip(*members)
  own_names = sorted(set(names) - {""})
  if len(own_names) > 1:
    raise ValueError(
      f"models= names runs of one configuration differently ({', '.join(own_names)}): only their "
      "seeds differ; give them one name."
    )
  seeds = [experiment.seed for experiment in experiments]
  if len(set(seeds)) < len(seeds):
    raise ValueError(
      f"models={','.join(map(str, workdirs))} repeat a seed ({', '.join(map(str, seeds))}) of one "
      "configuration: give each run once."
    )
  return Group(
    own_names[0] if own_names else _common_name([str(workdir) for workdir in workdirs]),
    workdirs,
    experiments,
  )


def _common_name(workdirs: Sequence[str]) -> str:
  """Returns the workdirs' common name without the seed, `adaptive` if nothing is left."""
  common = os.path.commonprefix(
    [pathlib.Path(os.path.abspath(workdir)).name for workdir in workdirs]
  )
  return re.sub(r"[-_]?(seed)?[-_]?\d*$", "", common).rstrip("-_") or "adaptive"


def _check(groups: Sequence[Group]) -> None:
  """Checks that one set of baselines can be compared with all groups."""
  names = [group.name for group in groups]
  if len(set(names)) < len(names):
    raise ValueError(
      f"models= have {len(groups)} configurations with the names {', '.join(names)}: name them "
      "apart with --models=NAME=WORKDIR,..."
    )
  first = groups[0].experiments[0]
  for group in groups[1:]:
    other = group.experiments[0]
    differing = first.replace(images="").differences(other.replace(images=""))
    shared = {
      **{name: None for section in _EQUAL for name in vars(getattr(first, section))},
      "image_size": None,
      "iterations": None,
      "batch_size": None,
    }
    wrong = [name for name in differing if name in shared]
    doses = [experiment.scan.segments * experiment.scan.probes for experiment in (first, other)]
    if doses[0] != doses[1]:
      wrong.append("probing positions")
    if wrong:
      raise ValueError(
        f"models {groups[0].name} and {group.name} differ in {', '.join(wrong)}: baselines must be "
        "equal to what they are compared with; compare these models one by one."
      )
