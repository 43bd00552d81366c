"""A cyclic GAN finds how a microscope's coils lag, from scans and rasters of specimens that have
nothing in common.
"""

import types

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import microscope_config, specimens
from adaptive_stem_tf.correction import cycle_learner
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.learning import targets
from adaptive_stem_tf.scan import paths
from adaptive_stem_tf.types import Draw
from tests import tiny

pytestmark = pytest.mark.slow

SIZE, LINES, PROBES, COUNT, BATCH = 32, 8, 16, 64, 8
CHANGES = {
  "image_size": SIZE,
  "segments": LINES,
  "probes": PROBES,
  "batch_size": BATCH,
  "channels": 8,
  "history": 16,
  "distorter_channels": 8,
  "discriminator_channels": 8,
  "filter_sigma": 0.0,
}


def blobs(count):
  """Returns smooth specimens [count, S, S, 1] in [-1, 1]."""
  noise = np.random.default_rng(0).standard_normal([count, SIZE, SIZE, 1]).astype(np.float32)
  made = ndimage.gaussian_filter(noise, (0, 4, 4, 0))
  specimens.normalise(made)
  return made


def lines():
  """Returns lines to and fro [P, 2] px, every fourth row, every second column."""
  columns = 1.0 + 2 * np.arange(PROBES)
  there_and_back = [columns, columns[::-1]]
  return np.concatenate(
    [
      np.stack([np.full(PROBES, 2.0 + 4 * line), there_and_back[line % 2]], 1)
      for line in range(LINES)
    ]
  ).astype(np.float32)


def scans(system):
  scanned, rasters = correction_training.halves(blobs(2 * COUNT))
  path = paths.Fixed(
    lines(),
    tiny.experiment(
      **{name: CHANGES[name] for name in ("image_size", "segments", "probes")}, path="raster"
    ).scan,
  )
  found = correction_training.scan_crops(
    types.SimpleNamespace(path=path, observed=tf.identity), scanned, system, 10.0
  )
  return cycle_learner.UnpairedScans(*map(tf.constant, (*found, scanned, rasters)))


def train(learner):
  for step in range(learner.experiment.optimisation.iterations):
    index = (tf.range(BATCH) + BATCH * step) % COUNT
    metrics = learner.step(Draw(index, (index + step) % specimens.TRANSFORMS))
  return metrics


def error(corrector, learner):
  """Returns 10 * MSE over all that was scanned."""
  batch = learner.batch(Draw(tf.range(COUNT), tf.zeros([COUNT], tf.int32)))
  return float(
    10 * tf.reduce_mean(tf.square(corrector(batch.partial, is_training=False) - batch.truth))
  )


def test_a_lag_is_found_and_corrected():
  perfect = tiny.cycle_learner(
    "none",
    scans(microscope_config.ScanSystem()),
    paired=True,
    iterations=300,
    corrector_rate=3e-3,
    **CHANGES,
  )
  train(perfect)
  lagging = scans(microscope_config.ScanSystem(lag_us=10.0))
  learner = tiny.cycle_learner(
    "none",
    lagging,
    totals="back",
    iterations=1600,
    cycle_weight=2.0,
    raster_adversarial_weight=0.0,
    corrector_rate=1e-3,
    distorter_rate=2e-3,
    discriminator_rate=1e-3,
    **CHANGES,
  )
  targets.copy(perfect.corrector, learner.corrector)
  undistorted, uncorrected = error(perfect.corrector, perfect), error(perfect.corrector, learner)
  start = float(learner._missed(learner.batch(tiny.draw(count=COUNT))))
  end = float(train(learner).displacement_error)
  corrected = error(learner.corrector, learner)
  print(
    f"misses by {start:.2f} px, then {end:.2f}; 10 MSE {undistorted:.3f} undistorted, "
    f"{uncorrected:.3f} uncorrected, {corrected:.3f} corrected"
  )
  assert start > 1 and end < 0.75 * start
  assert undistorted < uncorrected and uncorrected - corrected > 0.5 * (uncorrected - undistorted)
