"""A scan of whole fields: a survey, then rounds that are decided from what was measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from adaptive_stem_tf.fields import maps, placement
from adaptive_stem_tf.fields.state import Cells, Completion, FieldState, see

LIMIT = 5.0  # of log weights about their mean: densities differ by at most exp(10)


class FieldPlan(NamedTuple):
  """The number of positions of each round of a scan, and the order of even ones."""

  counts: tf.Tensor  # [R + 1, B] int32, positions measured after the survey and after each round
  rank: tf.Tensor  # [B, H, W] of placement.rank_map
  valid: tf.Tensor  # [B, H, W, 1], 1 inside the field
  # [B] or scalar, share of the budget that the survey spends on neighbours of its own positions, to
  # tell noise from structure (fields.noise).
  pairs: tf.Tensor | float = 0.0


class FieldTrajectory(NamedTuple):
  """Scans of B fields in R rounds."""

  features: tf.Tensor  # [B, R, h, w, F] of cells before each round
  gradient: tf.Tensor  # [B, R, h, w, 1]
  uncertainty: tf.Tensor  # [B, R, h, w, 1]
  actions: tf.Tensor  # [B, R, h, w, 1] log weights about their mean
  masks: tf.Tensor  # [R + 1, B, H, W, 1] after the survey and each round
  completion: Completion  # of the whole scan


# (cells, recurrent state) -> log weights [B, h, w, 1], next recurrent state.
Policy = Callable[[Cells, Any], tuple[tf.Tensor, Any]]
# (partial fields [B, H, W, 1], masks [B, H, W, 1]) -> a completion.
Complete = Callable[[tf.Tensor, tf.Tensor], Any]
# (mask before a round, mask planned after it) -> mask measured after it, of as many pixels.
Visit = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def budget(coverage: tf.Tensor, pixels: tf.Tensor, survey: float, rounds: int) -> tf.Tensor:
  """Returns the positions [R + 1, B] int32 measured after the survey and after each round.

  Args:
    coverage: [B] share of the pixels that the whole scan measures.
    pixels: [B] or scalar, pixels of a field.
    survey: share of the budget that the survey takes; everything if there is no round.
    rounds: R; all measure the same number of positions, up to rounding.
  """
  total = tf.round(coverage * tf.cast(pixels, tf.float32))
  shares = [1.0] if not rounds else [survey + (1 - survey) * r / rounds for r in range(rounds + 1)]
  counts = tf.stack([tf.round(total * share) for share in shares])
  return tf.cast(tf.maximum(counts, 1.0), tf.int32)


def scan(
  specimen: tf.Tensor,
  plan: FieldPlan,
  policy: Policy,
  initial: Any,
  complete: Complete,
  cell: int,
  visit: Visit = lambda _, planned: planned,
) -> FieldTrajectory:
  """Scans fields that are known.

  Args:
    specimen: [B, H, W, 1] what the beam measures at each pixel.
    plan: positions per round.
    policy: decides each round.
    initial: its recurrent state before the first.
    complete: maps partial and mask to a completion (networks.field_generator).
    cell: width of a cell, px.
    visit: gives the mask that is measured for a planned one, if that differs (routes.contiguous).
  """
  rounds = plan.counts.shape[0] - 1
  masks = [visit(tf.zeros_like(specimen), survey_mask(plan))]
  completion = complete(specimen * masks[0], masks[0])
  state, recurrent = first_state(specimen, masks[0], plan, completion), initial
  seen, actions = [], []
  for number in range(rounds):
    cells = see(state, cell)
    log_weights, recurrent = policy(cells, recurrent)
    log_weights = limit(log_weights, cells.valid)
    planned = next_mask(log_weights, state.mask, plan, number + 1, cell)
    masks.append(visit(state.mask, planned))
    completion = complete(specimen * masks[-1], masks[-1])
    state = next_state(state, specimen, masks[-1], completion, (number + 1) / rounds)
    seen.append(cells)
    actions.append(log_weights)
  stack = lambda values: tf.stack(values, 1) if values else None
  return FieldTrajectory(
    stack([c.features for c in seen]),
    stack([c.gradient for c in seen]),
    stack([c.uncertainty for c in seen]),
    stack(actions),
    tf.stack(masks),
    completion,
  )


def survey_mask(plan: FieldPlan) -> tf.Tensor:
  """Returns the mask of the survey [B, H, W, 1]: even positions, and neighbours of some."""
  pixels = tf.reduce_sum(plan.valid, [1, 2, 3])
  share = plan.pairs * tf.cast(plan.counts[-1], tf.float32) / pixels
  weights = placement.beside_first(plan.rank, share) * plan.valid[..., 0]
  return placement.place(weights, plan.rank, tf.zeros_like(weights), plan.counts[0])[..., None]


def first_state(specimen, mask, plan, completion) -> FieldState:
  """Returns the state after the survey; arguments as those of `next_state`."""
  pixels = tf.reduce_sum(plan.valid, [1, 2, 3])
  coverage = tf.cast(plan.counts[-1], tf.float32) / pixels
  zeros = tf.zeros_like(mask)
  return FieldState(
    specimen * mask, mask, plan.valid, completion, zeros, zeros, tf.zeros_like(pixels), coverage
  )


def next_state(
  state: FieldState,
  specimen: tf.Tensor,
  mask: tf.Tensor,
  completion: Completion,
  progress: float | tf.Tensor,
) -> FieldState:
  """Returns the state after a round.

  Args:
    state: before it.
    specimen: [B, H, W, 1] intensities where they were measured; the rest is not used.
    mask: [B, H, W, 1] measured after the round.
    completion: from all that is measured.
    progress: rounds done over rounds in all.
  """
  recent = mask - state.mask
  surprise = recent * tf.square(specimen - state.completion.mean)
  return state._replace(
    partial=specimen * mask,
    mask=mask,
    completion=completion,
    surprise=surprise,
    recent=recent,
    progress=tf.zeros_like(state.progress) + progress,
  )


def next_mask(
  log_weights: tf.Tensor, mask: tf.Tensor, plan: FieldPlan, number: int | tf.Tensor, cell: int
) -> tf.Tensor:
  """Returns the mask of all that is measured after round `number`, [B, H, W, 1].

  Args:
    log_weights: [B, h, w, 1] of cells.
    mask: [B, H, W, 1] measured before it.
    plan: positions per round.
    number: of the round, from 1.
    cell: width of a cell, px.
  """
  rows, columns = (mask.shape[axis] or tf.shape(mask)[axis] for axis in (1, 2))
  weights = tf.exp(maps.to_pixels(log_weights, cell, rows, columns)) * plan.valid
  return placement.place(weights[..., 0], plan.rank, mask[..., 0], plan.counts[number])[..., None]


def limit(log_weights: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns log weights [B, h, w, 1] less their mean over the field, within LIMIT of 0."""
  total = tf.maximum(tf.reduce_sum(valid, [1, 2], keepdims=True), 1e-8)
  mean = tf.reduce_sum(log_weights * valid, [1, 2], keepdims=True) / total
  return tf.clip_by_value(log_weights - mean, -LIMIT, LIMIT)
