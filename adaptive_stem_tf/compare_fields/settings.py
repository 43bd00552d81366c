"""Settings of a comparison of scans of whole fields."""

import dataclasses

import numpy as np

from adaptive_stem_tf.fields import static_scans
from adaptive_stem_tf.settings import Section, field

# `even` decides nothing: it is farthest points with pairs, and shows what pairs alone are worth.
ADAPTIVE = EVEN_ROUNDS, GRADIENT, GREEDY, ACTOR = ("even", "gradient", "greedy", "actor")
LEARNT = (GREEDY, ACTOR)  # scans that need a model
SCANS = (*static_scans.SCANS, *ADAPTIVE)
SLADS = "slads"  # compared where it is named: it is trained before
DECIDED = (*ADAPTIVE, SLADS)
OUTLINE = "outline"  # compared where it is named: it serves masks of what is bright, not errors
EVEN = "farthest_points"
GENERATOR, LOCAL_LINEAR, LINEAR = "generator", "local_linear", "linear"
CHEAP = (GENERATOR, LOCAL_LINEAR, LINEAR)
COMPLETIONS = (*CHEAP, "biharmonic", "total_variation")


@dataclasses.dataclass(frozen=True)
class Decisions(Section):
  """How adaptive scans decide."""

  rounds: int = field(
    0, "rounds after the survey; 0 for those of each model, or 4 without one", minimum=0, maximum=16
  )
  survey: float = field(
    0.0,
    "share of the budget that the survey takes; 0 for that of each model, or 0.25 without one",
    minimum=0.0,
    below=1.0,
  )
  pairs: float = field(
    -1.0,
    "share of the budget that the survey spends beside its own positions, to tell noise from "
    "structure; below 0 for that of each model, or 0.02 without one",
    minimum=-1.0,
    below=0.5,
  )
  gradient_power: float = field(
    0.5, "power of the squared gradient that the rule's density is proportional to", minimum=0.0
  )
  greedy_power: float = field(
    0.5, "power of the expected squared error that greedy's density is proportional to", minimum=0.0
  )
  contiguous: bool = field(
    False, "the beam is on while it moves: pixels on the way from position to position count, too"
  )
  electrons: float = field(
    0.0,
    "electrons per white pixel: adds Poisson noise to what is measured; 0 for the file's own noise",
    minimum=0.0,
  )


@dataclasses.dataclass(frozen=True)
class Request:
  """The fields' coverages and seeds, scans and completions to compare."""

  coverages: tuple[float, ...]
  seeds: tuple[int, ...]
  scans: tuple[str, ...]
  completions: tuple[str, ...]
  decisions: Decisions = Decisions()
  slads: np.ndarray | None = None  # its coefficients [28] (compare_fields.slads)
