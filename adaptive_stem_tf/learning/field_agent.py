"""The networks of a scanner of whole fields, made together and with their variables in place."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import field_config
from adaptive_stem_tf.fields.state import FEATURES, Cells
from adaptive_stem_tf.learning import targets
from adaptive_stem_tf.networks import field_actor, field_critic, field_generator, initialisers

_CELLS = 8  # along the sides of what variables are made with
_PIXELS = 64


class FieldNetworks(NamedTuple):
  """What completes, scans and learns, and the averages that are evaluated and exported."""

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
  """Has training start from a generator and an actor that have learnt; the critic stays new."""
  for made in (networks.generator, networks.average_generator):
    targets.copy(generator, made)
  for made in (networks.actor, networks.average_actor):
    targets.copy(actor, made)


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
  return _called(field_actor.FieldActor(experiment.networks.policy_channels, name, weights))


def _make_critic(experiment, weights):
  channels = experiment.networks.policy_channels
  return _called(field_critic.FieldCritic(channels, "critic", weights))


def _called(network):
  level = tf.ones([1, _CELLS, _CELLS, 1])
  cells = Cells(tf.zeros([1, _CELLS, _CELLS, FEATURES]), level, level, level)
  network(cells, network.initial_state(cells.features))
  return network
