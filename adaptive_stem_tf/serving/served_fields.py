"""The functions of a scanner of whole fields that servers offer.

Signatures, every tensor with the batch B (any size) as its first axis; H and W are any sizes
from 32 px up:

  survey    rows, columns, budget, rounds, seed [B] int32 -> next_mask [B, H, W, 1], the survey's
            positions, next_positions [B, N, 2] px, and state_*
  plan      partial_field [B, H, W, 1], mask [B, H, W, 1], round_number, rounds, budget, seed [B]
            int32 and state_*  -> next_mask, everything that is measured after the round,
            next_positions, those that are new, completion, standard_deviation and state_*
  complete  partial_field, mask -> completion, standard_deviation, interpolation and
            smooth_interpolation [B, H, W, 1]
  decide    features, gradient, uncertainty and valid of cells, state_recurrent -> log_weights and
            state_recurrent: the actor alone, for comparisons

Servers keep no state: the state of a scan travels as tensors named state_*. Exactly the budget
is measured in all, no position twice. If the fields of a batch have different numbers of
positions, next_positions ends in -1. `serving_default` is `complete`.

Shapes that disagree, masks that are not 0 or 1, intensities that are not finite and budgets beyond
the pixels are refused inside the graph, so that servers answer INVALID_ARGUMENT.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import placement, state
from adaptive_stem_tf.fields import rounds as rounds_lib
from adaptive_stem_tf.serving import export, field_placement
from adaptive_stem_tf.training.field_model import TrainedModel

LEAST_SIDE = 32  # px
SIGNATURES = ("complete", "survey", "plan", "decide")
_STATE = ("state_mask", "state_mean", "state_recurrent")
_NUMBERS = ("budget", "rounds", "seed")


class ServedFields(tf.Module):
  """The functions behind the signatures."""

  def __init__(self, model: TrainedModel):
    super().__init__(name="served_fields")
    self.model, self._cell, self._survey = model, model.cell, model.survey
    self._pairs = model.pairs
    self._channels = model.experiment.networks.policy_channels
    self._multiple = field_placement.multiple(model.cell)

  def signatures(
    self, batch: int | None = None, side: int | None = None, names: Sequence[str] = SIGNATURES
  ) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Returns traced signatures by name.

    Args:
      batch: of all tensors; None for any.
      side: H and W, px; None for any.
      names: of the signatures.
    """
    cells = side and -(-side // self._multiple) * self._multiple // self._cell
    image = lambda name: tf.TensorSpec([batch, side, side, 1], tf.float32, name)
    number = lambda name: tf.TensorSpec([batch], tf.int32, name)
    of_cells = lambda name, channels: tf.TensorSpec(
      [batch, cells, cells, channels], tf.float32, name
    )
    recurrent = of_cells("state_recurrent", self._channels)
    fields = [image("partial_field"), image("mask")]
    numbers = [number(name) for name in _NUMBERS]
    inputs = {
      "complete": fields,
      "survey": [number("rows"), number("columns"), *numbers],
      "plan": [
        *fields,
        number("round_number"),
        *numbers,
        image("state_mask"),
        image("state_mean"),
        recurrent,
      ],  # fmt: skip
      "decide": [
        of_cells("features", state.FEATURES),
        *(of_cells(name, 1) for name in ("gradient", "uncertainty", "valid")),
        recurrent,
      ],
    }
    return {
      name: tf.function(getattr(self, name), autograph=False).get_concrete_function(*inputs[name])
      for name in names
    }

  def examples(self, side: int = 64) -> dict[str, dict[str, np.ndarray]]:
    """Returns a small request for each signature, by which servers warm up."""
    values = {"budget": 40, "rounds": 2, "seed": 0}
    numbers = {name: np.array([value], np.int32) for name, value in values.items()}
    sides = {name: np.array([side], np.int32) for name in ("rows", "columns")}
    survey = self.survey(*(tf.constant(v) for v in (*sides.values(), *numbers.values())))
    carried = {name: survey[name].numpy() for name in _STATE}
    mask = survey["next_mask"].numpy()
    fields = {"partial_field": np.zeros_like(mask), "mask": mask}
    cells = carried["state_recurrent"].shape[1:3]
    level = np.ones([1, *cells, 1], np.float32)
    return {
      "complete": fields,
      "serving_default": fields,
      "survey": {**sides, **numbers},
      "plan": {**fields, "round_number": np.ones(1, np.int32), **numbers, **carried},
      "decide": {
        "features": np.zeros([1, *cells, state.FEATURES], np.float32),
        **dict.fromkeys(("gradient", "uncertainty", "valid"), level),
        "state_recurrent": carried["state_recurrent"],
      },
    }

  def complete(self, partial_field, mask):
    """Completes partial fields."""
    partial_field, mask = _checked_fields(partial_field, mask)
    completion = self.model.complete(partial_field, mask)
    return {
      **_estimates(completion),
      "interpolation": completion.plain,
      "smooth_interpolation": completion.smooth,
    }

  def survey(self, rows, columns, budget, rounds, seed):
    """Begins scans: even positions."""
    batch = tf.shape(rows)[0]
    checks = [
      _all_are(rows == rows[0], "rows differ: the fields of a batch have one size"),
      _all_are(columns == columns[0], "columns differ: the fields of a batch have one size"),
    ]
    with tf.control_dependencies(checks):
      height, width = tf.identity(rows[0]), tf.identity(columns[0])
    with tf.control_dependencies([_large_enough(height, width)]):
      zeros = tf.zeros([batch, height, width, 1])
    counts = self._counts(tf.zeros_like(budget), rounds, budget, height * width)
    padded, valid = self._pad(zeros), self._pad(zeros + 1.0)
    plan = rounds_lib.FieldPlan(
      tf.stack([counts, budget]), self._rank(padded, seed), valid, self._pairs
    )
    mask = rounds_lib.survey_mask(plan)[:, :height, :width]
    cells = tf.shape(padded)[1:3] // self._cell
    recurrent = tf.zeros([batch, cells[0], cells[1], self._channels])
    return {
      "next_mask": mask,
      "next_positions": _positions(mask),
      **dict(zip(_STATE, (mask, zeros, recurrent))),
    }

  def plan(
    self,
    partial_field,
    mask,
    round_number,
    budget,
    rounds,
    seed,
    state_mask,
    state_mean,
    state_recurrent,
  ):  # The names are those of the signature; TensorFlow does not accept a mapping here.
    """Decides what is measured next."""
    partial_field, mask = _checked_fields(partial_field, mask)
    carried = self._checked_state(mask, state_mask, state_mean, state_recurrent)
    pixels = tf.shape(mask)[1] * tf.shape(mask)[2]
    counts = self._counts(round_number, rounds, budget, pixels)
    with tf.control_dependencies([_all_are(
      tf.reduce_sum(tf.cast(mask, tf.int32), [1, 2, 3]) <= counts,
      "more is measured than the budget allows after this round: give the budget, rounds and "
      "round_number that the scan began with",
    )]):  # fmt: skip
      counts = tf.identity(counts)
    known = self._known(partial_field, mask, carried, round_number, rounds, budget)
    cells = state.see(known, self._cell, whole=True)
    log_weights, recurrent = self.model.policy(cells, carried[2])
    plan = rounds_lib.FieldPlan(counts[None], self._rank(known.mask, seed), known.valid)
    log_weights = rounds_lib.limit(log_weights, cells.valid)
    crop = lambda image: _like(image, mask)
    next_mask = crop(rounds_lib.next_mask(log_weights, known.mask, plan, 0, self._cell))
    return {
      "next_mask": next_mask,
      "next_positions": _positions(next_mask - mask),
      **{name: crop(value) for name, value in _estimates(known.completion).items()},
      **dict(zip(_STATE, (mask, crop(known.completion.mean), recurrent))),
    }

  def decide(self, features, gradient, uncertainty, valid, state_recurrent):
    """Returns the actor's log weights for averages over cells."""
    named = {"features": features, "gradient": gradient, "uncertainty": uncertainty, "valid": valid}
    cells = state.Cells(*(export.finite(value, name) for name, value in named.items()))
    carried = export.finite(state_recurrent, "state_recurrent")
    log_weights, recurrent = self.model.policy(cells, carried)
    return {"log_weights": log_weights, "state_recurrent": recurrent}

  def _known(self, partial_field, mask, carried, round_number, rounds, budget):
    """Returns the state of padded fields before a round."""
    padded, measured = self._pad(partial_field), self._pad(mask)
    before, mean = self._pad(carried[0]), self._pad(carried[1])
    recent = measured - before
    size = tf.cast(tf.shape(mask)[1] * tf.shape(mask)[2], tf.float32)
    return state.FieldState(
      padded,
      measured,
      self._pad(tf.ones_like(mask)),
      self.model.complete(padded, measured),
      recent * tf.square(padded - mean),
      recent,
      tf.cast(round_number - 1, tf.float32) / tf.cast(rounds, tf.float32),
      tf.cast(budget, tf.float32) / size,
    )

  def _counts(self, round_number, rounds, budget, pixels):
    """Returns the positions [B] that are measured after a round; 0 is the survey."""
    checks = [
      _all_are(budget >= 1, "budget is below 1: measure at least one position"),
      _all_are(budget <= pixels, "budget is greater than the number of pixels of a field"),
      _all_are(
        (rounds >= 0) & (rounds <= field_placement.MOST_ROUNDS),
        f"rounds is not among 0 to {field_placement.MOST_ROUNDS}",
      ),
      _all_are(
        (round_number >= 0) & (round_number <= rounds),
        "round_number is not among the rounds: they count from 1 to `rounds`",
      ),
    ]
    with tf.control_dependencies(checks):
      round_number = tf.identity(round_number)
    share = tf.gather_nd(field_placement.shares(self._survey), tf.stack([rounds, round_number], -1))
    counts = tf.round(tf.cast(budget, tf.float32) * share)
    return tf.cast(tf.maximum(counts, 1.0), tf.int32)

  def _checked_state(self, mask, state_mask, state_mean, state_recurrent):
    """Returns the state after the graph has checked that it belongs to the mask."""
    cells = (tf.shape(self._pad(mask)) // self._cell)[1:3]
    recurrent_shape = tf.stack([tf.shape(mask)[0], cells[0], cells[1], self._channels])
    advice = "give the state_* of the scan's last answer"
    checks = [
      _same_shape(state_mask, mask, f"state_mask has another shape than mask: {advice}"),
      _same_shape(state_mean, mask, f"state_mean has another shape than mask: {advice}"),
      tf.debugging.assert_equal(
        tf.shape(state_recurrent), recurrent_shape, f"state_recurrent has another shape: {advice}"
      ),
    ]
    with tf.control_dependencies(checks):
      state_mask = tf.identity(state_mask)
    checks = [
      _all_are((state_mask == 0) | (state_mask == 1), "state_mask has values other than 0 and 1"),
      _all_are(state_mask <= mask, "state_mask has positions that mask has not"),
    ]
    with tf.control_dependencies(checks):
      return (
        state_mask,
        export.finite(state_mean, "state_mean"),
        export.finite(state_recurrent, "state_recurrent"),
      )

  def _rank(self, image, seed):
    """Returns relative ranks for padded images; a seed chooses one of 16,384 even patterns."""
    rows, columns = (image.shape[axis] or tf.shape(image)[axis] for axis in (1, 2))
    return placement.rank_map(rows, columns, field_placement.offset(seed))

  def _pad(self, image):
    sides = tf.shape(image)[1:3]
    pads = tf.math.floormod(-sides, self._multiple)
    return tf.pad(image, [[0, 0], [0, pads[0]], [0, pads[1]], [0, 0]])


def _checked_fields(partial_field, mask):
  """Returns partial fields and masks after the graph has checked that they are valid."""
  checks = [
    _same_shape(partial_field, mask, "partial_field and mask differ in shape"),
    _large_enough(tf.shape(mask)[1], tf.shape(mask)[2]),
  ]
  with tf.control_dependencies(checks):
    mask, partial_field = tf.identity(mask), export.finite(partial_field, "partial_field")
  with tf.control_dependencies(
    [
      _all_are((mask == 0) | (mask == 1), "mask has values other than 0 and 1"),
      _all_are(
        (mask == 1) | (partial_field == 0),
        "partial_field has intensities where mask is 0: it is 0 where nothing was measured",
      ),
    ]
  ):
    return tf.identity(partial_field), tf.identity(mask)


def _same_shape(tensor, other, message):
  return tf.debugging.assert_equal(tf.shape(tensor), tf.shape(other), message)


def _large_enough(rows, columns):
  return tf.debugging.assert_greater_equal(
    tf.minimum(rows, columns), LEAST_SIDE, f"fields are smaller than {LEAST_SIDE} px"
  )


def _all_are(condition, message):
  return tf.debugging.Assert(tf.reduce_all(condition), [message])


def _estimates(completion):
  return {
    "completion": completion.mean,
    "standard_deviation": tf.exp(0.5 * completion.log_variance),
  }


def _like(image, other):
  """Returns an image cropped to the rows and columns of another."""
  return tf.ensure_shape(
    image[:, : tf.shape(other)[1], : tf.shape(other)[2]], [*other.shape[:3], 1]
  )


def _positions(mask):
  """Returns the positions [B, N, 2] px of pixels [B, H, W, 1] that are 1, ended by -1."""
  places = tf.cast(tf.where(mask[..., 0] > 0), tf.int32)
  counts = tf.reduce_sum(tf.cast(mask > 0, tf.int32), [1, 2, 3])
  rows = tf.RaggedTensor.from_row_lengths(places[:, 1:], counts, validate=False)
  return rows.to_tensor(-1)
