"""The actor must learn to adapt: to read a cue and go where the structure is.

  python -m pytest -m slow -s tests/learning/test_actor_learns.py

prints the errors. Every path has a generator of its own, trained as long.
"""

import numpy as np
import pytest

from adaptive_stem_tf.experiment import statistics
from tests.learning import quadrants

_SEEDS = (0, 1, 2)
_MARGIN = 0.8  # of the adaptive error over that of each alternative


def _best_fixed_path() -> np.ndarray:
  """Returns the angles of the fixed path that does best, judged with the first seed."""
  errors = {name: quadrants.train(_SEEDS[0], path).mean() for name, path in quadrants.FIXED_PATHS.items()}
  print(f"\nfixed paths, seed {_SEEDS[0]}: " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()))
  return quadrants.FIXED_PATHS[min(errors, key=errors.__getitem__)]


def _wins(adaptive: np.ndarray, other: np.ndarray, name: str) -> bool:
  """Tells whether the adaptive errors are a fifth below the others, and below them with a paired 95 % interval.

  Args:
    adaptive: [seeds, specimens], 10 * MSE.
    other: of the same specimens.
    name: of the other path, to print.
  """
  difference = (adaptive - other).mean(0)
  low, high = np.quantile(statistics.bootstrap_means(difference), [0.025, 0.975])
  print(f"adaptive {adaptive.mean():.3f}, {name} {other.mean():.3f}, ratio {adaptive.mean() / other.mean():.2f}, "
        f"paired difference {difference.mean():.3f} [{low:.3f}, {high:.3f}]; "
        f"by seed {adaptive.mean(1).round(3)} against {other.mean(1).round(3)}")
  return adaptive.mean() <= _MARGIN * other.mean() and high < 0.0


@pytest.mark.slow
def test_actor_beats_blind_paths_and_only_if_it_learns():
  fixed = _best_fixed_path()
  walks = np.stack([quadrants.train(seed, path_name="random_walk") for seed in _SEEDS])
  along = np.stack([quadrants.train(seed, fixed) for seed in _SEEDS])
  adaptive = np.stack([quadrants.train(seed) for seed in _SEEDS])
  assert _wins(adaptive, walks, "random walk")
  assert _wins(adaptive, along, "best fixed path")
  frozen = np.stack([quadrants.train(seed, actor_rate=0.0) for seed in _SEEDS])
  assert not (_wins(frozen, walks, "random walk (frozen actor)") and _wins(frozen, along, "fixed (frozen actor)"))
