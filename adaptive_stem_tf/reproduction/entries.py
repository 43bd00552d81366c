"""What the table of the supplement's figures is made of: figures, their lines, what is claimed."""

from typing import NamedTuple


class Claim(NamedTuple):
  """A sentence of the supplement about two runs.

  `kind` is lower (the first run's metric is), not_lower or similar; `metric` may be
  `first's:second's` where they differ.
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
  """What a figure shows and what is claimed of it."""

  title: str
  lines: tuple[Line, ...]
  claims: tuple[Claim, ...] = ()
  printed: tuple[Printed, ...] = ()
  kind: str = "curves"  # or sweep, sheet
  boxcar: int = 2500  # iterations
  part: int = 0  # of the test images that a sheet shows
