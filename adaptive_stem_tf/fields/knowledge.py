"""Knowledge of a field while it is scanned, for policies in NumPy.

A policy is a function of `Known` that returns weights: how densely the next round measures each
pixel [H, W], or each cell [h, w], relative to the others.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import maps, rounds
from adaptive_stem_tf.fields import state as state_lib


class Known(NamedTuple):
  """All that is known of a field before a round; intensities are on [-1, 1]."""

  completion: np.ndarray  # [H, W]
  uncertainty: np.ndarray  # [H, W] expected standard deviation of the completion's error
  plain: np.ndarray  # [H, W], completed without a network: local linear, filtered
  mask: np.ndarray  # [H, W] bool, where something was measured
  intensities: np.ndarray  # [H, W] as measured; NaN where not
  round: int  # that is decided, from 1
  rounds: int  # in all
  coverage: float  # share of the pixels that the whole scan measures
  cells: state_lib.Cells  # what the actor sees of this field, B = 1
  cell: int  # px, width of a cell


Weigh = Callable[[Known], np.ndarray]


def of_state(state: state_lib.FieldState, number: int, count: int, cell: int) -> list[Known]:
  """Returns the knowledge of each field of a batch.

  Args:
    state: of the fields.
    number: of the round that is decided, from 1.
    count: rounds in all.
    cell: width of a cell, px.
  """
  image = lambda tensor: np.asarray(tensor)[..., 0]
  completion, mask = state.completion, image(state.mask) > 0
  means, plains = image(completion.mean), image(completion.plain)
  deviations = np.exp(image(completion.log_variance) / 2)
  measured = np.where(mask, image(state.partial), np.float32(np.nan))
  cells = state_lib.see(state, cell)
  return [
    Known(
      means[i],
      deviations[i],
      plains[i],
      mask[i],
      measured[i],
      number,
      count,
      float(state.coverage[i]),
      state_lib.Cells(*(part[i : i + 1] for part in cells)),
      cell,
    )  # fmt: skip
    for i in range(len(mask))
  ]


def to_weights(log_weights: tf.Tensor, known: Known) -> np.ndarray:
  """Returns the weights [H, W] that log weights [1, h, w, 1] of cells mean, as an actor gives."""
  limited = rounds.limit(log_weights, known.cells.valid)
  return np.exp(maps.to_pixels(limited, known.cell, *known.mask.shape).numpy()[0, ..., 0])


def weights(policy: Weigh, known: Known, name: str = "policy") -> np.ndarray:
  """Returns the weights [H, W] that a policy asks for, within exp(-5) to exp(5) times their
  geometric mean.

  Args:
    policy: the policy.
    known: what is known of the field.
    name: of the policy, for errors.

  Raises:
    ValueError: if the policy does not return weights of pixels or cells.
  """
  values = np.asarray(policy(known), np.float32)
  cells = tuple(known.cells.valid.shape[1:3])
  if values.shape not in (known.mask.shape, cells):
    raise ValueError(
      f"{name} returned weights of shape {list(values.shape)}: return one for each of the "
      f"{list(known.mask.shape)} pixels, or of the {list(cells)} cells of {known.cell} px."
    )
  if not np.isfinite(values).all() or values.min() < 0 or not values.max() > 0:
    raise ValueError(
      f"{name} returned weights of {values.min():g} to {values.max():g}: return finite ones, not "
      "below 0, and not 0 everywhere."
    )
  logs = np.log(np.maximum(values, values.max() * np.float32(1e-12)))
  if values.shape == known.mask.shape:
    return np.exp(np.clip(logs - logs.mean(), -rounds.LIMIT, rounds.LIMIT))
  return to_weights(tf.constant(logs[None, ..., None]), known)
