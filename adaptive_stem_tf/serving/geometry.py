"""Sizes of the scans that an exported model makes."""

from typing import NamedTuple


class Geometry(NamedTuple):
  """S, n and T (METHOD section 3)."""

  size: int
  probes: int
  segments: int
