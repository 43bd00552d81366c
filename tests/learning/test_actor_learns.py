"""The actor must learn to adapt: to read a cue and go where the structure is.

  python -m pytest -m slow -s tests/learning/test_actor_learns.py

prints the errors. Every path has a generator of its own, trained as long.
"""

import numpy as np
import pytest

from adaptive_stem_tf.evaluation import intervals
from tests.learning import quadrants

_SEEDS = (0, 1, 2)
_MARGIN = 0.8  # of the adaptive error over that of each alternative


def _train(name: str, seeds: tuple[int, ...] = _SEEDS, **keywords) -> np.ndarray:
  """Trains one path from every seed; returns errors [seeds, specimens]."""
  errors = np.stack([quadrants.train(seed, **keywords) for seed in seeds])
  print(f"\n{name}: {errors.mean(1).round(3)} by seed", flush=True)
  return errors


def _best_fixed_path() -> np.ndarray:
  """Trains every fixed path from the first seed, and the best of them from the others; returns its
  errors.
  """
  first = {
    name: _train(name, _SEEDS[:1], path=path) for name, path in quadrants.FIXED_PATHS.items()
  }
  best = min(first, key=lambda name: first[name].mean())
  return np.concatenate([first[best], _train(best, _SEEDS[1:], path=quadrants.FIXED_PATHS[best])])


def _wins(adaptive: np.ndarray, other: np.ndarray, name: str) -> bool:
  """Returns whether the adaptive errors are a fifth below the others, and below them with a paired
  95 % interval.

  Args:
    adaptive: [seeds, specimens], 10 * MSE.
    other: of the same specimens.
    name: of the other path, to print.
  """
  difference = adaptive - other
  _, low, high, *_ = intervals.interval_of_mean(difference)
  print(
    f"adaptive {adaptive.mean():.3f}, {name} {other.mean():.3f}, ratio "
    f"{adaptive.mean() / other.mean():.2f}, paired difference {difference.mean():.3f} [{low:.3f}, "
    f"{high:.3f}]; by seed {adaptive.mean(1).round(3)} against {other.mean(1).round(3)}"
  )
  return adaptive.mean() <= _MARGIN * other.mean() and high < 0.0


@pytest.mark.slow
def test_actor_beats_blind_paths_and_only_if_it_learns():
  adaptive = _train("adaptive")
  fixed = _best_fixed_path()
  assert _wins(adaptive, fixed, "best fixed path")
  walks = _train("random walk", path_name="random_walk")
  assert _wins(adaptive, walks, "random walk")
  frozen = _train("actor's learning rate 0", _SEEDS[:1], actor_rate=0.0)
  assert not (
    _wins(frozen, walks[:1], "random walk (frozen actor)")
    and _wins(frozen, fixed[:1], "best fixed path (frozen actor)")
  )
