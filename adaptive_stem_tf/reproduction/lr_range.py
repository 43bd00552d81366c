"""The learning rate range test (SI fig. S3, METHOD section 7).

A sweep raises the generator's rate exponentially until learning becomes unstable.
Candidates around a tenth of that rate are then trained, and the best is recommended.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import figures

TOLERATED = 1.5  # learning is unstable if the averaged loss is more times its running minimum
DECADES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of candidates, from the centre
OPTIMISERS = ("adam", "sgd")
VALIDATION = 0.15  # of the training split, if a configuration sets nothing aside
_BOXCAR_SHARE = 0.01  # of a sweep: 100 of 10^4 iterations
_BOXCAR_LEAST = 5  # iterations


class Sweep(NamedTuple):
  """Results of a sweep."""

  rates: np.ndarray  # [N], of each row
  losses: np.ndarray  # [N], boxcar averaged 10 MSE
  unstable: float | None  # rate from which learning was unstable; None if it never was
  not_finite: float | None  # rate at which a loss was no longer finite; None if all were


def changes(optimiser: str, iterations: int) -> dict[str, object]:
  """Returns the fields that make an experiment a sweep."""
  return {"schedule": "sweep", "generator_optimiser": optimiser, "iterations": iterations}


def read_sweep(
  rows: Sequence[Mapping[str, float]], settings: config.Optimisation, diverged: int | None
) -> Sweep:
  """Reads a sweep from its metrics.

  Args:
    rows: of metrics.csv.
    settings: of the sweep.
    diverged: iteration of the first loss that was not finite, which has no row; None if all were
      finite.
  """
  iterations = np.array([row["iteration"] for row in rows])
  losses = np.array([row["generator_loss"] for row in rows])
  width = boxcar_width(settings.iterations)
  smooth = figures.boxcar(losses, np.diff(iterations, prepend=0), width)
  rates = np.array([rate_at(row["iteration"], settings) for row in rows])
  not_finite = None if diverged is None else rate_at(diverged, settings)
  where = first_unstable(iterations, smooth, width)
  return Sweep(rates, smooth, not_finite if where is None else float(rates[where]), not_finite)


def rate_at(iteration: float, settings: config.Optimisation) -> float:
  """Returns the rate of a sweep's iteration, counted from 1."""
  share = (iteration - 1) / settings.iterations
  return settings.sweep_from * (settings.sweep_to / settings.sweep_from) ** share


def boxcar_width(iterations: int) -> float:
  """Returns the iterations that a sweep's losses are averaged over: 100 of 10^4."""
  return max(_BOXCAR_SHARE * iterations, _BOXCAR_LEAST)


def first_unstable(iterations: np.ndarray, smooth: np.ndarray, width: float) -> int | None:
  """Returns the first place where an averaged loss is unstable, None if it never is.

  Unstable: more than 1.5 times the running minimum, or not finite. Places before a whole
  boxcar has passed are not judged.

  Args:
    iterations: [N], at the end of each row.
    smooth: [N], boxcar-averaged losses.
    width: of the boxcar, in iterations.
  """
  judged = iterations >= width
  lowest = np.fmin.accumulate(np.where(judged & np.isfinite(smooth), smooth, np.inf))
  with np.errstate(invalid="ignore"):
    unstable = judged & (~np.isfinite(smooth) | (smooth > TOLERATED * lowest))
  return int(np.argmax(unstable)) if unstable.any() else None


def candidates(unstable: float) -> list[float]:
  """Returns five rates around a tenth of the rate at which learning became unstable, rounded to
  three digits.
  """
  return [float(f"{0.1 * unstable * 10**decades:.3g}") for decades in DECADES]


def recommend(errors: Mapping[float, float]) -> float:
  """Returns the rate with the lowest error; errors that are not finite are left out.

  Raises:
    ValueError: if no rate's error is finite.
  """
  finite = {rate: error for rate, error in errors.items() if np.isfinite(error)}
  if not finite:
    raise ValueError(
      f"none of the rates {', '.join(f'{rate:g}' for rate in errors)} trained to a finite error: "
      "sweep lower rates (--sweep_from, --sweep_to)."
    )
  return min(finite, key=lambda rate: finite[rate])
