"""One training iteration: scan, replay, and update generator, critic and actor."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, intensities, randomness, replicas, specimens
from adaptive_stem_tf.learning import (
  action_values,
  alrc,
  base,
  batch_statistics,
  completion,
  noise,
  optimisers,
  replay,
  schedules,
  targets,
  truncation,
)
from adaptive_stem_tf.learning.action_values import ActionValues, Outcome
from adaptive_stem_tf.learning.agent import Networks
from adaptive_stem_tf.learning.completion import Completion, Example, LossState
from adaptive_stem_tf.scan import partial_scan, path_names, steering
from adaptive_stem_tf.types import Draw, LearnerMetrics, ReplaySample, Streamed, Trajectory


class _Parts(NamedTuple):
  """Parts of an iteration that are compiled on their own, or are the plain methods."""

  scan: Callable[..., Trajectory]
  evaluate_actions: Callable[..., ActionValues]
  update: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


class Learner(base.BaseLearner):
  """Networks, replay, optimisers and moments, and the step that trains them.

  Everything that training changes is a variable below this module: a checkpoint of it
  and the experiment's configuration resume training bitwise.
  """

  def __init__(
    self,
    experiment: config.Experiment,
    images: tf.Tensor | np.ndarray,
    networks: Networks,
    jit: str = "auto",
    path: np.ndarray | None = None,
    name: str = "learner",
  ):
    """Makes the learner.

    Args:
      experiment: the configuration.
      images: [N, S, S, 1] float32 training specimens in [-1, 1]: a tensor, which is held and not
        copied, or an array, say of a memory-mapped file, whose rows come with draws.
      networks: the networks to train (`agent.make_networks`).
      jit: what XLA compiles: `auto`, `all` or `none` (config.RunSettings).
      path: probing positions [T * n, 2] px of a fixed path, or [K, T * n, 2] of scans that are
        mixed in; None if the experiment's path needs none.
      name: of the module.
    """
    super().__init__(experiment, name)
    self.images, self._networks = images, networks
    self._stored = stored = None if tf.is_tensor(images) else np.asarray(images)
    if stored is not None:
      spec = tf.TensorSpec([experiment.optimisation.batch_size, *images.shape[1:]])
      self.streamed = Streamed(lambda _, draw: np.asarray(stored[draw.index]), spec)
    # Checkpoints keep the networks under these names.
    self.actor, self.critic, self.generator, *soft_copies = networks
    self.target_actor, self.target_critic, self.target_generator = soft_copies
    self.num_uncut = truncation.num_uncut(experiment)
    self.steering = steering.make_steering(experiment.scan)
    self.network_inputs = intensities.make_network_inputs(experiment.data.normalise)
    self.path = path_names.make_path(experiment.scan, self.network_inputs.policy(self.actor), path)
    self.replay = (
      replay.Replay(
        experiment.replay, experiment.scan, self.path.action_size, self._stored is not None
      )
      if experiment.replay.capacity
      else replay.NoReplay()
    )
    self._make_optimisers()
    self.loss_moments, self.generator_moments = base.make_moments(), base.make_moments()
    self.loss_mean = tf.Variable(alrc.INITIAL_MEAN, trainable=False, name="loss_mean")
    self._parts = self._compile_parts(jit)
    self._meter = batch_statistics.Meter(self.generator, self._complete_new)
    self._images_are_there = False
    self.compile_step(self._train, jit)

  @property
  def num_specimens(self) -> int:
    """Number of specimens that draws choose from."""
    return self.images.shape[0]

  def status(self, row: Mapping[str, float]) -> str:
    """Summarises training in a few words, from the mean metrics of some iterations."""
    return (
      f"10 MSE {row['generator_loss']:.3f}, critic {row['critic_loss']:.3f}, "
      f"actor {row['actor_loss']:.3f}"
    )

  def step(self, draw: Draw) -> LearnerMetrics:
    """Trains for one iteration; see `BaseLearner.step`."""
    if self._stored is None:
      return super().step(draw)
    if not self._images_are_there:
      self.replay.restore_images(self._stored)
      self._images_are_there = True
    return self._step(*draw)

  def _train(
    self, index: tf.Tensor, transform: tf.Tensor, images: tf.Tensor | tuple[()] = ()
  ) -> LearnerMetrics:
    """The data flow of an iteration. All gradients use the weights before the step."""
    draw = Draw(index, transform, images)
    mine = replicas.share(draw)
    sample = self.exchange(lambda: self._parts.scan(self.specimens(mine)), draw)
    cut = truncation.draw(self.experiment, self.stream(randomness.Purpose.TRUNCATION))
    partial, target = self.generator_pair(sample, cut)
    completed = self.complete(
      partial, target, self.network_inputs.range_of(sample.observations, cut)
    )
    final = self.reinforcement_loss(completed.reinforcement[: self.num_uncut])
    recurrent = None
    if self.path.learns:
      recurrent = self._parts.evaluate_actions(sample, final, cut, completed.losses)
      self.replay.update_priorities(sample.rows, recurrent.td_errors)
    norms = self._parts.update(completed, recurrent)
    metrics = self._metrics(sample, partial, completed, final, recurrent, norms)
    self.iteration.assign_add(1)
    return metrics

  def settle(self) -> None:
    """Recomputes batch statistics from `batch_norm_batches` batches of new scans.

    The current actor makes these scans, with exploration and cuts as in training. Moving
    statistics also average over former weights and over scans of former actors.
    """
    batches = self.experiment.generator.batch_norm_batches
    if batches:
      self._meter.measure(self._later_batches(batches))

  def _later_batches(self, count: int) -> Iterator[tuple[Any, ...]]:
    """Yields the index, transform, number and images of new draws; no images unless streamed."""
    e = self.experiment
    random = np.random.default_rng(
      [e.seed, randomness.Purpose.STATISTICS, int(self.iteration.numpy())]
    )
    for number in range(count):
      index = random.integers(self.num_specimens, size=e.optimisation.batch_size)
      transform = random.integers(specimens.TRANSFORMS if e.data.augment else 1, size=len(index))
      images = () if self._stored is None else tf.constant(np.asarray(self._stored[index]))
      yield *(tf.constant(part, tf.int32) for part in (index, transform, number)), images

  def _complete_new(self, index, transform, number, images) -> None:
    """Completes scans of a draw, the `number`th after training, in training mode."""
    draw = replicas.share(Draw(index, transform, images))
    trajectory = self._parts.scan(self.specimens(draw), number)
    cut = truncation.draw(self.experiment, self.stream(randomness.Purpose.TRUNCATION, number))
    partial = self.path.draw(trajectory.observations, trajectory.actions, cut)
    ranges = self.network_inputs.range_of(trajectory.observations, cut)
    self.network_inputs.complete(self.generator, partial, ranges, is_training=True)

  # Construction.

  def _make_optimisers(self):
    o = self.experiment.optimisation
    self.generator_rate = tf.Variable(o.generator_rate, trainable=False, name="generator_rate")
    self.generator_optimiser = optimisers.make_optimiser(
      o.generator_optimiser, self.generator_rate, self.generator.trainable_variables
    )
    self.critic_optimiser, self.actor_optimiser = (
      optimisers.make_optimiser(o.optimiser, tf.constant(rate), network.trainable_variables)
      for rate, network in ((o.critic_rate, self.critic), (o.actor_rate, self.actor))
    )
    self.critic_clipper, self.actor_clipper = optimisers.Clipper(o), optimisers.Clipper(o)

  def _compile_parts(self, jit):
    """Returns the recurrent parts and the updates, which XLA compiles on a CPU with `auto`."""
    parts = _Parts(self.scan, self.evaluate_actions, self.update)
    if jit != "auto" or base.compiles_all(jit) or replicas.count() > 1:
      return parts
    # oneDNN's convolutions are faster than XLA's on a CPU, so these stay outside.
    return _Parts(*map(functools.partial(tf.function, jit_compile=True, autograph=False), parts))

  # Data.

  def specimens(self, draw: Draw) -> tf.Tensor:
    """Returns the drawn specimens [B, S, S, 1]."""
    images = tf.gather(self.images, draw.index) if self._stored is None else draw.images
    return specimens.transform(images, draw.transform)

  # Scanning and replay.

  def scan(self, images: tf.Tensor, ahead: tf.Tensor | int = 0) -> Trajectory:
    """Scans specimens [B, S, S, 1] with exploration, as would be `ahead` iterations from now."""
    e = self.experiment
    images = specimens.as_measured(images, e.data)
    normal = replicas.drawn(
      tf.random.stateless_normal,
      [images.shape[0], e.scan.segments, self.steering.width],
      self.stream(randomness.Purpose.EXPLORATION, ahead),
    )
    exploration = noise.ornstein_uhlenbeck(
      normal, e.exploration, schedules.exploration_scale(self.iteration, e)
    )
    return self.path.scan(images, exploration, self.stream(randomness.Purpose.WALK, ahead))

  def exchange(self, scan: Callable[[], Trajectory], draw: Draw) -> ReplaySample:
    """Adds scans of drawn specimens to the replay, if this iteration does, and samples as many."""
    e, purposes = self.experiment, randomness.Purpose
    seeds = replay.Seeds(
      *map(self.stream, (purposes.OVERWRITE, purposes.ADDING, purposes.SAMPLING))
    )
    return self.replay.exchange(
      scan,
      draw,
      seeds,
      schedules.adding_probability(self.iteration, e),
      schedules.priority_beta(self.iteration, e),
    )

  def generator_pair(
    self, sample: ReplaySample, cut: tf.Tensor | None = None
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns partial scans [B, S, S, 2], cut or not, and targets [B, S, S, 1].

    Both are transformed once more, alike, if data are augmented.
    """
    partial = self.path.draw(sample.observations, sample.actions, cut)
    target = specimens.low_pass(self.specimens(sample.draw), self.experiment.data.filter_sigma)
    if not self.experiment.data.augment:
      return partial, target
    which = replicas.drawn(
      tf.random.stateless_uniform,
      [partial.shape[0]],
      self.stream(randomness.Purpose.AUGMENTATION),
      0,
      specimens.TRANSFORMS,
      tf.int32,
    )
    return specimens.transform(partial, which), specimens.transform(target, which)

  # Losses and gradients.

  def complete(
    self, partial: tf.Tensor, target: tf.Tensor, ranges: intensities.IntensityRange | None = None
  ) -> Completion:
    """Completes scans, differentiates the generator's loss and updates the loss's moments.

    They have `ranges` of measured intensities if networks see scans relative to these.
    """
    completed, moments = completion.complete(
      self._networks,
      self.network_inputs,
      Example(partial, target, ranges),
      self.experiment.loss,
      self.generator_moments,
    )
    base.assign(self.generator_moments, moments)
    return completed

  def reinforcement_loss(self, per_example: tf.Tensor) -> tf.Tensor:
    """Turns completion losses [B] into the L_b that the critic learns; updates its statistics."""
    state = LossState(self.loss_moments, self.loss_mean)
    loss, state = completion.reinforcement_loss(per_example, self.experiment.loss, state)
    base.assign((*self.loss_moments, self.loss_mean), (*state.moments, state.mean))
    return loss

  def evaluate_actions(
    self,
    sample: ReplaySample,
    final: tf.Tensor,
    cut: tf.Tensor | None = None,
    errors: tf.Tensor | None = None,
  ) -> ActionValues:
    """Differentiates the losses of critic and actor on replayed scans.

    Args:
      sample: B scans, with observations as they were measured.
      final: [num_uncut], losses of the scans that were not cut.
      cut: [B] int32, number of segments after which each scan was cut; None if none was.
      errors: [B], present 10 * MSE of each scan; the actor's head learns those of cut scans.
    """
    return action_values.evaluate_actions(
      self._networks,
      self.experiment,
      sample._replace(observations=self.network_inputs.of_actor(sample.observations)),
      Outcome(final, cut, errors),
      schedules.supervised_share(self.iteration, self.experiment),
    )

  # Updates.

  def update(
    self, completed: Completion, recurrent: ActionValues | None
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Applies gradients, decays generator weights and moves targets; returns the global norms of
    the gradients of generator, critic and actor.
    """
    o = self.experiment.optimisation
    generator_norm = self._update_generator(completed)
    norms = self._update_recurrent(recurrent) if recurrent else (tf.zeros([]), tf.zeros([]))
    for network, target in self._networks.copies():
      if recurrent or network is self.generator:
        targets.move(network, target, schedules.target_decay(self.iteration, o))
    return generator_norm, *norms

  def _update_generator(self, completed: Completion) -> tf.Tensor:
    o, weights = self.experiment.optimisation, self.generator.trainable_variables
    self.generator_rate.assign(schedules.generator_rate(self.iteration, o))
    if not weights:  # infilling learns nothing
      return tf.zeros([])
    self.generator_optimiser.apply(completed.gradients, weights)
    if o.l2_decay < 1:
      for weight in weights:
        weight.assign(o.l2_decay * weight)
    return tf.linalg.global_norm(completed.gradients)

  def _update_recurrent(self, recurrent: ActionValues) -> tuple[tf.Tensor, tf.Tensor]:
    critic_gradients, critic_norm = self.critic_clipper(recurrent.critic_gradients)
    self.critic_optimiser.apply(critic_gradients, self.critic.trainable_variables)
    actor_gradients, actor_norm = self.actor_clipper(recurrent.actor_gradients)
    self.actor_optimiser.apply(actor_gradients, self.actor.trainable_variables)
    return critic_norm, actor_norm

  def _metrics(self, sample, partial, completed, final, recurrent, norms) -> LearnerMetrics:
    outside = (
      steering.over_edge(sample.actions, self.experiment.scan) if self.path.learns else False
    )
    uncut = partial[: self.num_uncut]  # transforms leave the number of visited pixels as it is
    none = tf.zeros([])
    return LearnerMetrics(
      tf.reduce_mean(completed.losses[: self.num_uncut]),
      tf.reduce_mean(final),
      recurrent.critic_loss if recurrent else none,
      recurrent.actor_loss if recurrent else none,
      tf.reduce_mean(tf.cast(outside, tf.float32)),
      tf.reduce_mean(partial_scan.distinct_share(uncut)),
      self.generator_rate.read_value(),
      *norms,
    )
