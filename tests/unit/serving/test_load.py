"""What clients count while they scan at once."""

import itertools
import threading

import numpy as np
import pytest

from adaptive_stem_tf.serving import load
from adaptive_stem_tf.serving.geometry import Geometry

GEOMETRY = Geometry(16, 4, 5)


class Scanner:
  """Counts what it is asked; scans of one client are not mixed with another's."""

  def __init__(self, asked):
    self.asked, self.decided = asked, None

  def start(self, count):
    assert count == 1 and self.decided in (None, GEOMETRY.segments - 1)
    self.decided = 0
    return {"state_k": 0}

  def step(self, observation, answer):
    assert observation.shape == (1, GEOMETRY.probes) and answer["state_k"] == self.decided
    self.decided += 1
    return {"state_k": self.decided}

  def complete(self, partial):
    assert partial.shape == (1, 16, 16, 2) and set(np.unique(partial[..., 1])) == {0, 1}
    assert self.decided == GEOMETRY.segments - 1
    self.asked.append(threading.get_ident())


def test_every_client_scans_until_time_is_up():
  asked, connections = [], []

  def connect():
    connections.append(threading.get_ident())
    return Scanner(asked)

  result = load.measure(connect, GEOMETRY, load.Load(3, 0.2))
  assert len(set(connections)) == len(connections) == 3 and set(asked) == set(connections)
  assert 0 < result["scans_per_second"] * 0.2 <= len(asked)
  ratio = result["decisions_per_second"] / result["scans_per_second"]
  assert ratio == pytest.approx(GEOMETRY.segments - 1, rel=0.2)
  assert result["client_cores"] > 0
  for kind in ("decision", "completion", "scan"):
    assert 0 < result[f"{kind}_p50"] <= result[f"{kind}_p99"]


def test_what_ends_late_is_not_counted():
  times = load._Times()
  times.kinds["scan"] = [(0.0, 1.0), (1.0, 3.0), (3.0, 9.0)]
  times.kinds["decision"] = [(0.0, 0.25), (0.25, 1.0)]
  summary = load._summary([times, load._Times()], 0.0, 4.0)
  assert summary["scans_per_second"] == 0.5 and summary["decisions_per_second"] == 0.5
  assert summary["scan_p50"] == 1500 and summary["decision_p99"] == pytest.approx(745)
  assert np.isnan(summary["completion_p50"])


@pytest.mark.parametrize("scans", [0, 3])
def test_what_a_client_meets_is_raised(scans):
  """Before scans are counted, or while they are."""
  numbers = itertools.count()

  class Failing(Scanner):
    def complete(self, partial):
      super().complete(partial)
      if next(numbers) >= scans:
        raise ConnectionError("gone")

  with pytest.raises(ConnectionError, match="gone"):
    load.measure(lambda: Failing([]), GEOMETRY, load.Load(2, 60))
