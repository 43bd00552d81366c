"""The scans and completions to compare, and the generators to train for them."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adaptive_stem_tf import config
from adaptive_stem_tf.compare.groups import Group
from adaptive_stem_tf.scan import baselines, path_names
from adaptive_stem_tf.training.job import Job

SCANS = {
  "spiral": "spiral",
  "spiral_polygon": "polygon spiral",
  "wide_spiral": "wide spiral",
  "zigzag": "zigzag",
  "raster": "raster lines",
  "grid": "uniform grid",
  "jittered_grid": "jittered grid",
  "farthest_points": "farthest points",
  "random_points": "random points",
  "random_walk": "random walk",
}
SPIRALS = ("spiral", "spiral_polygon")
OWN, ALL = "own", "all"
CLASSICAL = ("nearest", "linear", "biharmonic", "total_variation")  # of `classical.METHODS`
COMPLETIONS = {
  OWN: "a generator of its own",
  ALL: "one generator for all scans",
  **{name: name.replace("_", " ") for name in CLASSICAL},
}
_FIRST = (OWN, ALL, "total_variation", "biharmonic", "linear", "nearest")  # order of preference


def shown_first(completions: Iterable[str]) -> str:
  """Returns the completion that pictures and short tables show."""
  return min(completions, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


@dataclasses.dataclass(frozen=True)
class Plan:
  """The generators to train, and their configuration.

  Attributes:
    group: models whose configuration the baselines share.
    base: that configuration, with the specimens and iterations of the baselines.
    settings: how runs are carried out.
    folder: workdirs are below it.
    seeds: of every generator.
    scans: names of `SCANS` and of `files`.
    segments: of each scan, fewer than the models' where times are made equal.
    files: of the probing positions of scans that are not in `SCANS`, by name.
  """

  group: Group
  base: config.Experiment
  settings: config.RunSettings
  folder: pathlib.Path
  seeds: tuple[int, ...]
  scans: tuple[str, ...]
  segments: Mapping[str, int] = dataclasses.field(default_factory=dict)
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def label(self, name: str) -> str:
    """Returns the name of a scan in tables and pictures."""
    return SCANS.get(name, name)

  def scan(self, name: str, pitches: Mapping[str, float]) -> config.ScanGeometry:
    """Returns the geometry of a scan, with the pitch in px of a spiral."""
    changes: dict[str, Any] = {"path": self.files.get(name, name)}
    changes |= {"pitch": pitches[name]} if name in SPIRALS else {}
    segments = self.segments.get(name, self.base.scan.segments)
    return dataclasses.replace(self.base.scan, segments=segments, **changes)

  def own(self, name: str, seed: int, pitches: Mapping[str, float]) -> Job:
    """Returns the job that trains the generator of one scan."""
    scan = self.scan(name, pitches)
    label = f"{name}-pitch{scan.pitch:g}" if name in SPIRALS else name
    if name in self.files:  # other positions in a file of the same name are another scan
      label += f"-{hashlib.sha256(pathlib.Path(scan.path).read_bytes()).hexdigest()[:8]}"
    label += f"-{scan.segments * scan.probes}" if name in self.segments else ""
    return self._job(label, self._experiment(scan, seed))

  def everything(self, seed: int) -> Job:
    """Returns the job that trains the generator of all scans, including those of one model."""
    actor = self.group.workdirs[self.seeds.index(seed) % len(self.group.workdirs)].resolve()
    scan = dataclasses.replace(self.base.scan, path=f"{path_names.FROM_ACTOR}{actor}")
    return self._job(f"{path_names.MIXED}-{self.group.name}", self._experiment(scan, seed))

  def candidate(self, name: str, pitch: float, iterations: int) -> Job:
    """Returns the job that trains a generator for a few iterations, to choose a spiral's pitch."""
    experiment = self._experiment(self.scan(name, {name: pitch}), self.seeds[0])
    return self._job(f"candidate-{name}-pitch{pitch:g}", experiment.replace(iterations=iterations))

  def candidates(self, iterations: int) -> dict[tuple[str, float], Job]:
    """Returns the jobs that train generators for every pitch of the spirals that are compared."""
    return {
      (name, pitch): self.candidate(name, pitch, iterations)
      for name in SPIRALS
      if name in self.scans
      for pitch in baselines.PITCHES
    }

  def _experiment(self, scan: config.ScanGeometry, seed: int) -> config.Experiment:
    return dataclasses.replace(self.base, scan=scan, seed=seed)

  def _job(self, label: str, experiment: config.Experiment) -> Job:
    last = experiment.optimisation.iterations
    settings = (
      dataclasses.replace(self.settings, picture_every=last)
      if self.settings.picture_every
      else self.settings
    )
    return Job(self.folder / f"{label}-seed{experiment.seed}", experiment, settings, None)


def parse_scans(given: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
  """Reads a list of scans: names of `SCANS`, and NAME=FILE for scans of one's own.

  Returns:
    The scans' names, and the absolute path of each file by name; all of `SCANS` if nothing is
    given.

  Raises:
    ValueError: if a scan is unknown, a name is taken, or a file is missing.
  """
  files: dict[str, str] = {}
  for item in given:
    name, equals, file = item.partition("=")
    if not equals:
      continue
    if name in SCANS or name in files or not re.fullmatch(r"[\w.-]+", name):
      raise ValueError(
        f"scans={item} needs a name of its own, of letters, digits, dots, dashes and underscores: "
        "write --scans=NAME=FILE.npy."
      )
    if not pathlib.Path(file).is_file():
      raise ValueError(f"scans={item}: {file} is not a file; give a NumPy file of positions in px.")
    files[name] = str(pathlib.Path(file).resolve())
  names = [item for item in given if "=" not in item]
  unknown = [name for name in names if name not in SCANS]
  if unknown:
    raise ValueError(
      f"scans={','.join(unknown)} is unknown: choose among {', '.join(SCANS)}, or name a file of "
      "probing positions with NAME=FILE.npy."
    )
  known = tuple(name for name in SCANS if name in names or not given)
  return (*known, *files), files


def check(name: str, given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
  """Returns the items that a flag lists, in the order of `known`; all of them if it lists none.

  Raises:
    ValueError: if an item is unknown.
  """
  unknown = [item for item in given if item not in known]
  if unknown:
    raise ValueError(f"{name}={','.join(unknown)} is unknown: choose among {', '.join(known)}.")
  return tuple(item for item in known if item in given or not given)
