"""One training iteration of a scanner of whole fields: scan, replay, learn."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import field_config, randomness, specimens
from adaptive_stem_tf.fields import maps, rounds
from adaptive_stem_tf.fields.state import FEATURES, Cells
from adaptive_stem_tf.learning import field_exploration, field_losses, field_replay, targets
from adaptive_stem_tf.networks import field_actor, field_critic, field_generator, initialisers
from adaptive_stem_tf.randomness import Purpose
from adaptive_stem_tf.types import Draw

_WARM_UP = 100.0  # iterations over which rates rise


class FieldMetrics(NamedTuple):
  """Scalars of one training iteration."""

  error: tf.Tensor  # geometric mean over the batch of 10 * MSE of completions
  generator_ratio: tf.Tensor  # geometric mean of the error over the interpolation's, as trained
  uncertainty_loss: tf.Tensor
  critic_loss: tf.Tensor  # per cell
  critic_correlation: tf.Tensor  # of predicted and observed log errors over cells
  actor_gain: tf.Tensor  # predicted geometric mean of the error over that of even rounds
  generator_gradient: tf.Tensor  # global norms
  critic_gradient: tf.Tensor
  actor_gradient: tf.Tensor
  generator_rate: tf.Tensor


class _Scene(NamedTuple):
  """What a batch scans."""

  measured: tf.Tensor  # [B, H, W, 1] what the beam measures, noise included
  target: tf.Tensor  # [B, H, W, 1] the filtered specimen
  plan: rounds.FieldPlan


class FieldLearner(snt.Module):
  """Networks, replay and optimisers, and the step that trains them.

  Everything that training changes is a variable below this module: a checkpoint of it and
  the configuration resume training bitwise.
  """

  def __init__(
    self,
    experiment: field_config.FieldExperiment,
    images: Sequence[np.ndarray],
    jit: str = "auto",
    name: str = "field_learner",
  ):
    """Makes the learner.

    Args:
      experiment: the configuration.
      images: fields [H, W, 1] in [-1, 1] of any sizes from the crop up; a field that is listed
        twice is drawn twice as often.
      jit: what XLA compiles: `all` or nothing (config.RunSettings).
      name: of the module.
    """
    super().__init__(name=name)
    self.experiment = experiment
    self._images = images
    self.iteration = tf.Variable(0, trainable=False, dtype=tf.int64, name="iteration")
    e, sizes = experiment, experiment.networks
    weights = initialisers.Weights(e.seed)
    make_generator = lambda name: field_generator.FieldGenerator(
      sizes.generator_channels, e.data.target_sigma, name, weights
    )
    self.generator, self.average_generator = make_generator("generator"), make_generator("average")
    self.actor = field_actor.FieldActor(sizes.policy_channels, weights=weights)
    self.average_actor = field_actor.FieldActor(sizes.policy_channels, "average_actor", weights)
    self.critic = field_critic.FieldCritic(sizes.policy_channels, weights=weights)
    self._create_variables()
    self.rates = [tf.Variable(0.0, trainable=False, name="rate") for _ in range(3)]
    self.optimisers = [snt.optimizers.Adam(rate) for rate in self.rates]
    networks: list[snt.Module] = [self.generator, self.critic, self.actor]
    for optimiser, network in zip(self.optimisers, networks):
      # Moments exist before the step is traced; a rate of 0 changes nothing.
      optimiser.apply(
        [tf.zeros_like(v) for v in network.trainable_variables], network.trainable_variables
      )
      optimiser.step.assign(0)
    self.replay = field_replay.FieldReplay(e.replay.capacity, self._empty_scans())
    # A scan completes R + 1 times: as functions of their own they are traced once.
    self._complete, self._plain = tf.function(self.generator), tf.function(self.generator.plain)
    compiled = jit == "all" or None
    self._first_step = tf.function(self._train_generator, jit_compile=compiled)
    self._step = tf.function(self._train, jit_compile=compiled)

  @property
  def num_specimens(self) -> int:
    """Number of fields that draws are made from."""
    return len(self._images)

  def step(self, draw: Draw) -> FieldMetrics:
    """Trains for one iteration on crops of the fields of a draw [B]."""
    e, iteration = self.experiment, int(self.iteration.numpy())
    random = np.random.default_rng([e.seed, int(Purpose.CROP), iteration])
    if iteration >= e.optimisation.generator_first * e.optimisation.iterations:
      crops = self._crops(draw.index.numpy(), e.scan.crop, random)
      return self._step(crops, draw.transform)
    # As many pixels, in smaller crops of more fields than a draw names.
    count = len(draw.index) * (e.scan.crop // e.scan.generator_crop) ** 2
    index = random.integers(self.num_specimens, size=count)
    transform = random.integers(8 if e.data.augment else 1, size=count)
    crops = self._crops(index, e.scan.generator_crop, random)
    return self._first_step(crops, tf.constant(transform, draw.transform.dtype))

  def _crops(self, index, side, random):
    """Returns a crop [S, S, 1] at a random place of each field, [B, S, S, 1] float32."""
    crops = []
    for number in index:
      field = self._images[number]
      row, column = (int(random.integers(size - side + 1)) for size in field.shape[:2])
      crops.append(field[row : row + side, column : column + side])
    return tf.constant(np.stack(crops).astype(np.float32))

  def status(self, row: Mapping[str, float]) -> str:
    """Returns in a few words how training goes, from the mean metrics of some iterations."""
    return (
      f"10 MSE {row['error']:.4f}, of interpolation {np.exp(row['generator_ratio']):.3f}, "
      f"critic r {row['critic_correlation']:.2f}, of even {np.exp(row['actor_gain']):.3f}"
    )

  @property
  def traces(self) -> int:
    """Number of times the steps were traced: at most 2, one for each part of training."""
    return sum(step.experimental_get_tracing_count() for step in (self._first_step, self._step))

  def _train(self, crops: tf.Tensor, transform: tf.Tensor) -> FieldMetrics:
    """The data flow of an iteration in which all networks learn."""
    scene = self._scene(crops, transform)
    trajectory = self._scan(scene)
    self.replay.add(self._scans(trajectory, scene))
    ratio, uncertainty, generator_norm = self._learn_completion(scene, trajectory.masks)
    critic_loss, correlation, gain, critic_norm, actor_norm = self._learn_decisions(
      self.replay.sample(self.experiment.replay.replayed, self._seed(Purpose.SAMPLING))
    )
    self._finish()
    return FieldMetrics(
      _geometric_mean(trajectory.completion.mean, scene.target),
      ratio,
      uncertainty,
      critic_loss,
      correlation,
      gain,
      generator_norm,
      critic_norm,
      actor_norm,
      tf.identity(self.rates[0]),
    )

  def _train_generator(self, crops: tf.Tensor, transform: tf.Tensor) -> FieldMetrics:
    """The data flow of an iteration in which the generator learns alone.

    The rule decides a single round from the interpolation, which the generator is not needed
    for: half the time of an iteration in which all learn.
    """
    scene = self._scene(crops, transform, rounds_=1)
    trajectory = self._scan(scene, rule=True)
    ratio, uncertainty, norm = self._learn_completion(scene, trajectory.masks)
    self._finish()
    zero = tf.constant(0.0)
    return FieldMetrics(
      _geometric_mean(trajectory.completion.mean, scene.target),
      ratio,
      uncertainty,
      zero,
      zero,
      zero,
      norm,
      zero,
      zero,
      tf.identity(self.rates[0]),
    )

  def _scene(self, crops, transform, rounds_=None):
    """Returns what is scanned, and how much of it in each round."""
    scan = self.experiment.scan
    specimen = specimens.transform(crops, transform)
    target = specimens.low_pass(specimen, self.experiment.data.target_sigma)
    measured = field_exploration.with_noise(
      specimen, self.experiment.data, self._seed(Purpose.DOSE)
    )
    plan = field_exploration.draw_plan(
      scan, rounds_ or scan.rounds, crops.shape, self._seed(Purpose.COVERAGE)
    )
    return _Scene(measured, target, plan)

  def _finish(self):
    self._move_averages()
    self.iteration.assign_add(1)

  def _scan(self, scene, rule=False):
    """Scans with exploration (FIELDS section 3): as the actor says now, or by the rule alone."""
    batch, side = scene.measured.shape[:2]
    cells = side // self.experiment.scan.cell
    shape = [batch, cells, cells, 1]
    behave = field_exploration.Behaviour(
      self.experiment.exploration, shape, self._seed(Purpose.EXPLORATION)
    )
    initial = (self.actor.initial_state(tf.zeros(shape)), tf.constant(0))

    def policy(cells, state):
      if rule:
        return behave(field_actor.GRADIENT_POWER * cells.gradient, state[1]), state
      log_weights, recurrent = self.actor(cells, state[0])
      return behave(log_weights, state[1]), (recurrent, state[1] + 1)

    complete = self._plain if rule else self._complete
    trajectory = rounds.scan(
      scene.measured, scene.plan, policy, initial, complete, self.experiment.scan.cell
    )
    return tf.nest.map_structure(tf.stop_gradient, trajectory)

  def _scans(self, trajectory, scene):
    plan = scene.plan
    squared = tf.square(trajectory.completion.mean - scene.target)
    errors = tf.math.log(maps.to_cells(squared, self.experiment.scan.cell) + field_losses.FLOOR)
    pixels = tf.cast(tf.size(plan.rank[0]), tf.float32)
    log_coverage = tf.math.log(tf.cast(plan.counts[-1], tf.float32) / pixels)
    return field_replay.FieldScans(
      trajectory.features,
      trajectory.gradient,
      trajectory.uncertainty,
      trajectory.actions,
      errors,
      log_coverage,
    )

  def _learn_completion(self, scene, masks):
    """Trains the generator on one mask of each scan: of the end, or of any round."""
    batch, last = masks.shape[1], masks.shape[0] - 1
    seed = self._seed(Purpose.TRUNCATION)
    which = tf.random.stateless_uniform([batch], seed, 0, 2 * last + 1, tf.int32)
    mask = tf.gather_nd(masks, tf.stack([tf.minimum(which, last), tf.range(batch)], -1))
    with tf.GradientTape() as tape:
      completion = self.generator(scene.measured * mask, mask)
      squared = tf.square(completion.mean - scene.target)
      plain = tf.reduce_mean(tf.square(completion.plain - scene.target), [1, 2, 3])
      ratio = field_losses.relative_log_error(tf.reduce_mean(squared, [1, 2, 3]), plain)
      uncertainty = field_losses.uncertainty_loss(completion.log_variance, squared)
      loss = tf.reduce_mean(ratio) + 0.2 * tf.reduce_mean(uncertainty)
    norm = self._apply(0, self.generator, tape, loss)
    return tf.reduce_mean(ratio), tf.reduce_mean(uncertainty), norm

  def _learn_decisions(self, scans):
    """Trains critic and actor by recurrent deterministic policy gradients (SI eq. S1)."""
    with tf.GradientTape() as critic_tape, tf.GradientTape() as actor_tape:
      predicted, gains = self._evaluate(scans)
      observed = tf.expand_dims(scans.log_errors, 1)
      critic_loss = tf.reduce_mean(field_losses.map_loss(predicted, observed))
      actor_loss = tf.reduce_mean(gains)
    correlation = _correlation(predicted[:, -1], scans.log_errors)
    critic_norm = self._apply(1, self.critic, critic_tape, critic_loss)
    actor_norm = self._apply(2, self.actor, actor_tape, actor_loss)
    return critic_loss, correlation, actor_loss, critic_norm, actor_norm

  def _evaluate(self, scans):
    """Returns predicted log errors [B, R, h, w, 1] of replayed actions, gains [B, R] of live ones.

    A gain is the log of the mean error over that of even rounds.
    """
    valid = tf.ones_like(scans.actions[:, 0])
    log_coverage = scans.log_coverage[:, None, None, None]
    errors = lambda law, action: field_critic.log_errors(
      law, field_critic.log_density(action, valid), log_coverage
    )
    critic_state = self.critic.initial_state(scans.features[:, 0])
    actor_state = self.actor.initial_state(scans.features[:, 0])
    predicted, gains = [], []
    for number in range(self.experiment.scan.rounds):
      at = [value[:, number] for value in (scans.features, scans.gradient, scans.uncertainty)]
      cells = Cells(at[0], at[1], at[2], valid)
      law, critic_state = self.critic(cells, critic_state)
      live, actor_state = self.actor(cells, actor_state)
      predicted.append(errors(law, scans.actions[:, number]))
      # Only the actor's weights follow this: the critic's are of another tape.
      value = field_critic.log_mean_error(errors(law, rounds.limit(live, valid)), valid)
      even = field_critic.log_mean_error(errors(law, tf.zeros_like(live)), valid)
      gains.append(value - tf.stop_gradient(even))
    return tf.stack(predicted, 1), tf.stack(gains, 1)

  def _apply(self, number, network, tape, loss):
    """Takes one step of Adam with a clipped gradient; returns the gradient's norm."""
    variables = network.trainable_variables
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    gradients, norm = tf.clip_by_global_norm(gradients, self.experiment.optimisation.gradient_norm)
    self.rates[number].assign(self._rate(number))
    self.optimisers[number].apply(gradients, variables)
    return norm

  def _rate(self, number):
    """Returns a learning rate: it falls along a quarter of a cosine; the actor's starts late."""
    o = self.experiment.optimisation
    rate = (o.generator_rate, o.critic_rate, o.actor_rate)[number]
    share = tf.cast(self.iteration, tf.float32) / o.iterations
    rate *= tf.maximum(tf.cos(0.5 * np.pi * tf.minimum(share, 1.0)), 0.02)
    rate *= tf.minimum((tf.cast(self.iteration, tf.float32) + 1) / _WARM_UP, 1.0)
    return rate if number < 2 else tf.where(share >= o.actor_from, rate, 0.0)

  def _move_averages(self):
    # Young averages follow quickly: (1 + t) / (10 + t), at most the decay.
    count = tf.cast(self.iteration, tf.float32)
    decay = tf.minimum(self.experiment.optimisation.average_decay, (1 + count) / (10 + count))
    targets.move(self.generator, self.average_generator, decay)
    targets.move(self.actor, self.average_actor, decay)

  def _seed(self, purpose):
    return randomness.stream(self.experiment.seed, purpose, self.iteration)

  def _create_variables(self):
    """Calls every network once, so that variables exist before the step is traced."""
    image = tf.zeros([1, 64, 64, 1])
    one = tf.ones([1, 8, 8, 1])
    cells = Cells(tf.zeros([1, 8, 8, FEATURES]), one, one, one)
    for generator in (self.generator, self.average_generator):
      generator(image, image)
    for network in (self.actor, self.average_actor, self.critic):
      network(cells, network.initial_state(cells.features))
    targets.copy(self.generator, self.average_generator)
    targets.copy(self.actor, self.average_actor)

  def _empty_scans(self):
    scan = self.experiment.scan
    cells = scan.crop // scan.cell
    spec = lambda *shape: tf.TensorSpec([1, *shape])
    one = spec(scan.rounds, cells, cells, 1)
    return field_replay.FieldScans(
      spec(scan.rounds, cells, cells, FEATURES), one, one, one, spec(cells, cells, 1), spec()
    )


def _geometric_mean(completion, target):
  """Returns the geometric mean over a batch of 10 * MSE."""
  squared = tf.reduce_mean(tf.square(completion - target), [1, 2, 3])
  return tf.exp(tf.reduce_mean(tf.math.log(10 * squared + 1e-9)))


def _correlation(first, second):
  first, second = (value - tf.reduce_mean(value) for value in (first, second))
  norm = tf.sqrt(tf.reduce_sum(tf.square(first)) * tf.reduce_sum(tf.square(second)))
  return tf.reduce_sum(first * second) / tf.maximum(norm, 1e-12)
