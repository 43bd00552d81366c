"""Rebuilds the weights of the recordings and names our variables as they do."""

import json
import pathlib
import re

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib

_STATISTICS_COUNT = 10**6  # at which debiased and plain moving averages agree (METHOD decision 15)


def make_learner(controller: str, specimens: np.ndarray) -> learner_lib.Learner:
  """Returns a paper-size learner on `specimens` [B, 96, 96, 1] whose targets are not filtered, as
  recorded.
  """
  experiment = config.Experiment().replace(
    controller=controller,
    capacity=len(specimens),
    batch_size=len(specimens),
    filter_sigma=0.0,
    augment=False,
  )
  return learner_lib.Learner(experiment, tf.constant(specimens), agent.make_networks(experiment))


def load_weights(
  learner: learner_lib.Learner, listing: pathlib.Path, seed: int
) -> dict[str, tf.Variable]:
  """Assigns the recorded weights and returns every variable by its published name.

  Args:
    learner: to load into.
    listing: a `*_variables.json`.
    seed: SEED of the recordings' README.

  Raises:
    ValueError: if a listed variable is unknown here or has another shape.
  """
  named = published_variables(learner)
  for entry in json.loads(listing.read_text()):
    name, shape = entry["published_name"], entry["shape"]
    if name not in named:
      raise ValueError(f"{name} of {listing} has no counterpart here.")
    if named[name].shape != shape:
      raise ValueError(f"{name} has shape {shape} in {listing} and {named[name].shape} here.")
    named[name].assign(_value(entry, seed))
  _settle_statistics(learner)
  return named


def published_variables(learner: learner_lib.Learner) -> dict[str, tf.Variable]:
  """Returns our variables by their published names."""
  named = {}
  for part, network in (
    ("actor", learner.actor),
    ("critic", learner.critic),
    ("target_critic", learner.target_critic),
  ):
    named |= {f"{part}/components/{name}:0": v for name, v in _recurrent(network).items()}
  return named | {f"generator/{name}:0": v for name, v in _convolutional(learner.generator).items()}


def _recurrent(network):
  named = {"linear/w": network.linear.w}
  core = network.core
  for number, layer in enumerate(getattr(core, "controller", core).layers):
    prefix = "lstm" + (f"_{number}" if number else "")
    named |= {f"{prefix}/w_gates": layer.w_gates, f"{prefix}/b_gates": layer.b_gates}
  for part in getattr(core, "access", core).submodules if hasattr(core, "access") else ():
    if hasattr(part, "w"):
      named |= {f"memory_access/{part.name}/w": part.w, f"memory_access/{part.name}/b": part.b}
  return named


def _convolutional(generator):
  """Numbers convolutions, transposed convolutions and batch norms in the order of the layers."""
  named, counts = {}, {}

  def add(kind, **variables):
    number = counts.setdefault(kind, 0)
    counts[kind] += 1
    prefix = kind + (f"_{number}" if number else "")
    named.update({f"{prefix}/{key}": variable for key, variable in variables.items()})

  def add_convolution(conv):
    kind = "Conv2d_transpose" if type(conv).__name__ == "TransposedConvolution" else "Conv"
    add(kind, weights=conv.w, **({"biases": conv.b} if hasattr(conv, "b") else {}))

  def add_block(block):
    add_convolution(block.convolution)
    norm = block.batch_norm
    add(
      "BatchNorm",
      beta=norm.beta,
      moving_mean=norm.mean.average,
      moving_variance=norm.variance.average,
    )

  for layer in generator.layers:
    for block in [*getattr(layer, "blocks", []), layer]:
      add_block(block)
  add_convolution(generator.output)
  return named


def _value(entry, seed):
  random = np.random.RandomState(1000 * seed + entry["index"])
  match = re.fullmatch(r"([\d.e+-]+)\*standard_normal", entry["values"])
  if match:
    return np.float32(float(match[1]) * random.standard_normal(entry["shape"]))
  if entry["values"] == "0.5+rand":
    return np.float32(0.5 + random.rand(*entry["shape"]))
  raise ValueError(f"values={entry['values']!r} of {entry['published_name']} is an unknown recipe.")


def _settle_statistics(learner):
  """Makes every moving average look as if it had been moved for ever: hidden = average, a large
  counter.
  """
  for layer in learner.generator.submodules:
    if hasattr(layer, "average"):
      layer._hidden.assign(layer.average)
      layer._counter.assign(_STATISTICS_COUNT)
