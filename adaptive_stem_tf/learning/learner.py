"""One training iteration: scan, replay, and update generator, critic and actor."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config, intensities, randomness, specimens
from adaptive_stem_tf.learning import (
  alrc,
  losses,
  noise,
  optimisers,
  replay,
  schedules,
  targets,
  truncation,
)
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.networks import critic as critic_lib
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.scan import partial_scan, path_names, steering
from adaptive_stem_tf.types import Draw, LearnerMetrics, ReplaySample, Trajectory


class Completion(NamedTuple):
  """What a generator's forward and backward pass gives."""

  losses: tf.Tensor  # [B], 10 * MSE
  reinforcement: tf.Tensor  # [B], the loss that actor and critic learn to lower
  gradients: list[tf.Tensor]


class ActionValues(NamedTuple):
  """What the forward and backward passes of critic and actor give."""

  critic_loss: tf.Tensor
  actor_loss: tf.Tensor
  td_errors: tf.Tensor  # [B]
  critic_gradients: list[tf.Tensor]
  actor_gradients: list[tf.Tensor]


class Learner(snt.Module):
  """Networks, replay, optimisers and moments, and the step that trains them.

  Everything that training changes is a variable below this module: a checkpoint of it
  and the experiment's configuration resume training bitwise.
  """

  def __init__(
    self,
    experiment: config.Experiment,
    images: tf.Tensor,
    jit: str = "auto",
    path: np.ndarray | None = None,
    name: str = "learner",
  ):
    """Makes the learner.

    Args:
      experiment: the configuration.
      images: [N, S, S, 1] float32 training specimens in [-1, 1]; held, not copied.
      jit: what XLA compiles: `auto`, `all` or `none` (config.Run).
      path: probing positions [T * n, 2] px of a fixed path, or [K, T * n, 2] of scans that are
        mixed in; None where the experiment's path needs none.
      name: of the module.
    """
    super().__init__(name=name)
    self.experiment = experiment
    self.images = images
    self.whole = truncation.whole(experiment)
    self.iteration = tf.Variable(0, trainable=False, dtype=tf.int64, name="iteration")
    self.steering = steering.make_steering(experiment.scan)
    self._make_networks()
    self.network_inputs = intensities.make_network_inputs(experiment.data.normalise)
    self.path = path_names.make_path(experiment.scan, self.network_inputs.policy(self.actor), path)
    self.replay = (
      replay.Replay(experiment.replay, experiment.scan, self.path.action_size)
      if experiment.replay.capacity
      else replay.NoReplay()
    )
    self._make_optimisers()
    self._make_moments()
    self._compile(jit)

  def step(self, draw: Draw) -> LearnerMetrics:
    """Trains for one iteration.

    Args:
      draw: which specimens to scan, [B] each.

    Returns:
      The iteration's metrics.
    """
    return self._step(draw.index, draw.transform)

  @property
  def drawn(self) -> int:
    """How many specimens draws are made from."""
    return self.images.shape[0]

  def status(self, row: Mapping[str, float]) -> str:
    """Says in a few words how training goes, from the mean metrics of some iterations."""
    return (
      f"10 MSE {row['generator_loss']:.3f}, critic {row['critic_loss']:.3f}, "
      f"actor {row['actor_loss']:.3f}"
    )

  @property
  def traces(self) -> int:
    """How often the step was traced: 1 after the first call, and ever after."""
    return self._step.experimental_get_tracing_count()

  def _train(self, index: tf.Tensor, transform: tf.Tensor) -> LearnerMetrics:
    """The data flow of an iteration. All gradients use the weights before the step."""
    draw = Draw(index, transform)
    sample = self.exchange(lambda: self.scan(self.specimens(draw)), draw)
    cut = truncation.draw(self.experiment, self._stream(randomness.Purpose.TRUNCATION))
    partial, target = self.generator_pair(sample, cut)
    completion = self.complete(
      partial, target, self.network_inputs.range_of(sample.observations, cut)
    )
    final = self.reinforcement_loss(completion.reinforcement[: self.whole])
    recurrent = (
      self.evaluate_actions(sample, final, cut, completion.losses) if self.path.learns else None
    )
    if recurrent:
      self.replay.update_priorities(sample.rows, recurrent.td_errors)
    norms = self.update(completion, recurrent)
    metrics = self._metrics(sample, partial, completion, final, recurrent, norms)
    self.iteration.assign_add(1)
    return metrics

  # Construction.

  def _make_networks(self):
    e = self.experiment
    tf.random.set_seed(e.seed)  # of weights; nothing else draws from the global generator
    self.actor = actor_lib.Actor(e)
    self.critic, self.target_critic = (
      critic_lib.Critic(e),
      critic_lib.Critic(e, name="target_critic"),
    )
    self.generator = generator_lib.make_generator(e.generator)
    self.target_actor = (
      actor_lib.Actor(e, name="target_actor") if e.optimisation.target_actor else self.actor
    )
    self.target_generator = (
      generator_lib.make_generator(e.generator, name="target_generator")
      if e.optimisation.target_generator
      else self.generator
    )
    self._create_variables()

  def _create_variables(self):
    """Calls every network once, so that variables exist before the step is traced, and copies the
    targets.
    """
    scan = self.experiment.scan
    observations, actions = (
      tf.zeros([1, scan.decisions, width]) for width in (scan.probes, self.steering.width)
    )
    partial = tf.zeros([1, scan.image_size, scan.image_size, 2])
    for actor in (self.actor, self.target_actor):
      features = actor.features(observations, tf.zeros([1, scan.decisions, 2]))
      actor.action(features), actor.predicted_error(features)
    for critic in (self.critic, self.target_critic):
      critic(observations, actions, actions)
    for generator in (self.generator, self.target_generator):
      generator(partial, is_training=False)
    for network, target in self._targets():
      targets.copy(network, target)

  def _targets(self):
    """Returns the (network, soft copy) pairs."""
    pairs = [(self.critic, self.target_critic)]
    pairs += [(self.actor, self.target_actor)] if self.target_actor is not self.actor else []
    return pairs + (
      [(self.generator, self.target_generator)]
      if self.target_generator is not self.generator
      else []
    )

  def _make_optimisers(self):
    o = self.experiment.optimisation
    self.generator_rate = tf.Variable(o.generator_rate, trainable=False, name="generator_rate")
    self.generator_optimiser = optimisers.make_optimiser(o.generator_optimiser, self.generator_rate)
    self.critic_optimiser = optimisers.make_optimiser(o.optimiser, tf.constant(o.critic_rate))
    self.actor_optimiser = optimisers.make_optimiser(o.optimiser, tf.constant(o.actor_rate))
    self.critic_clipper, self.actor_clipper = optimisers.Clipper(o), optimisers.Clipper(o)
    for optimiser, network in (
      (self.generator_optimiser, self.generator),
      (self.critic_optimiser, self.critic),
      (self.actor_optimiser, self.actor),
    ):
      if hasattr(optimiser, "_initialize"):
        optimiser._initialize(network.trainable_variables)

  def _make_moments(self):
    def moments():
      return alrc.Moments(*(tf.Variable(value, trainable=False) for value in alrc.INITIAL_MOMENTS))

    self.loss_moments, self.generator_moments = moments(), moments()
    self.loss_mean = tf.Variable(alrc.INITIAL_MEAN, trainable=False, name="loss_mean")

  def _compile(self, jit):
    """Wraps the step, and in `auto` on a CPU its recurrent parts and updates, for XLA."""
    whole = jit == "all" or (jit == "auto" and bool(tf.config.list_physical_devices("GPU")))
    if jit == "auto" and not whole:
      # oneDNN's convolutions are faster than XLA's on a CPU, so these stay outside.
      compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
      for name in ("scan", "evaluate_actions", "update"):
        setattr(self, name, compiled(getattr(self, name)))
    self._step = tf.function(self._train, jit_compile=whole or None, autograph=False)

  # Data.

  def specimens(self, draw: Draw) -> tf.Tensor:
    """Returns the drawn specimens [B, S, S, 1]."""
    return specimens.transform(tf.gather(self.images, draw.index), draw.transform)

  def _filter(self, images):
    return specimens.low_pass(images, self.experiment.data.filter_sigma)

  def _stream(self, purpose: randomness.Purpose) -> tf.Tensor:
    return randomness.stream(self.experiment.seed, purpose, self.iteration)

  # Scanning and replay.

  def scan(self, images: tf.Tensor) -> Trajectory:
    """Scans a batch of specimens [B, S, S, 1] with exploration."""
    e = self.experiment
    if e.data.filter_observations:
      images = self._filter(images)
    batch = images.shape[0]
    normal = tf.random.stateless_normal(
      [batch, e.scan.segments, self.steering.width], self._stream(randomness.Purpose.EXPLORATION)
    )
    exploration = noise.ornstein_uhlenbeck(
      normal, e.exploration, schedules.exploration_scale(self.iteration, e)
    )
    return self.path.scan(images, exploration, self._stream(randomness.Purpose.WALK))

  def exchange(self, scan: Callable[[], Trajectory], draw: Draw) -> ReplaySample:
    """Adds new scans of drawn specimens to the replay, if it is their turn, and samples as many."""
    e, purposes = self.experiment, randomness.Purpose
    seeds = replay.Seeds(
      *map(self._stream, (purposes.OVERWRITE, purposes.ADDING, purposes.SAMPLING))
    )
    return self.replay.exchange(
      scan,
      draw,
      seeds,
      schedules.adding_probability(self.iteration, e),
      schedules.priority_beta(self.iteration, e),
    )

  # Generator.

  def generator_pair(
    self, sample: ReplaySample, cut: tf.Tensor | None = None
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns partial scans [B, S, S, 2], cut or not, and targets [B, S, S, 1], under one more
    common transform.
    """
    partial = self.path.draw(sample.observations, sample.actions, cut)
    target = self._filter(self.specimens(sample.draw))
    if not self.experiment.data.augment:
      return partial, target
    which = tf.random.stateless_uniform(
      [partial.shape[0]],
      self._stream(randomness.Purpose.AUGMENTATION),
      0,
      specimens.TRANSFORMS,
      tf.int32,
    )
    return specimens.transform(partial, which), specimens.transform(target, which)

  def complete(
    self, partial: tf.Tensor, target: tf.Tensor, ranges: intensities.IntensityRange | None = None
  ) -> Completion:
    """Completes scans, which have a range if one counts, and differentiates the generator's summed
    loss.
    """
    settings = self.experiment.loss
    variables = self.generator.trainable_variables
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(variables)
      completions = self.network_inputs.complete(self.generator, partial, ranges, is_training=True)
      per_example = losses.completion_loss(completions, target, settings.generator_loss)
      if settings.sobel_weight:
        per_example += settings.sobel_weight * losses.SCALE * losses.sobel_loss(completions, target)
      if settings.generator_alrc:
        per_example, moments = alrc.clip(
          per_example, self.generator_moments, settings.alrc_deviations
        )
        _assign(self.generator_moments, moments)
      total = tf.reduce_sum(per_example)
    gradients = tape.gradient(total, variables)
    valued = completions
    if self.target_generator is not self.generator:
      valued = self.network_inputs.complete(
        self.target_generator, partial, ranges, is_training=False
      )
    return Completion(
      losses.completion_loss(completions, target),
      losses.completion_loss(valued, target, settings.rl_loss),
      gradients,
    )

  # Critic and actor.

  def reinforcement_loss(self, per_example: tf.Tensor) -> tf.Tensor:
    """Clips and normalises completion losses [B] into the L_b that the critic learns."""
    settings = self.experiment.loss
    if settings.alrc:
      per_example, moments = alrc.clip(per_example, self.loss_moments, settings.alrc_deviations)
      _assign(self.loss_moments, moments)
    if settings.normalise_loss:
      per_example, mean = alrc.normalise(per_example, self.loss_mean)
      self.loss_mean.assign(mean)
    return tf.stop_gradient(per_example)

  def evaluate_actions(
    self,
    sample: ReplaySample,
    final: tf.Tensor,
    cut: tf.Tensor | None = None,
    errors: tf.Tensor | None = None,
  ) -> ActionValues:
    """Differentiates the losses of critic and actor on replayed scans.

    Args:
      sample: the scans, B of them.
      final: [whole], losses of those that were not cut.
      cut: [B] int32, after how many segments they were; None if none was.
      errors: [B], present 10 * MSE of each, which the actor's head learns where it was cut.
    """
    scan = self.experiment.scan
    observations = self.network_inputs.of_actor(sample.observations)[:, : scan.decisions]
    replayed = sample.actions[:, scan.decision_delay : -1]
    starts = steering.segments(sample.actions, scan).starts[:, : scan.decisions]
    if cut is not None:
      sample, final = truncation.weighted(sample, final)
    with tf.GradientTape(persistent=True) as tape:
      features = self.actor.features(observations, starts)
      live = self.actor.action(features)
      if self.experiment.optimisation.action_gradient == "replayed":
        # SI S3: the derivative at the replayed action, passed to the actor's.
        live_or_replayed = live + tf.stop_gradient(replayed - live)
      else:
        live_or_replayed = live
      q, live_q = self.critic(observations, replayed, live_or_replayed)
      bellman = self._targets_of(sample, observations, replayed, starts, live, final)
      critic_loss, td_errors = losses.critic_loss(q, bellman, sample.weights)
      actor_loss = learnt = losses.actor_loss(live_q)
      if cut is not None and errors is not None:
        predicted = self.actor.error_head(features[self.whole :])
        learnt += losses.prediction_loss(predicted, cut[self.whole :], errors[self.whole :])
    return ActionValues(
      critic_loss,
      actor_loss,
      td_errors,
      tape.gradient(critic_loss, self.critic.trainable_variables),
      tape.gradient(learnt, self.actor.trainable_variables),
    )

  def _targets_of(self, sample, observations, replayed, starts, live, final):
    """Returns the critic's targets y [B, T-1]."""
    settings = self.experiment.loss
    outside = steering.over_edge(sample.actions, self.experiment.scan)[
      :, self.experiment.scan.decision_delay :
    ]
    rewards = losses.step_losses(final, outside, settings.over_edge_penalty)
    if self.target_actor is not self.actor:
      live = self.target_actor.unroll(observations, starts)
    _, target_q = self.target_critic(observations, replayed, tf.stop_gradient(live))
    bellman = losses.bellman_targets(rewards, target_q, settings.discount)
    if settings.supervision == "none":
      return bellman
    share = schedules.supervised_share(self.iteration, self.experiment)
    return share * losses.supervised_targets(rewards, settings.discount) + (1 - share) * bellman

  # Updates.

  def update(
    self, completion: Completion, recurrent: ActionValues | None
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Applies gradients, decays generator weights, moves targets; returns the gradients' global
    norms.
    """
    o = self.experiment.optimisation
    generator_norm = self._update_generator(completion)
    norms = self._update_recurrent(recurrent) if recurrent else (tf.zeros([]), tf.zeros([]))
    for network, target in self._targets():
      if recurrent or network is self.generator:
        targets.move(network, target, schedules.target_decay(self.iteration, o))
    return generator_norm, *norms

  def _update_generator(self, completion: Completion) -> tf.Tensor:
    o, weights = self.experiment.optimisation, self.generator.trainable_variables
    self.generator_rate.assign(schedules.generator_rate(self.iteration, o))
    if not weights:  # infilling learns nothing
      return tf.zeros([])
    self.generator_optimiser.apply(completion.gradients, weights)
    if o.l2_decay < 1:
      for weight in weights:
        weight.assign(o.l2_decay * weight)
    return tf.linalg.global_norm(completion.gradients)

  def _update_recurrent(self, recurrent: ActionValues) -> tuple[tf.Tensor, tf.Tensor]:
    critic_gradients, critic_norm = self.critic_clipper(recurrent.critic_gradients)
    self.critic_optimiser.apply(critic_gradients, self.critic.trainable_variables)
    actor_gradients, actor_norm = self.actor_clipper(recurrent.actor_gradients)
    self.actor_optimiser.apply(actor_gradients, self.actor.trainable_variables)
    return critic_norm, actor_norm

  def _metrics(self, sample, partial, completion, final, recurrent, norms) -> LearnerMetrics:
    outside = (
      steering.over_edge(sample.actions, self.experiment.scan) if self.path.learns else False
    )
    visited = partial[: self.whole]  # turned, maybe, but of as many pixels
    none = tf.zeros([])
    return LearnerMetrics(
      tf.reduce_mean(completion.losses[: self.whole]),
      tf.reduce_mean(final),
      recurrent.critic_loss if recurrent else none,
      recurrent.actor_loss if recurrent else none,
      tf.reduce_mean(tf.cast(outside, tf.float32)),
      tf.reduce_mean(partial_scan.distinct_share(visited)),
      self.generator_rate.read_value(),
      *norms,
    )


def _assign(variables, values):
  for variable, value in zip(variables, values, strict=True):
    variable.assign(value)
