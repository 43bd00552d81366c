"""Trains on one device and on two, and writes by how much the results differ.

  python -m tests.replicated scanner '{}' fields '{"replayed": 4}'

A process of its own, as devices cannot change once TensorFlow has computed. Each pair of arguments
is a kind of learner (scanner, fields or correction; streamed: a scanner whose two replicas learn
from specimens that come with draws) and what its tiny experiment changes. Written is a line of JSON
each: of every variable that training changed, the greatest difference over the greatest change;
variables whose copies differ; those that another number of devices does not restore; and those
that differ where replicas resume.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.training import checkpoint, distribution
from tests import tiny

SETTINGS = config.RunSettings(threads=2, distribute="mirrored", replicas=2)


def _streamed(**changes) -> learner_lib.Learner:
  """Returns a learner of specimens that come with draws."""
  experiment = tiny.experiment(**changes)
  return learner_lib.Learner(experiment, tiny.images(), agent.make_networks(experiment), "none")


# What makes the learner of one device, and that of two.
_LEARNERS = {
  "scanner": (tiny.learner, tiny.learner),
  "streamed": (tiny.learner, _streamed),
  "fields": (tiny.field_learner, tiny.field_learner),
  "correction": (tiny.cycle_learner, tiny.cycle_learner),
}
_ITERATIONS = 3
_ROUNDING = 1e-7  # greatest change of what has no gradient


def compare(kind: str, changes: dict, folder: pathlib.Path) -> dict:
  """Returns what was found of one kind of learner."""
  make_alone, make_replicated = _LEARNERS[kind]
  alone = make_alone(**changes)
  with distribution.scope(SETTINGS):
    replicated = make_replicated(**changes)
  before = _saved(alone, folder / "before")
  for iteration in range(_ITERATIONS):
    if iteration == _ITERATIONS - 1:
      _saved(replicated, folder / "resumed")
    _step(alone, iteration), _step(replicated, iteration)
  alone.settle(), replicated.settle()
  expected, values = _saved(alone, folder / "alone"), _saved(replicated, folder / "replicated")
  apart = [
    variable.name
    for variable in replicated.variables
    if any(np.any(copy.numpy() != variable.values[0].numpy()) for copy in variable.values)
  ]
  resumed = _resumed(make_replicated, changes, folder) if kind == "streamed" else values
  return {
    "differences": _differences(before, expected, values),
    "apart": apart,
    "resumed": [name for name in values if not np.array_equal(values[name], resumed[name])],
    "lost": [
      *_lost(folder / "replicated", values, alone, folder / "lost alone"),
      *_lost(folder / "alone", expected, replicated, folder / "lost replicated"),
    ],
  }


def _step(learner, iteration):
  """Trains on the draw of an iteration, which brings its specimens where they are streamed."""
  draw = tiny.draw(iteration, learner.num_specimens, learner.experiment.optimisation.batch_size)
  if learner.streamed is not None:
    drawn = draw._replace(index=draw.index.numpy())
    draw = draw._replace(images=tf.constant(learner.streamed.read(iteration, drawn)))
  learner.step(draw)


def _resumed(make, changes, folder):
  """Returns what new replicas hold that resume before the last iteration."""
  with distribution.scope(SETTINGS):
    learner = make(**changes)
  checkpoint.Checkpoints(folder / "resumed", learner).restore()
  _step(learner, _ITERATIONS - 1)
  learner.settle()
  return _saved(learner, folder / "resumed to the end")


def _differences(before, expected, values):
  """Returns how far values are from those expected, where these changed by more than rounding."""
  found = {}
  for name, new in expected.items():
    change = np.abs(new - before[name]).max(initial=0.0)
    if change > _ROUNDING:
      found[name] = float(np.abs(values[name] - new).max() / change)
  return found


def _lost(place, values, learner, elsewhere):
  """Returns the names of values in a checkpoint that a learner does not restore."""
  for variable in learner.variables:
    variable.assign(tf.zeros_like(variable.read_value()))
  checkpoint.Checkpoints(place, learner).restore()
  restored = _saved(learner, elsewhere)
  return [name for name, value in values.items() if not np.array_equal(value, restored[name])]


def _saved(learner, place):
  """Saves a learner; returns what its checkpoint holds by name, float64."""
  folder = checkpoint.Checkpoints(place, learner).save(1)
  reader = tf.train.load_checkpoint(str(folder / "state"))
  names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("_")]
  return {name: reader.get_tensor(name).astype(np.float64) for name in names}


def main(arguments: list[str]) -> None:
  """Writes what is found of each pair of arguments."""
  distribution.set_up_tensorflow(SETTINGS)
  tf.config.run_functions_eagerly(True)  # tracing takes longer
  for kind, changes in zip(arguments[::2], arguments[1::2], strict=True):
    with tempfile.TemporaryDirectory() as folder:
      found = compare(kind, json.loads(changes), pathlib.Path(folder))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
  main(sys.argv[1:])
