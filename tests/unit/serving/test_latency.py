"""What is timed, and how it is summarised."""

import itertools

import numpy as np
import pytest

from adaptive_stem_tf.serving import latency
from adaptive_stem_tf.serving.geometry import Geometry


class Recorder:
  """Counts what it is asked."""

  def __init__(self):
    self.entered, self.completed = [], 0

  def start(self, count):
    return {"state_k": 0}

  def step(self, observation, answer):
    assert observation.shape == (1, 4) and observation.dtype == np.float32
    self.entered.append(answer["state_k"])
    return {"state_k": answer["state_k"] + 1}

  def complete(self, partial):
    assert partial.shape == (1, 16, 16, 2) and set(np.unique(partial[..., 1])) == {0, 1}
    self.completed += 1


def test_decisions_carry_their_state_and_scans_restart():
  recorder = Recorder()
  result = latency.measure(recorder, Geometry(16, 4, 5), latency.Calls(40, 10))
  assert recorder.entered == [k % 4 for k in range(44)]  # four to warm up
  assert recorder.completed == 13
  assert result["decision"]["calls"] == 40 and result["completion"]["calls"] == 10


def test_times_are_summarised_in_microseconds(monkeypatch):
  ticks = itertools.accumulate(itertools.chain.from_iterable((0, 1e-6 * k) for k in range(1, 102)))
  monkeypatch.setattr(latency.time, "perf_counter", lambda: next(ticks))
  summary = latency._summary(latency._times(lambda: None, 101))
  assert summary == pytest.approx({"calls": 101, "min": 1, "p50": 51, "p99": 100, "p99.9": 100.9})


def test_the_machine_is_described():
  described = latency.machine()
  assert (
    described["cores"] >= 1 and described["processor"] and described["tensorflow"].startswith("2.")
  )
