"""The networks of a scanner of whole fields, made together and with their variables in place."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.fields.state import FEATURES, Cells
from adaptive_stem_tf.learning import targets
from adaptive_stem_tf.networks import field_actor, field_critic, field_generator, initialisers

# Sides of the cells and images that networks are first called with, to make their variables.
_CELLS = 8
_PIXELS = 64


class FieldNetworks(NamedTuple):
  """The networks that complete, scan and learn, and the averages to evaluate and export."""

  generator: field_generator.FieldGenerator
  actor: field_actor.FieldActor
  critic: field_critic.FieldCritic
  average_generator: field_generator.FieldGenerator
  average_actor: field_actor.FieldActor


def make_networks(experiment: field_config.FieldExperiment) -> FieldNetworks:
  """Makes the networks of an experiment from its seed; averages begin as copies."""
  weights = initialisers.Weights(experiment.seed)
  networks = FieldNetworks(
    make_generator(experiment, weights),
    make_actor(experiment, weights),
    _make_critic(experiment, weights),
    make_generator(experiment, weights, "average_generator"),
    make_actor(experiment, weights, "average_actor"),
  )
  targets.copy(networks.generator, networks.average_generator)
  targets.copy(networks.actor, networks.average_actor)
  return networks


def start(
  networks: FieldNetworks, generator: field_generator.FieldGenerator, actor: field_actor.FieldActor
) -> None:
  """Starts training from a trained generator and actor; the critic stays untrained."""
  for network in (networks.generator, networks.average_generator):
    targets.copy(generator, network)
  for network in (networks.actor, networks.average_actor):
    targets.copy(actor, network)


def make_generator(
  experiment: field_config.FieldExperiment, weights: initialisers.Weights, name: str = "generator"
) -> field_generator.FieldGenerator:
  """Makes a generator, with its variables."""
  generator = field_generator.FieldGenerator(
    experiment.networks.generator_channels, experiment.data.target_sigma, name, weights
  )
  image = tf.zeros([1, _PIXELS, _PIXELS, 1])
  generator(image, image)
  return generator


def make_actor(
  experiment: field_config.FieldExperiment, weights: initialisers.Weights, name: str = "actor"
) -> field_actor.FieldActor:
  """Makes an actor, with its variables."""
  return _with_variables(field_actor.FieldActor(experiment.networks.policy_channels, name, weights))


def _make_critic(experiment, weights):
  channels = experiment.networks.policy_channels
  return _with_variables(field_critic.FieldCritic(channels, "critic", weights))


def _with_variables(network):
  """Calls a network once, so that it makes its variables, and returns it."""
  level = tf.ones([1, _CELLS, _CELLS, 1])
  cells = Cells(tf.zeros([1, _CELLS, _CELLS, FEATURES]), level, level, level)
  network(cells, network.initial_state(cells.features))
  return network
