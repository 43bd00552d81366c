"""Turns the table of figures into runs: each an experiment in a workdir of its own."""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_stem_tf import config
from adaptive_stem_tf.reproduction import runs
from adaptive_stem_tf.training import fixed_path
from adaptive_stem_tf.training.job import Job


@dataclasses.dataclass(frozen=True)
class Plan:
  """How the table's runs are made at one scale, from one source of specimens.

  Attributes:
    base: the preset, its specimens and its iterations.
    settings: how runs are carried out.
    downsampled: the fields (`dataset` or `images`) that name downsampled micrographs.
    folder: workdirs are below it.
    seeds: of every run.
    sweep_iterations: length of a learning rate sweep.
    candidate_iterations: length of a run of s3b.
  """

  base: config.Experiment
  settings: config.RunSettings
  downsampled: Mapping[str, str]
  folder: pathlib.Path
  seeds: tuple[int, ...]
  sweep_iterations: int
  candidate_iterations: int

  def experiment(self, name: str, seed: int) -> config.Experiment:
    """Returns the experiment of a run of the table."""
    changes = self._changes(name)
    if changes.pop(runs.DOWNSAMPLED, False):
      changes.update(self.downsampled)
    source = self._source(name)
    if source:
      changes["path"] = f"{fixed_path.FROM_RUN}{self.workdir(source, seed)}"
    return self.base.replace(**{**changes, "seed": seed})

  def workdir(self, name: str, seed: int) -> pathlib.Path:
    """Returns the workdir of a run; runs that are equal at this scale share one."""
    return self.folder / f"{self._canonical(name)}-seed{seed}"

  def job(self, name: str, seed: int) -> Job:
    """Returns the job that trains a run."""
    experiment, source = self.experiment(name, seed), self._source(name)
    settings = self.settings
    if experiment.scan.path != "adaptive":  # overfits: it is also evaluated half-way (SI S4)
      settings = dataclasses.replace(settings, milestone=experiment.optimisation.iterations // 2)
    if experiment.optimisation.schedule == "sweep":
      settings = dataclasses.replace(settings, log_every=1)
    if settings.picture_every:
      settings = dataclasses.replace(settings, picture_every=experiment.optimisation.iterations)
    return Job(
      self.workdir(name, seed), experiment, settings, self.workdir(source, seed) if source else None
    )

  def jobs(self, *figures: Sequence[str]) -> list[Job]:
    """Returns the jobs of figures' runs and of the runs that these need, each once.

    They are in the order of the figures, except that jobs that need no other come first.
    """
    jobs: dict[pathlib.Path, Job] = {}
    for names, seed in itertools.product(figures, self.seeds):
      for name in names:
        for needed in (self._source(name), name):
          if needed:
            job = self.job(needed, seed)
            jobs.setdefault(job.workdir, job)
    return sorted(jobs.values(), key=lambda job: job.needs is not None)

  def _changes(self, name: str) -> dict[str, Any]:
    return runs.changes(name, self.base.flat(), self.sweep_iterations, self.candidate_iterations)

  def _source(self, name: str) -> str:
    """Returns the run whose actor's path a run follows."""
    path = self._changes(name).get("path", "")
    return path[len(fixed_path.FROM_RUN) :] if path.startswith(fixed_path.FROM_RUN) else ""

  def _canonical(self, name: str) -> str:
    fields = lambda other: {**self.base.flat(), **self._changes(other)}
    return next((other for other in runs.RUNS if fields(other) == fields(name)), name)
