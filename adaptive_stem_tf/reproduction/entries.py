"""Entries of the table of the supplement's figures: figures, their lines, claims and numbers."""

from typing import NamedTuple


class Claim(NamedTuple):
  """A sentence of the supplement about two runs.

  Attributes:
    text: the claim, in a few words.
    source: where the supplement or the paper makes it.
    kind: lower (the first run's metric is lower), not_lower or similar.
    first: name of a run.
    second: name of the run that it is compared with.
    metric: that is compared, of `table.METRICS`; METRIC:METRIC, first and second, if they differ.
  """

  text: str
  source: str
  kind: str
  first: str
  second: str
  metric: str


class Printed(NamedTuple):
  """A number that the supplement prints."""

  run: str
  metric: str
  value: float


class Line(NamedTuple):
  """A run in a figure; fields of its experiment may stand in its label, in braces."""

  run: str
  label: str


class Figure(NamedTuple):
  """A figure's runs, and the claims and numbers of the supplement about them."""

  title: str
  lines: tuple[Line, ...]
  claims: tuple[Claim, ...] = ()
  printed: tuple[Printed, ...] = ()
  kind: str = "curves"  # or sweep, sheet
  boxcar: int = 2500  # iterations
  part: int = 0  # half of the test images that a sheet shows, 0 or 1: every second from this one
