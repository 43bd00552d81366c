"""The smallest experiment that still has every part, for tests and subprocesses."""

import functools
import pathlib
import types

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, field_config, input_pipeline, microscope_config, specimens
from adaptive_stem_tf.correction import cycle_learner as cycle_learner_lib
from adaptive_stem_tf.correction import training as correction_lib
from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.learning import agent, field_agent
from adaptive_stem_tf.learning import field_learner as field_learner_lib
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.scan import baselines, paths
from adaptive_stem_tf.training import start
from adaptive_stem_tf.types import Draw

THREADS = 2
SIZE, SEGMENTS, PROBES, BATCH, UNITS = 16, 4, 4, 4, 8
FIELDS = {
  "image_size": SIZE,
  "segments": SEGMENTS,
  "probes": PROBES,
  "batch_size": BATCH,
  "capacity": 12,
  "channels": 2,
  "blocks": 1,
  "units": UNITS,
  "memory_slots": 5,
  "word_size": 3,
  "read_heads": 2,
  "iterations": 6,
  "batch_norm_decay": 0.9,
}
# For what does not depend on how deep networks are or how long scans.
SMALLER = {"blocks": 0, "segments": 3, "depth": 1}
CYCLE_FIELDS = {
  "distorter_channels": 2,
  "distorter_blocks": 0,
  "discriminator_channels": 2,
  "history": 8,
}
FIELD_FIELDS = {
  "crop": 64,
  "generator_crop": 32,
  "rounds": 2,
  "generator_channels": 2,
  "policy_channels": 4,
  "batch_size": 2,
  "capacity": 6,
  "replayed": 3,
  "iterations": 10,
  "actor_from": 0.0,
  "generator_first": 0.0,
}
LAGGING = microscope_config.ScanSystem(lag_us=10.0)
CONTROLLERS = ("lstm", "gru", "dnc")


def experiment(**changes) -> config.Experiment:
  """Returns the tiny experiment with some fields changed."""
  return config.Experiment().replace(**{**FIELDS, **changes})


def images(count: int = 8, size: int = SIZE, seed: int = 0) -> np.ndarray:
  """Returns smooth random specimens [count, size, size, 1] in [-1, 1]."""
  noise = np.random.default_rng(seed).standard_normal([count, size, size, 1]).astype(np.float32)
  smooth = specimens.low_pass(tf.constant(noise), 2.5).numpy()
  specimens.normalise(smooth)
  return smooth


def splits(count: int = 8) -> input_pipeline.Splits:
  """Returns tiny training, validation and test specimens."""
  every = images(count + 4)
  return input_pipeline.Splits(
    every[:count], every[count:count], every[count:], specimens.Repairs(0, 0)
  )


def learner(
  jit: str = "none", positions: np.ndarray | None = None, count: int = 8, **changes
) -> learner_lib.Learner:
  """Returns a learner of the tiny experiment with some fields changed."""
  configured = experiment(**changes)
  networks = agent.make_networks(configured)
  return learner_lib.Learner(configured, tf.constant(images(count)), networks, jit, positions)


def draw(iteration: int = 0, count: int = 8, batch: int = BATCH) -> Draw:
  """Returns which specimens a batch shows; another one each iteration."""
  index = (tf.range(batch) + batch * iteration) % count
  return Draw(index, index % specimens.TRANSFORMS)


def correction(**changes) -> Correction:
  """Returns a tiny distortion correction with some fields changed."""
  shared = {name: value for name, value in FIELDS.items() if name in Correction().flat()}
  return Correction().replace(**{**shared, **CYCLE_FIELDS, **changes})


@functools.cache
def unpaired(
  system: microscope_config.ScanSystem = LAGGING, count: int = 8
) -> cycle_learner_lib.UnpairedScans:
  """Returns spiral scans of `count` tiny specimens by a microscope, and rasters of as many
  others.
  """
  scan, (scanned, rasters) = experiment().scan, correction_lib.halves(images(2 * count))
  spiral = types.SimpleNamespace(
    path=paths.Fixed(baselines.spiral(scan, 4.0), scan), observed=tf.identity
  )
  scans = correction_lib.scan_crops(spiral, scanned, system, 10.0)
  return cycle_learner_lib.UnpairedScans(*map(tf.constant, (*scans, scanned, rasters)))


def cycle_learner(
  jit: str = "none", scans: cycle_learner_lib.UnpairedScans | None = None, **changes
) -> cycle_learner_lib.CycleLearner:
  """Returns a learner of a tiny distortion correction with some fields changed."""
  return cycle_learner_lib.CycleLearner(correction(**changes), scans or unpaired(), jit)


def field_experiment(**changes) -> field_config.FieldExperiment:
  """Returns a tiny experiment of whole fields with some fields changed."""
  return field_config.FieldExperiment().replace(**{**FIELD_FIELDS, **changes})


def field_learner(jit: str = "auto", **changes) -> field_learner_lib.FieldLearner:
  """Returns a learner of whole fields, of 96 x 96 px, with some fields changed."""
  random = np.random.default_rng(0)
  smooth = np.kron(random.uniform(-1, 1, [4, 12, 12, 1]), np.ones([1, 8, 8, 1]))
  images_ = (0.8 * smooth + 0.1 * random.normal(size=smooth.shape)).astype(np.float16)
  configured = field_experiment(**changes)
  networks = field_agent.make_networks(configured)
  return field_learner_lib.FieldLearner(configured, list(images_), networks, jit)


def completer(workdir: pathlib.Path, **changes) -> pathlib.Path:
  """Makes a run, not trained, whose spiral scans can be corrected; returns its workdir."""
  spiral = experiment(**{"path": "spiral", "pitch": 4.0, **changes})
  running = start.scanner(spiral, config.RunSettings(jit="none", progress=False), splits(), workdir)
  running._checkpoints.save(1)
  running._writer.close()
  return workdir


def flags(**changes) -> list[str]:
  """Returns the tiny experiment as command-line arguments."""
  return [f"--{name}={value}" for name, value in {**FIELDS, **changes}.items()] + [
    f"--threads={THREADS}",
    "--noprogress",
    "--jit=none",
  ]
