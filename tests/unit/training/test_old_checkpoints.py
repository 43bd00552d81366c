"""Checkpoints of earlier runs still load: variables keep the names under which they are saved.

checkpoint_keys.txt holds the names in the checkpoints of these learners, a line each: which
learners have it, and the name.
"""

import pathlib

import pytest
import tensorflow as tf

from tests import tiny

RECORDED = pathlib.Path(__file__).with_name("checkpoint_keys.txt")
FULL = {"target_actor": True, "target_generator": True, "clip": "running_norm"}
LEARNERS = {
  "plain": lambda: tiny.learner(),
  "full": lambda: tiny.learner(**FULL, prioritised=True),
  "truncated": lambda: tiny.learner(truncate=True, steering="waypoints"),
  "dnc": lambda: tiny.learner(controller="dnc", optimiser="rmsprop", generator_optimiser="sgd"),
  "infill": lambda: tiny.learner(completion="nearest", capacity=0),
  "cycle": lambda: tiny.cycle_learner(),
  "paired": lambda: tiny.cycle_learner(paired=True),
  "field": lambda: tiny.field_learner(),
}


def keys(learner, folder):
  """Returns the names of all that a checkpoint of a learner holds."""
  written = tf.train.Checkpoint(learner=learner).write(str(folder / "state"))
  suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
  names = [name for name, _ in tf.train.list_variables(written)]
  return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


@pytest.mark.parametrize("name", LEARNERS)
def test_variables_are_saved_where_they_always_were(name, tmp_path):
  recorded = RECORDED.read_text().splitlines()
  held = sorted(keys(LEARNERS[name](), tmp_path))
  assert held == [line.split()[1] for line in recorded if name in line.split()[0].split(",")]
