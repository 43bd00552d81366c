"""Requests that wait are computed together, and each gets its own answer."""

import threading
import types
from concurrent import futures

import numpy as np
import pytest

from adaptive_stem_tf.serving import batching, servables
from tests import exports as exports_lib
from tests import tiny

PATIENCE = 30  # s, for a thread


class Doubler:
  """Doubles x; the first call lasts until it is released. Refuses what is negative."""

  def __init__(self):
    self.batches, self.began, self.release = [], threading.Event(), threading.Event()

  def __call__(self, inputs):
    x = inputs["x"]
    self.batches.append(x[:, 0].tolist())
    if len(self.batches) == 1:
      self.began.set()
      assert self.release.wait(PATIENCE)
    if (x < 0).any():
      raise ValueError(f"{x.min()} is negative")
    return {"y": 2 * x}


def request(*values, width=1):
  return {"x": np.repeat(np.float32(values)[:, None], width, axis=1)}


def ask_while_busy(most, *requests):
  """Asks while another request is computed; returns the batches after it, and what was answered."""
  double = Doubler()
  batcher = batching.Batcher(double, most)
  with futures.ThreadPoolExecutor(1 + len(requests)) as pool:
    first = pool.submit(batcher, request(100))
    assert double.began.wait(PATIENCE)
    others = []
    for count, inputs in enumerate(requests, start=1):  # one after another: their order counts
      others.append(pool.submit(batcher, inputs))
      while len(batcher._waiting) < count:
        pass
    double.release.set()
    futures.wait([first, *others], PATIENCE)
  assert first.result()["y"].tolist() == [[200]]
  return double.batches[1:], others


def test_requests_that_wait_are_computed_together():
  batches, others = ask_while_busy(8, request(1), request(2, 3), request(4))
  assert batches == [[1, 2, 3, 4]]
  assert [other.result()["y"][:, 0].tolist() for other in others] == [[2], [4, 6], [8]]


def test_no_more_are_computed_together_than_are_allowed():
  batches, others = ask_while_busy(3, request(1), request(2, 3, 4), request(5), request(6))
  assert batches == [[1, 5, 6], [2, 3, 4]]
  assert others[1].result()["y"][:, 0].tolist() == [4, 6, 8]


def test_a_request_of_more_is_computed_by_itself():
  batches, others = ask_while_busy(2, request(1, 2, 3), request(4))
  assert batches == [[1, 2, 3], [4]]
  assert others[0].result()["y"][:, 0].tolist() == [2, 4, 6]


def test_other_shapes_are_another_batch():
  batches, others = ask_while_busy(8, request(1), request(2, width=2), request(3))
  assert batches == [[1, 3], [2]]
  assert others[1].result()["y"].tolist() == [[4, 4]]


def test_a_request_that_fails_harms_no_other():
  batches, others = ask_while_busy(8, request(1), request(-2), request(3))
  assert batches == [[1, -2, 3], [1], [-2], [3]]
  assert others[0].result()["y"] == 2 and others[2].result()["y"] == 6
  with pytest.raises(ValueError, match="-2.0 is negative"):
    others[1].result()


def test_a_request_that_finds_none_under_way_waits_for_none():
  double = Doubler()
  double.release.set()
  batcher = batching.Batcher(double, 8)
  for value in (1, 2):
    assert batcher(request(value))["y"] == 2 * value
  with pytest.raises(ValueError, match="negative"):
    batcher(request(-1))
  assert batcher(request(3))["y"] == 6
  assert double.batches == [[1], [2], [-1], [3]]


def test_many_threads_get_their_own_answers():
  double = Doubler()
  double.release.set()
  batcher = batching.Batcher(double, 16)
  ask = lambda number: batcher(request(number, number + 0.5))["y"][:, 0].tolist()
  with futures.ThreadPoolExecutor(32) as pool:
    answers = list(pool.map(ask, range(400), timeout=PATIENCE))
  assert answers == [[2 * number, 2 * number + 1] for number in range(400)]
  assert max(map(len, double.batches)) <= 16 and sum(map(len, double.batches)) == 800
  assert not batcher._waiting and not batcher._is_running


def test_a_served_model_answers_together_what_it_answers_apart(exports):
  alone = servables.Version(exports("lstm"))
  together = servables.Version(exports("lstm"), batched=8)
  signatures, sizes = together._loaded.signatures, []

  def complete(partial_scan):
    """Records the batch; the first waits until the others do."""
    sizes.append(len(partial_scan))
    while len(sizes) == 1 and len(together._batchers["complete"]._waiting) < 3:
      pass
    return signatures["complete"](partial_scan=partial_scan)

  # Not in `_loaded` itself, which other tests of this process share.
  together._loaded = types.SimpleNamespace(signatures={**signatures, "complete": complete})
  random = np.random.default_rng(0)
  mask = random.random([4, 1, tiny.SIZE, tiny.SIZE, 1]) < 0.2
  values = np.where(mask, random.uniform(-1, 1, mask.shape), 0)
  scans = np.concatenate([values, mask], axis=-1).astype(np.float32)
  ask = lambda scan: together.predict("complete", {"partial_scan": scan})["completion"]
  with futures.ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(ask, scans, timeout=PATIENCE))
  assert sizes == [1, 3]
  for scan, answer in zip(scans, answers, strict=True):
    wanted = alone.predict("complete", {"partial_scan": scan})["completion"]
    np.testing.assert_allclose(answer, wanted, atol=1e-5)


def test_rounds_of_fields_are_not_batched(exports):
  """Positions of one field would be padded to the number of another's."""
  version = servables.Version(exports(exports_lib.FIELDS), batched=8)
  assert set(version._batchers) == {"complete", "decide", "serving_default"}
