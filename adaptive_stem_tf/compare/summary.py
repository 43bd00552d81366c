"""Turns measurements into means, intervals and paired differences (METHOD section 9)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_stem_tf.compare.measure import Contender, Measurements, Metrics
from adaptive_stem_tf.compare.plan import SPIRALS
from adaptive_stem_tf.compare.scanning import CLEAN
from adaptive_stem_tf.evaluation import metrics, statistics

TARGETS = ("filtered", "raw")
PRIMARY = ("filtered", "ten_mse")
UNITS = {
  "ten_mse": "10 * MSE on [-1, 1], the paper's",
  "mse": "on [-1, 1]",
  "psnr": "dB, data range 2",
  "ssim": "11-px window, data range 2",
  "ms_ssim": "as ssim, on the scales that fit",
  "time_us": "us",
}


def build(
  measured: Measurements,
  contenders: Sequence[Contender],
  sources: Sequence[str] | None,
  kinds: Sequence[str] | None,
) -> dict[str, Any]:
  """Returns the comparison, for JSON.

  Args:
    measured: of every contender.
    contenders: the scans that were compared.
    sources: [N], the file of each image; None if unknown.
    kinds: [N], the kind of source of each; None if unknown.
  """
  first = next((one.name for one in contenders if one.adaptive), None)
  conditions = {
    condition: {
      completion: _completion(scans, sources, first) for completion, scans in completions.items()
    }
    for condition, completions in measured.values.items()
  }
  clean = measured.values[CLEAN.name]
  result: dict[str, Any] = {
    "units": UNITS,
    "intervals": statistics.interval_method(sources),
    "scans": {
      one.name: {
        "label": one.label,
        "adaptive": one.adaptive,
        "seeds": [entry.seed for entry in one.entries],
        **({"pitch": one.scan.pitch} if one.name in SPIRALS else {}),
        **measured.scans[one.name],
      }
      for one in contenders
    },
    "conditions": conditions,
  }
  for name, groups in (("by_kind", kinds), ("by_file", sources)):
    if groups is not None:
      result[name] = {
        completion: _split(scans, groups, sources, first) for completion, scans in clean.items()
      }
  result["per_image"] = {
    completion: {
      name: [seed[PRIMARY[0]][PRIMARY[1]].round(6).tolist() for seed in seeds]
      for name, seeds in scans.items()
    }
    for completion, scans in clean.items()
  }
  return result


def better_spiral(scans: Mapping[str, Sequence[Metrics]]) -> str | None:
  """Returns the spiral of lower mean 10 MSE on filtered targets; None if there is none."""
  spirals = [name for name in SPIRALS if name in scans]
  return (
    min(spirals, key=lambda name: float(over_seeds(scans[name], *PRIMARY).mean()))
    if spirals
    else None
  )


def over_seeds(seeds: Sequence[Metrics], target: str, metric: str) -> np.ndarray:
  """Returns each image's mean over seeds [N]."""
  return np.mean([seed[target][metric] for seed in seeds], 0)


def _references(scans: Mapping[str, Sequence[Metrics]], adaptive: str | None) -> dict[str, str]:
  """Returns the scans that others are paired with, by the name of the difference: the better spiral
  and the adaptive scan.
  """
  references = {
    "minus_better_spiral": better_spiral(scans),
    "minus_adaptive": adaptive if adaptive in scans else None,
  }
  return {name: reference for name, reference in references.items() if reference is not None}


def _completion(
  scans: Mapping[str, Sequence[Metrics]], sources: Sequence[str] | None, adaptive: str | None
) -> dict[str, Any]:
  """Summarises all scans with one completion, and their differences from the better spiral and the
  adaptive scan.
  """
  references = _references(scans, adaptive)
  result: dict[str, Any] = {
    "better_spiral": references.get("minus_better_spiral"),
    "adaptive": references.get("minus_adaptive"),
    "scans": {},
  }
  for name, seeds in scans.items():
    targets = {
      target: {metric: _values(seeds, target, metric, sources) for metric in metrics.METRICS}
      for target in TARGETS
    }
    for difference, reference in references.items():
      if name != reference:
        targets[difference] = {
          target: {
            metric: _difference(seeds, scans[reference], target, metric, sources)
            for metric in metrics.METRICS
          }
          for target in TARGETS
        }
    result["scans"][name] = targets
  return result


def _values(seeds, target, metric, sources):
  return {
    **statistics.summarise(_of_seeds(seeds, target, metric), sources),
    "seeds": [float(seed[target][metric].mean()) for seed in seeds],
  }


def _difference(seeds, reference, target, metric, sources):
  """Summarises paired differences, and gives them seed by seed, in the order given."""
  ours, theirs = (_of_seeds(scans, target, metric) for scans in (seeds, reference))
  paired = len(ours) == len(theirs)
  return {
    **_minus(ours, theirs, sources),
    "seeds": (ours - theirs).mean(1).tolist() if paired else [],
  }


def _of_seeds(seeds: Sequence[Metrics], target: str, metric: str) -> np.ndarray:
  """Returns a metric of each seed and image [S, N]."""
  return np.stack([seed[target][metric] for seed in seeds])


def _minus(ours: np.ndarray, theirs: np.ndarray, sources: Sequence[str] | None) -> dict[str, Any]:
  """Summarises differences of values [S, N], paired by images, and by seeds where there are as many
  of both.
  """
  if len(ours) == len(theirs):
    return statistics.summarise(ours - theirs, sources)
  return statistics.summarise(ours, sources, minus=theirs)


def _split(
  scans: Mapping[str, Sequence[Metrics]],
  groups: Sequence[str],
  sources: Sequence[str] | None,
  adaptive: str | None,
) -> dict[str, Any]:
  """Summarises 10 MSE on filtered targets of each kind or file, and differences, from the spiral
  that is better of all.
  """
  references = _references(scans, adaptive)
  values = {name: _of_seeds(seeds, *PRIMARY) for name, seeds in scans.items()}
  result: dict[str, Any] = {}
  for group in sorted(set(groups)):
    chosen = np.flatnonzero(np.asarray(groups) == group)
    files = [str(file) for file in np.asarray(sources)[chosen]] if sources is not None else None
    result[group] = {
      "count": len(chosen),
      "files": len(set(files)) if files else None,
      "scans": {
        name: {
          "ten_mse": statistics.summarise(one[:, chosen], files),
          **{
            difference: _minus(one[:, chosen], values[reference][:, chosen], files)
            for difference, reference in references.items()
            if name != reference
          },
        }
        for name, one in values.items()
      },
    }
  return result
