"""Policies: log weights of cells for the next round, from what was measured (FIELDS section 3).

A policy is called with the features of every cell and its recurrent state; it returns log
weights [B, h, w, 1] and the next state. `docs/ARCHITECTURE.md` says how to add one.
"""

from typing import Any

import tensorflow as tf

from adaptive_stem_tf.fields.rounds import Policy
from adaptive_stem_tf.fields.state import Cells


def even(cells: Cells, state: Any) -> tuple[tf.Tensor, Any]:
  """Leaves the density even: farthest points in any number of rounds."""
  return tf.zeros_like(cells.gradient), state


def gradient(power: float) -> Policy:
  """Returns the rule: density in proportion to (mean squared gradient)^power."""
  return lambda cells, state: (power * cells.gradient, state)


def greedy(power: float) -> Policy:
  """Returns the policy of a density in proportion to (expected squared error)^power."""
  return lambda cells, state: (power * cells.uncertainty, state)
