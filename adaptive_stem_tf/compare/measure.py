"""Measures every scan with every completion under every condition."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare import classical, scanning
from adaptive_stem_tf.compare.plan import ALL, OWN, shown_first
from adaptive_stem_tf.compare.scanning import Condition, Scanned
from adaptive_stem_tf.evaluation import metrics
from adaptive_stem_tf.scan import paths, travel

FILTERED = " + filter"  # ends the name of a classical completion that was low-pass filtered
Metrics = Mapping[str, Mapping[str, np.ndarray]]  # by target and metric, [N]
Generator = Callable[..., Any]


class Entry(NamedTuple):
  """One training seed of a scan."""

  seed: int
  path: paths.Path
  own: Generator | None  # trained for this scan


class Contender(NamedTuple):
  """A scan that is compared."""

  name: str
  label: str
  adaptive: bool
  scan: config.ScanGeometry
  entries: tuple[Entry, ...]


class Inputs(NamedTuple):
  """The specimens that contenders scan, and the generators that complete their scans."""

  images: np.ndarray  # [N, S, S, 1] in [-1, 1]
  data: config.Data
  beam: microscope_config.Beam
  everything: Mapping[int, Generator]  # by seed, generators of all scans
  classical: Sequence[str]
  conditions: Sequence[Condition]
  examples: np.ndarray  # rows of the images whose scans are drawn


class Example(NamedTuple):
  """Scans of a contender that are drawn."""

  partial: np.ndarray  # [E, S, S, 2]
  completions: np.ndarray  # [E, S, S, 1]
  completion: str  # name of the completion


class Measurements(NamedTuple):
  """All measurements."""

  # by condition, completion and contender, one a seed
  values: dict[str, dict[str, dict[str, list[Metrics]]]]
  scans: dict[str, dict[str, float]]  # by contender: positions, distinct pixels, time
  examples: dict[str, Example]


def measure(
  contenders: Sequence[Contender], inputs: Inputs, progress: bool = False
) -> Measurements:
  """Scans, completes and measures; one pass of the bar is one contender under one condition."""
  measurements = Measurements({}, {}, {})
  targets = metrics.targets_of(inputs.images, inputs.data.filter_sigma)
  steps = [(condition, one) for condition in inputs.conditions for one in contenders]
  bar = tqdm.tqdm(steps, unit="scan", disable=not progress, dynamic_ncols=True)
  for condition, contender in bar:
    bar.set_postfix_str(f"{contender.label}, {condition.name}", refresh=False)
    observed = scanning.observe(inputs.images, inputs.data, condition)
    scans: dict[int, Scanned] = {}  # by path
    for entry in contender.entries:
      earlier = scans.get(id(entry.path))  # a fixed path is scanned once for all seeds
      one = earlier or scanning.scan_all(
        entry.path, observed, condition.measured_range, inputs.data.normalise
      )
      scans[id(entry.path)] = one
      completions = _complete(entry, one, inputs, condition, repeated=earlier is not None)
      for name, made_of in completions.items():
        by_scan = measurements.values.setdefault(condition.name, {}).setdefault(name, {})
        by_scan.setdefault(contender.name, []).append(
          {target: metrics.image_metrics(made_of, truth) for target, truth in targets.items()}
        )
      if (
        condition == scanning.CLEAN and contender.name not in measurements.examples and completions
      ):
        measurements.examples[contender.name] = _example(one, completions, inputs.examples)
    if condition == scanning.CLEAN:
      measurements.scans[contender.name] = _facts(contender, list(scans.values()), inputs.beam)
  return measurements


def _complete(
  entry: Entry, scanned: Scanned, inputs: Inputs, condition: Condition, repeated: bool
) -> dict[str, np.ndarray]:
  """Returns completions by name; classical ones only the first time that a scan is met."""
  completions = {}
  if entry.own is not None:
    completions[OWN] = scanning.complete_all(entry.own, scanned)
  if inputs.everything:
    seeds = sorted(inputs.everything)
    seed = entry.seed if entry.seed in inputs.everything else seeds[entry.seed % len(seeds)]
    completions[ALL] = scanning.complete_all(inputs.everything[seed], scanned)
  if repeated or condition.measured_range:  # classical completions do not depend on the range
    return completions
  for name in inputs.classical:
    completions[name] = classical.complete(name, scanned.partial)
    completions[name + FILTERED] = metrics.targets_of(completions[name], inputs.data.filter_sigma)[
      "filtered"
    ]
  return completions


def _example(
  scanned: Scanned, completions: Mapping[str, np.ndarray], chosen: np.ndarray
) -> Example:
  name = shown_first(completions)
  return Example(scanned.partial[chosen], completions[name][chosen], name)


def _facts(
  contender: Contender, scanned: Sequence[Scanned], beam: microscope_config.Beam
) -> dict[str, float]:
  positions = np.concatenate([one.positions for one in scanned])
  distinct = np.concatenate([one.distinct for one in scanned])
  times = [travel.travel_time(path, contender.scan, beam) for path in positions]
  return {
    "probing_positions": positions.shape[1],
    "distinct_pixels": float(distinct.mean()),
    "distinct_share": float(distinct.mean()) / contender.scan.image_size**2,
    "time_us": float(np.mean(times)),
  }
