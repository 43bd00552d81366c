"""Sizes of the scans that an exported model makes.

A module without TensorFlow, which the fast path (`edge`) does without, too.
"""

from typing import NamedTuple


class Geometry(NamedTuple):
  """S, n and T (METHOD section 3)."""

  size: int
  probes: int
  segments: int
