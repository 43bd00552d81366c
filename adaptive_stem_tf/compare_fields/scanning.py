"""Scans fields adaptively, all seeds of a field together."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.compare_fields import settings, slads
from adaptive_stem_tf.compare_fields.completions import Completer
from adaptive_stem_tf.compare_fields.settings import Decisions, Request
from adaptive_stem_tf.fields import placement, policies, rounds, routes, static_scans
from adaptive_stem_tf.fields.rounds import Policy
from adaptive_stem_tf.training.field_model import FieldModel


class Scanned(NamedTuple):
  """Scans of one field at one coverage, one for each seed."""

  masks: np.ndarray  # [R + 1, S, H, W] bool, measured after the survey and each round
  orders: list[np.ndarray]  # S times [N, 2] px, in order of time
  decide_ms: float  # of one scan: decisions and the completions that they are made from


class Parts(NamedTuple):
  """How an adaptive scan is divided."""

  rounds: int  # after the survey
  survey: float  # share of the budget
  cell: int  # px
  pairs: float  # share of the budget that the survey spends on neighbours of its own positions


class AdaptiveScan:
  """A policy with its rounds, for fields of any size."""

  def __init__(
    self,
    policy: Policy,
    initial_state: Callable[..., Any],
    complete: Callable[..., Any],
    parts: Parts,
    contiguous: bool = False,
    in_graph: bool = True,
  ):
    """Makes the scan.

    Args:
      policy: decides each round.
      initial_state: of the policy, for a number of fields, rows and columns of cells.
      complete: gives the completions that the policy sees.
      parts: how the budget and the field are divided.
      contiguous: whether the pixels that the beam crosses on its way are measured.
      in_graph: whether policy and completion can be part of a graph.
    """
    self._policy, self._initial, self._complete = policy, initial_state, complete
    self._parts, self._contiguous = parts, contiguous
    self._in_graph = in_graph and not contiguous  # routes are computed outside of the graph
    self._scan = tf.function(
      self._trace,
      input_signature=[
        tf.TensorSpec([None, None, None, 1]),
        tf.TensorSpec([None, 2], tf.int32),
        tf.TensorSpec([]),
      ],
      autograph=False,
    )
    self._warm = False

  def __call__(self, measured: np.ndarray, seeds: tuple[int, ...], coverage: float) -> Scanned:
    """Scans a field once for each seed.

    Args:
      measured: [S, H, W] float32, intensities that the beam measures at each pixel in each scan.
      seeds: S, of the patterns of even positions.
      coverage: share of the pixels that is measured.
    """
    offsets = np.stack([static_scans.offset(seed) for seed in seeds])
    arguments = (tf.constant(measured[..., None]), tf.constant(offsets), tf.constant(coverage))
    if not self._in_graph:
      return self._scan_outside(arguments)
    if not self._warm:  # Tracing does not belong to the time of decisions.
      self._scan(*arguments)
      self._warm = True
    start = time.perf_counter()
    masks = self._scan(*arguments).numpy()[..., 0] > 0
    milliseconds = 1000 * (time.perf_counter() - start) / len(seeds)
    orders = [routes.of_rounds(masks[:, i]) for i in range(len(seeds))]
    return Scanned(masks, orders, milliseconds)

  def _scan_outside(self, arguments):
    """Scans outside the graph."""
    count = arguments[0].shape[0]
    orders: list[list[np.ndarray]] = [[] for _ in range(count)]

    def visit(before, planned):
      """Returns the mask after the beam has gone through some of the planned positions."""
      before, planned = (mask.numpy()[..., 0] > 0 for mask in (before, planned))
      after = before.copy()
      for order, old, new, mask in zip(orders, before, planned, after):
        order.append(routes.through(np.argwhere(new & ~old), old))
        mask[tuple(order[-1].T)] = True
      return tf.constant(after[..., None], tf.float32)

    start = time.perf_counter()
    way = [visit] if self._contiguous else []
    masks = self._trace(*arguments, *way).numpy()[..., 0] > 0
    milliseconds = 1000 * (time.perf_counter() - start) / count
    if self._contiguous:
      return Scanned(masks, [np.concatenate(order) for order in orders], milliseconds)
    return Scanned(masks, [routes.of_rounds(masks[:, i]) for i in range(count)], milliseconds)

  def _trace(self, measured, offsets, coverage, *visit):
    shape = tf.shape(measured)
    counts = rounds.budget(
      tf.fill(shape[:1], coverage), shape[1] * shape[2], self._parts.survey, self._parts.rounds
    )
    rank = placement.rank_map(shape[1], shape[2], offsets)
    plan = rounds.FieldPlan(counts, rank, tf.ones_like(measured), self._parts.pairs)
    cell = self._parts.cell
    initial = self._initial(shape[0], *(-(-shape[axis] // cell) for axis in (1, 2)))
    trajectory = rounds.scan(measured, plan, self._policy, initial, self._complete, cell, *visit)
    return trajectory.masks


def count(shape: tuple[int, int], coverage: float) -> int:
  """Returns the budget N of a field: the number of distinct positions of every scan of it."""
  return int(rounds.budget(tf.constant([coverage]), shape[0] * shape[1], 1.0, 0)[0, 0])


def adaptive(
  name: str, model: FieldModel | None, completer: Completer, request: Request
) -> AdaptiveScan:
  """Returns an adaptive scan.

  Args:
    name: of `settings.DECIDED`.
    model: of greedy and actor; for the rule, only its rounds count.
    completer: of the model.
    request: decisions that differ from the model's, and the coefficients of SLADS.

  Raises:
    ValueError: if a model is needed and there is none.
  """
  decisions = request.decisions
  if model is None and name in settings.LEARNT:
    raise ValueError(f"scan={name} needs a model: give --models, or leave it out of --scans.")
  parts = parts_of(model, decisions)
  stateless, contiguous = lambda batch, rows, columns: (), decisions.contiguous
  if name == settings.EVEN_ROUNDS:
    return AdaptiveScan(
      policies.even, stateless, completer.plain, parts._replace(rounds=1), contiguous
    )
  if name == settings.GRADIENT:
    # The rule sees the interpolation alone: its positions are those of every model.
    rule = policies.gradient(decisions.gradient_power)
    return AdaptiveScan(rule, stateless, completer.plain, parts, contiguous)
  if name == settings.SLADS:
    if request.slads is None:
      raise ValueError("scan=slads needs the coefficients of slads.train.")
    learnt = slads.Slads(request.slads, completer.plain, parts.cell)
    return AdaptiveScan(learnt.policy, stateless, learnt.complete, parts, contiguous, False)
  if name == settings.GREEDY:
    policy = policies.greedy(decisions.greedy_power)
    return AdaptiveScan(policy, stateless, completer.generator, parts, contiguous)
  assert model is not None  # refused above
  return AdaptiveScan(model.policy, model.initial_state, completer.generator, parts, contiguous)


def parts_of(model: FieldModel | None, decisions: Decisions) -> Parts:
  """Returns how a model's scans are divided; without a model, those of the configuration.

  Args:
    model: its parts count unless `decisions` sets others.
    decisions: parts that differ from the model's.
  """
  default: FieldModel | field_config.FieldScanConfig = model or field_config.FieldScanConfig()
  return Parts(
    decisions.rounds or default.rounds,
    decisions.survey or default.survey,
    default.cell,
    decisions.pairs if decisions.pairs >= 0 else default.pairs,
  )
