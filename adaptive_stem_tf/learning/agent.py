"""The networks of a scanner, made together and with their variables in place."""

from typing import NamedTuple

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import targets
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.networks import critic as critic_lib
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.scan import steering


class Networks(NamedTuple):
  """The networks that scan, complete and learn. Without a target, a network is its own target."""

  actor: actor_lib.Actor
  critic: critic_lib.Critic
  generator: generator_lib.Generator
  target_actor: actor_lib.Actor
  target_critic: critic_lib.Critic
  target_generator: generator_lib.Generator

  def copies(self) -> list[tuple[tf.Module, tf.Module]]:
    """Returns the (network, soft copy) pairs, without targets that are the network itself."""
    pairs = (
      (self.critic, self.target_critic),
      (self.actor, self.target_actor),
      (self.generator, self.target_generator),
    )
    return [(network, target) for network, target in pairs if target is not network]


def make_networks(experiment: config.Experiment) -> Networks:
  """Makes the networks of an experiment from its seed; targets begin as copies."""
  optimisation = experiment.optimisation
  weights = initialisers.Weights(experiment.seed)
  actor, critic = make_actor(experiment, weights), _make_critic(experiment, weights, "critic")
  target_critic = _make_critic(experiment, weights, "target_critic")
  generator = make_generator(experiment, weights)
  networks = Networks(
    actor,
    critic,
    generator,
    make_actor(experiment, weights, "target_actor") if optimisation.target_actor else actor,
    target_critic,
    make_generator(experiment, weights, "target_generator")
    if optimisation.target_generator
    else generator,
  )
  for network, target in networks.copies():
    targets.copy(network, target)
  return networks


def make_actor(
  experiment: config.Experiment, weights: initialisers.Weights, name: str = "actor"
) -> actor_lib.Actor:
  """Makes an actor, with its variables."""
  scan, actor = experiment.scan, actor_lib.Actor(experiment, name, weights)
  # Modules make their variables when they are called first.
  features = actor.features(
    tf.zeros([1, scan.decisions, scan.probes]), tf.zeros([1, scan.decisions, 2])
  )
  actor.action(features)
  actor.predicted_error(features)
  return actor


def make_generator(
  experiment: config.Experiment, weights: initialisers.Weights, name: str = "generator"
) -> generator_lib.Generator:
  """Makes a generator, with its variables."""
  generator = generator_lib.make_generator(experiment.generator, name, weights)
  size = experiment.scan.image_size
  generator(tf.zeros([1, size, size, 2]), is_training=False)
  return generator


def _make_critic(experiment, weights, name):
  scan, critic = experiment.scan, critic_lib.Critic(experiment, name, weights)
  actions = tf.zeros([1, scan.decisions, steering.make_steering(scan).width])
  critic(tf.zeros([1, scan.decisions, scan.probes]), actions, actions)
  return critic
