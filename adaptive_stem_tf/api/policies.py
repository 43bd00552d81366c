"""Policies, which decide where the next round of a scan measures.

A policy is a function of what is known of the field, a `Known`, that returns weights: how densely
each pixel [H, W], or each cell [h, w], is measured in this round, relative to the others. A
policy that follows the expected error, and nothing else, is

  def mine(known):
    return known.uncertainty

The policies here are such functions, so that others can be built upon them.
"""

import numpy as np

from adaptive_stem_tf.fields import knowledge, policies
from adaptive_stem_tf.fields.knowledge import Known
from adaptive_stem_tf.fields.outlines import outline

__all__ = ["Known", "even", "gradient", "greedy", "outline"]


def even(known: Known) -> np.ndarray:
  """Measures evenly: rounds then decide nothing."""
  return np.ones(known.mask.shape, np.float32)


def gradient(power: float = 0.5) -> knowledge.Weigh:
  """Returns the rule: density in proportion to (mean squared gradient of `plain`)^power.

  Args:
    power: 0 is even.
  """
  return _of_cells(policies.gradient(power))


def greedy(power: float = 0.5) -> knowledge.Weigh:
  """Returns the policy of a density in proportion to (expected squared error)^power.

  Args:
    power: 0 is even.
  """
  return _of_cells(policies.greedy(power))


def _of_cells(policy):
  """Returns a policy of `fields.policies`, which decides on cells, for one field."""

  def weigh(known: Known) -> np.ndarray:
    """Returns the weights of pixels [H, W]."""
    return knowledge.to_weights(policy(known.cells, ())[0], known)

  return weigh
