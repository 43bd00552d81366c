"""The scales at which figures are reproduced, and how a preset is read."""

import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

from absl import flags

from adaptive_stem_tf import config

_FOLDER = pathlib.Path(__file__).resolve().parent / "flagfiles"


class Scale(NamedTuple):
  """Sizes and lengths of a figure's runs."""

  flagfile: str
  iterations: int
  sweep_share: float  # length of a learning rate sweep, share of the iterations
  candidate_share: float  # length of a run of s3b
  test_images: int = 0  # that are evaluated; 0 for all


SCALES = {
  "paper": Scale("lstm.cfg", 1_000_000, 0.01, 0.1),
  "small": Scale("reproduce/small.cfg", 3000, 1 / 3, 1 / 3),
  "smoke": Scale("reproduce/smoke.cfg", 12, 4.0, 1.0, 12),
}


def read(flagfile: str | os.PathLike) -> tuple[config.Experiment, config.RunSettings]:
  """Reads a preset.

  Args:
    flagfile: a file of `launch/flagfiles`, or an absolute path.

  Raises:
    ValueError: if a line is not --name=value of a field of the configuration.
  """
  lines = flags.FlagValues().read_flags_from_files([f"--flagfile={_FOLDER / flagfile}"])
  known = {**config.Experiment().flat(), **dataclasses.asdict(config.RunSettings())}
  values = {}
  for line in lines:
    name, equals, text = line.removeprefix("--").partition("=")
    if name not in known or not equals:
      raise ValueError(f"{flagfile}: {line!r} is not --name=value of a field of the configuration.")
    values[name] = _value(text, type(known[name]))
  settings = {
    field.name: values.pop(field.name)
    for field in dataclasses.fields(config.RunSettings)
    if field.name in values
  }
  return config.Experiment().replace(**values), config.RunSettings(**settings)


def with_threads(settings: config.RunSettings, threads: int) -> config.RunSettings:
  """Returns the settings with a number of threads, and no progress bar: several runs share the
  terminal.
  """
  return dataclasses.replace(settings, threads=threads, progress=False)


def _value(text: str, kind: type) -> Any:
  return text.lower() == "true" if kind is bool else kind(text)
