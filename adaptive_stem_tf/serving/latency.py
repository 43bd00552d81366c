"""Latency of decisions, from measured intensities to the next positions, and of completions."""

import gc
import itertools
import os
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf.serving import stepping
from adaptive_stem_tf.serving.geometry import Geometry

PERCENTILES = (50, 99, 99.9)
_WARM_UP = 0.1  # of the calls


class Calls(NamedTuple):
  """Numbers of calls that are timed."""

  decisions: int
  completions: int


def measure(
  scanner: stepping.Scanner, geometry: Geometry, calls: Calls
) -> dict[str, dict[str, float]]:
  """Times decisions and completions of one scan.

  A decision begins with intensities in memory and ends with positions in memory; the
  state of one answer goes into the next call, and scans restart where they would end.

  Args:
    scanner: decides and completes.
    geometry: its sizes.
    calls: numbers of calls.

  Returns:
    For `decision` and `completion`: calls, and min, p50, p99 and p99.9 in us.
  """
  rng = np.random.default_rng(0)
  observations = rng.uniform(-1, 1, [64, 1, geometry.probes]).astype(np.float32)
  partial = rng.uniform(-1, 1, [1, geometry.size, geometry.size, 2]).astype(np.float32)
  partial[..., 1] = partial[..., 1] > 0.9
  answers = [scanner.start(1)]
  numbers = itertools.count()

  def decide():
    """Takes the next decision of a scan; after the last one, the first of another."""
    number = next(numbers)
    entering = answers[0] if number % (geometry.segments - 1) == 0 else answers[-1]
    answers[1:] = [scanner.step(observations[number % len(observations)], entering)]

  return {
    "decision": _summary(_times(decide, calls.decisions)),
    "completion": _summary(_times(lambda: scanner.complete(partial), calls.completions)),
  }


def machine() -> dict[str, Any]:
  """Describes this machine and the software that computes."""
  model = next(
    (
      line.split(":", 1)[1].strip()
      for line in _lines("/proc/cpuinfo")
      if line.startswith("model name")
    ),
    platform.processor(),
  )
  memory = next(
    (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
  )
  return {
    "processor": model,
    "cores": os.cpu_count(),
    "memory_gb": round(memory / 1e6, 1),
    "system": platform.platform(),
    "python": platform.python_version(),
    "load_average": [round(load, 2) for load in os.getloadavg()],
    **{
      name: metadata.version(name) for name in ("tensorflow", "ai-edge-litert", "grpcio", "numpy")
    },
  }


def _times(call: Callable[[], Any], count: int) -> np.ndarray:
  """Returns the times of calls, s, after some that warm up.

  Garbage is collected before, and not while calls are timed.
  """
  for _ in range(max(3, int(_WARM_UP * count))):
    call()
  times = np.empty(count)
  gc.collect()
  gc.disable()
  try:
    for k in range(count):
      began = time.perf_counter()
      call()
      times[k] = time.perf_counter() - began
  finally:
    gc.enable()
  return times


def _summary(times):
  micro = 1e6 * times
  return {
    "calls": len(times),
    "min": float(micro.min()),
    **{f"p{percentile:g}": float(np.percentile(micro, percentile)) for percentile in PERCENTILES},
  }


def _lines(file):
  return pathlib.Path(file).read_text().splitlines() if os.path.exists(file) else []
