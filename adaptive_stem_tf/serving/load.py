"""How many scans a server decides, and how long its clients wait, when many ask at once."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf.serving import stepping
from adaptive_stem_tf.serving.geometry import Geometry

PERCENTILES = (50, 99)
_FIRST_SCANS = 1  # of each client, whose times are not counted: connections are made, memory is got


class Load(NamedTuple):
  """Who asks, and for how long.

  Attributes:
    clients: that scan at once, each one scan after another.
    seconds: for which scans are counted.
  """

  clients: int
  seconds: float


class _Times:
  """When each decision, completion and scan began and ended, s; of one client."""

  def __init__(self):
    self.kinds: dict[str, list[tuple[float, float]]] = {
      "decision": [],
      "completion": [],
      "scan": [],
    }

  def add(self, kind: str, began: float) -> None:
    self.kinds[kind].append((began, time.perf_counter()))


def measure(connect: Callable[[], stepping.Scanner], geometry: Geometry, load: Load) -> dict:
  """Lets clients scan at once: each starts a scan, asks for every segment with what it measured of
  the one before, and has the scan completed.

  Intensities are random, so all scans take as long. What a scan costs at the microscope, moving and
  dwelling, is left out: clients ask again at once.

  Args:
    connect: makes the connection of a client.
    geometry: of the model's scans.
    load: who asks, and for how long.

  Returns:
    `scans_per_second`, `decisions_per_second`, `client_cores` (how many cores this process took on
    the average), and, in ms, p50 and p99 of `decision`, `completion` and `scan`.

  Raises:
    Exception: the first that a client met.
  """
  ready, stopping = threading.Barrier(load.clients + 1), threading.Event()
  times = [_Times() for _ in range(load.clients)]
  errors: list[Exception] = []

  def scan_on(number):
    """Scans until all are stopped."""
    try:
      scanner, random = connect(), np.random.default_rng(number)
      for _ in range(_FIRST_SCANS):
        _scan(scanner, geometry, random, _Times())
      ready.wait()
      while not stopping.is_set():
        _scan(scanner, geometry, random, times[number])
    except Exception as error:
      errors.append(error)
      ready.abort()
      stopping.set()

  threads = [threading.Thread(target=scan_on, args=[number]) for number in range(load.clients)]
  for thread in threads:
    thread.start()
  with contextlib.suppress(threading.BrokenBarrierError):  # of a client that failed: told below
    ready.wait()
  began, processor = time.perf_counter(), time.process_time()
  stopping.wait(load.seconds)
  stopping.set()
  ended = time.perf_counter()
  cores = (time.process_time() - processor) / (ended - began)
  for thread in threads:
    thread.join()
  real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
  if real:
    raise real[0]
  return {"client_cores": cores, **_summary(times, began, ended)}


def _scan(scanner, geometry, random, times):
  """Makes one scan."""
  began = time.perf_counter()
  answer = scanner.start(1)
  for _ in range(geometry.segments - 1):
    observation = random.uniform(-1, 1, [1, geometry.probes]).astype(np.float32)
    asked = time.perf_counter()
    answer = scanner.step(observation, answer)
    times.add("decision", asked)
  partial = random.uniform(-1, 1, [1, geometry.size, geometry.size, 2]).astype(np.float32)
  partial[..., 1] = partial[..., 1] > 0.9
  asked = time.perf_counter()
  scanner.complete(partial)
  times.add("completion", asked)
  times.add("scan", began)


def _summary(times, began, ended):
  """Counts what ended in time: what was under way at the end waited for fewer others."""
  summary = {}
  for kind in ("decision", "completion", "scan"):
    spans = [span for client in times for span in client.kinds[kind] if span[1] <= ended]
    if kind != "completion":
      summary[f"{kind}s_per_second"] = len(spans) / (ended - began)
    waits = [1e3 * (end - start) for start, end in spans]
    for percentile in PERCENTILES:
      value = float(np.percentile(waits, percentile)) if waits else float("nan")
      summary[f"{kind}_p{percentile}"] = value
  return summary
