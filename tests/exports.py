"""Models that tests export once: to trace and save one takes longer than most tests.

Processes that run tests side by side share the folders, so no test changes what is in them.
"""

import fcntl
import functools
import pathlib

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.evaluation import model as model_lib
from adaptive_stem_tf.serving import export, field_export, litert
from adaptive_stem_tf.training import field_model
from tests import tiny

ITERATION = 5  # of training, on record
PLAIN = "plain"  # the only one without a fast path
KINDS = {
  PLAIN: {},
  "lstm": {},
  "dnc": {"controller": "dnc"},
  "gru": {"controller": "gru"},
  "projected": {"projection": 4},
  "nearest": {"completion": "nearest"},
  "stopping": {"decision_delay": 1, "truncate": True},
}
FIELDS = "fields"
FIELD_SIZES = {"generator_channels": 2, "policy_channels": 3, "rounds": 2}


@functools.cache
def trained(kind: str) -> model_lib.Model:
  """Returns the model of a kind; its weights are functions of the seed."""
  return model_lib.of_learner(tiny.learner(**KINDS[kind]))


@functools.cache
def trained_fields() -> field_model.TrainedModel:
  """Returns a scanner of whole fields with random weights."""
  model = field_model.TrainedModel(field_config.FieldExperiment().replace(**FIELD_SIZES))
  random = np.random.default_rng(0)
  for weight in model.trainable_variables:
    weight.assign_add(random.normal(0, 0.1, weight.shape))
  return model


class Exports:
  """Folders NAME/VERSION of exported models by kind, written when one is first wanted."""

  def __init__(self, root: pathlib.Path):
    root.mkdir(exist_ok=True)
    self._root = root

  def __call__(self, kind: str) -> pathlib.Path:
    """Returns the folder of a kind, once some process has written it as a whole."""
    folder = self._root / kind / "1"
    with open(self._root / f"{kind}.lock", "w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not folder.exists():
        eagerly = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(False)
        _write(kind, folder)
        tf.config.run_functions_eagerly(eagerly)
    return folder


def _write(kind, folder):
  """Exports a model."""
  if kind == FIELDS:
    field_export.write(trained_fields(), folder, ITERATION)
    return
  model, precisions = trained(kind), litert.PRECISIONS if kind == "lstm" else ()
  fast = lambda extra: litert.convert(model, extra / litert.FOLDER, precisions)
  export.export(model, folder, ITERATION, None if kind == PLAIN else fast)
