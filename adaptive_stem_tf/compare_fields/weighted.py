"""Scans fields with a policy in NumPy, round by round."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.compare_fields.scanning import Parts, Scanned
from adaptive_stem_tf.fields import knowledge, placement, rounds, routes, static_scans


class WeightedScan:
  """A researcher's own policy, which is compared like a `scanning.AdaptiveScan`.

  Its rounds are as that one's: the same survey, budget and placement.
  """

  def __init__(
    self, name: str, policy: knowledge.Weigh, complete: Callable[..., Any], parts: Parts
  ):
    """Makes the scan.

    Args:
      name: of the policy, for errors.
      policy: returns weights from what is known.
      complete: gives the completions that the policy sees.
      parts: how the budget and the field are divided.
    """
    self._name, self._policy = name, policy
    self._complete, self._parts = complete, parts

  def __call__(self, measured: np.ndarray, seeds: tuple[int, ...], coverage: float) -> Scanned:
    """Scans a field once for each seed; arguments as those of `AdaptiveScan`.

    Raises:
      ValueError: if the policy does not return weights.
    """
    began, specimen = time.perf_counter(), tf.constant(measured[..., None])
    count, (rows, columns) = self._parts.rounds, measured.shape[1:]
    counts = rounds.budget(
      tf.fill([len(seeds)], coverage), rows * columns, self._parts.survey, count
    )
    offsets = np.stack([static_scans.offset(seed) for seed in seeds])
    rank = placement.rank_map(rows, columns, tf.constant(offsets))
    plan = rounds.FieldPlan(counts, rank, tf.ones_like(specimen), self._parts.pairs)
    masks = [rounds.survey_mask(plan)]
    completion = self._complete(specimen * masks[0], masks[0])
    state = rounds.first_state(specimen, masks[0], plan, completion)
    for number in range(1, count + 1):
      known = knowledge.of_state(state, number, count, self._parts.cell)
      weights = np.stack([knowledge.weights(self._policy, one, self._name) for one in known])
      mask = placement.place(tf.constant(weights), rank, state.mask[..., 0], counts[number])
      masks.append(mask[..., None])
      if number < count:
        completion = self._complete(specimen * masks[-1], masks[-1])
        state = rounds.next_state(state, specimen, masks[-1], completion, number / count)
    milliseconds = 1000 * (time.perf_counter() - began) / len(seeds)
    measured_by = np.stack(masks)[..., 0] > 0
    orders = [routes.of_rounds(measured_by[:, i]) for i in range(len(seeds))]
    return Scanned(measured_by, orders, milliseconds)
