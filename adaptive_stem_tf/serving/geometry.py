"""Sizes of the scans that an exported model makes.

This module does not import TensorFlow, so that the fast path (`edge`) need not either.
"""

from typing import NamedTuple


class Geometry(NamedTuple):
  """S, n and T (METHOD section 3)."""

  size: int
  probes: int
  segments: int
