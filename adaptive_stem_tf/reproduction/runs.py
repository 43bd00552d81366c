"""The table of the runs behind the supplement's figures.

A run is a name and the fields in which it differs from the scale's preset, so the same table
serves 10^6 iterations and a smoke test. Runs that figures share are trained once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adaptive_stem_tf.reproduction import lr_range

Change = Any  # a value, or a function of the preset's fields (`config.Experiment.flat`)
Base = Mapping[str, Any]

DOWNSAMPLED = "downsampled"  # not a field of the configuration: train on downsampled micrographs
RATE = "rate_"  # prefix of the runs of s3b, which the sweep chooses


def _times(name: str, factor: float) -> Callable[[Base], float]:
  return lambda base: type(base[name])(factor * base[name])


def _narrow(base: Base) -> int:
  return min(128, base["units"])


def _half_narrow(base: Base) -> int:
  return _narrow(base) // 2


RUNS: dict[str, dict[str, Change]] = {
  "lstm": {},
  "exponential": {"schedule": "exponential"},
  "replayed": {"action_gradient": "replayed"},
  "replayed_doubled_noise": {
    "action_gradient": "replayed",
    "noise_sigma": _times("noise_sigma", 2),
  },
  "doubled_noise": {"noise_sigma": _times("noise_sigma", 2)},
  "sobel": {"sobel_weight": 0.1},
  "downsampled": {DOWNSAMPLED: True},
  "downsampled_sobel": {DOWNSAMPLED: True, "sobel_weight": 0.1},
  "max_region": {"generator_loss": "max_region", "rl_loss": "max_region"},
  "quartic": {"generator_loss": "quartic", "rl_loss": "quartic"},
  "supervision_start": {"supervision": "start"},
  "supervision_full": {"supervision": "full"},
  "narrow": {"units": _narrow},
  "projection": {"units": _narrow, "projection": _half_narrow},
  "gru": {"controller": "gru"},
  "dnc": {"controller": "dnc"},
  "spiral": {"path": "spiral"},
  "spiral_polygon": {"path": "spiral_polygon"},
  "fixed_lstm": {"path": "run:lstm"},
  "fixed_gru": {"path": "run:gru"},
  "fixed_dnc": {"path": "run:dnc"},
  "no_alrc": {"alrc": False},
  "not_normalised": {"normalise_loss": False},
  "neither": {"alrc": False, "normalise_loss": False},
  "clip_value": {"clip": "value", "clip_threshold": 1.0},
  "clip_norm": {"clip": "norm", "clip_threshold": 1.0},
  "clip_running_norm": {"clip": "running_norm", "clip_threshold": 1.0},
  "clip_norm_small": {"clip": "norm", "clip_threshold": 1e-3},
  "no_l2": {"l2_decay": 1.0},
  "no_replay": {"capacity": 0},
  "replay_quarter": {"capacity": _times("capacity", 0.25)},
  "replay_double": {"capacity": _times("capacity", 2)},
  "prioritised": {"prioritised": True},
  "penalty_0": {"over_edge_penalty": 0.0},
  "penalty_0.1": {"over_edge_penalty": 0.1},
  "penalty_0.2": {"over_edge_penalty": 0.2},
  "penalty_0.4": {"over_edge_penalty": 0.4},
  "sweep_adam": {"schedule": "sweep", "generator_optimiser": "adam"},
  "sweep_sgd": {"schedule": "sweep", "generator_optimiser": "sgd"},
}


def changes(
  name: str, base: Base, sweep_iterations: int, candidate_iterations: int
) -> dict[str, Any]:
  """Returns the changes of a run, worked out for a preset.

  Args:
    name: in `RUNS`, or of a candidate rate.
    base: the preset's fields.
    sweep_iterations: length of a learning rate sweep.
    candidate_iterations: length of a run of s3b.

  Raises:
    ValueError: if there is no such run.
  """
  if name.startswith(RATE):
    return {
      "generator_rate": float(name[len(RATE) :]),
      "iterations": candidate_iterations,
      # The best rate is chosen on specimens that are neither trained on nor reported.
      "validation_fraction": base["validation_fraction"] or lr_range.VALIDATION,
    }
  if name not in RUNS:
    raise ValueError(f"run {name!r} is unknown: choose among {', '.join(RUNS)}.")
  values = {field: value(base) if callable(value) else value for field, value in RUNS[name].items()}
  if values.get("schedule") == "sweep":
    return lr_range.changes(values["generator_optimiser"], sweep_iterations)
  return values
