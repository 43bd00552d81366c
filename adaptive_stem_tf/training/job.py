"""Jobs: runs that are to be started, and their flagfiles."""

import dataclasses
import pathlib
from typing import NamedTuple

from adaptive_stem_tf import config, writing


class Job(NamedTuple):
  """A run to train."""

  workdir: pathlib.Path
  experiment: config.Experiment
  settings: config.RunSettings
  needs: pathlib.Path | None  # workdir of a run that must finish first


def write_flagfile(job: Job) -> pathlib.Path:
  """Writes a run as a flagfile beside its workdir; returns the file."""
  file = job.workdir.with_name(f"{job.workdir.name}.cfg")
  comment = f"# python -m launch.train --flagfile={file} --workdir={job.workdir}"
  writing.text(file, "\n".join([comment, *_flags_of(job)]) + "\n")
  return file


def _flags_of(job: Job) -> list[str]:
  """Returns a run as the lines of a flagfile that `launch.train` takes."""
  values = {**job.experiment.flat(), **dataclasses.asdict(job.settings)}
  defaults = {**config.Experiment().flat(), **dataclasses.asdict(config.RunSettings())}
  return [
    f"--{name}={value!r}" if type(value) is float else f"--{name}={value}"
    for name, value in values.items()
    if value != defaults[name]
  ]
