"""Toy specimens with a known best path: all structure in one quadrant, told by the first segment.

Each specimen is flat but for a random texture in one of its quadrants, which no two
specimens share. The first segment, which every scan has in common, crosses a cue of
four marks on the diagonal; the bright one tells the quadrant. A scan that reads it can
spend all its dose on the texture; one that cannot has to share it among four quadrants.
"""

import numpy as np
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import config, input_pipeline
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.scan import baselines

SIZE = 32  # px
_CELLS = 3  # of a texture, per axis
_TRAIN, _TEST = 2000, 256

EXPERIMENT = config.Experiment().replace(
  image_size=SIZE,
  segments=6,
  probes=8,
  channels=8,
  blocks=1,
  units=64,
  iterations=4000,
  capacity=10_000,
  target_decay=0.95,
  batch_norm_decay=0.99,
  filter_sigma=0.0,
  augment=False,
  noise_sigma=0.4,
)

# Fixed paths worth trying: two spirals, and a tour of the quadrants.
FIXED_PATHS = {
  "spiral, pitch 8 px": baselines.spiral_polygon(EXPERIMENT.scan, 8.0),
  "spiral, pitch 10 px": baselines.spiral_polygon(EXPERIMENT.scan, 10.0),
  "tour": np.radians([45.0, -90.0, 180.0, 180.0, 90.0, 90.0]).astype(np.float32),
}


def make(count: int, seed: int) -> np.ndarray:
  """Returns specimens [count, SIZE, SIZE, 1] in [-1, 1]."""
  rng = np.random.default_rng(seed)
  half = SIZE // 2
  images = np.zeros([count, SIZE, SIZE, 1], np.float32)
  for image, quadrant in zip(images, rng.integers(4, size=count), strict=True):
    row, column = half * np.array(divmod(quadrant, 2))
    cells = rng.choice([-1.0, 1.0], size=(_CELLS, _CELLS))
    texture = ndimage.zoom(cells, half / _CELLS, order=1, grid_mode=True, mode="nearest")
    image[row : row + half, column : column + half, 0] = texture
    marks = np.arange(8)
    image[half + marks, half + marks, 0] = np.where(marks // 2 == quadrant, 1.0, -1.0)
  return images


def train(
  seed: int, path: np.ndarray | None = None, path_name: str = "adaptive", **changes
) -> np.ndarray:
  """Trains on toy specimens; returns the error of each test specimen, 10 * MSE [_TEST].

  Args:
    seed: of weights, noise and training specimens; the test specimens are always the same.
    path: segment angles [T] rad of a fixed path; None for a path that moves.
    path_name: which path, if it moves: adaptive or random_walk.
    **changes: of the experiment's other fields.
  """
  experiment = EXPERIMENT.replace(seed=seed, path=path_name if path is None else "given", **changes)
  positions = None if path is None else baselines.polygon_positions(path, experiment.scan)
  learner = learner_lib.Learner(
    experiment,
    tf.constant(make(_TRAIN, 100 + seed)),
    agent.make_networks(experiment),
    path=positions,
  )
  draws = input_pipeline.draws(
    _TRAIN, experiment.optimisation.batch_size, seed, experiment.data.augment
  )
  for _ in range(experiment.optimisation.iterations):
    learner.step(next(draws))
  test = make(_TEST, 99)
  completions = model.of_learner(learner).scan_all(test).completions
  return 10 * np.mean(np.square(completions - test), (1, 2, 3))
