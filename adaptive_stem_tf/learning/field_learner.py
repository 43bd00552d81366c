"""One training iteration of a scanner of whole fields: scan, replay, learn."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import field_config, replicas, specimens
from adaptive_stem_tf.fields import maps, rounds
from adaptive_stem_tf.fields.state import FEATURES
from adaptive_stem_tf.learning import (
  base,
  field_decisions,
  field_exploration,
  field_losses,
  field_replay,
  optimisers,
  targets,
)
from adaptive_stem_tf.learning.field_agent import FieldNetworks
from adaptive_stem_tf.networks import field_actor
from adaptive_stem_tf.randomness import Purpose
from adaptive_stem_tf.types import Draw, Streamed

_WARM_UP = 100.0  # iterations over which rates rise
_LOWEST_RATE = 0.02  # share of the first rate that rates do not fall below
_UNCERTAINTY_WEIGHT = 0.2  # of the uncertainty's loss beside the completion's
_GENERATOR, _CRITIC, _ACTOR = range(3)  # their order among rates and optimisers


class FieldMetrics(NamedTuple):
  """Scalars of one training iteration."""

  error: tf.Tensor  # geometric mean over the batch of 10 * MSE of completions
  generator_ratio: tf.Tensor  # mean log of the error over the interpolation's, as trained
  uncertainty_loss: tf.Tensor
  critic_loss: tf.Tensor  # per cell
  critic_correlation: tf.Tensor  # of predicted and observed log errors over cells
  actor_gain: tf.Tensor  # mean log of the predicted error over that of even rounds
  generator_gradient: tf.Tensor  # global norms
  critic_gradient: tf.Tensor
  actor_gradient: tf.Tensor
  generator_rate: tf.Tensor


class _Scene(NamedTuple):
  """The specimens of a batch, and how they are scanned."""

  measured: tf.Tensor  # [B, H, W, 1] as the beam measures them, noise included
  target: tf.Tensor  # [B, H, W, 1] the filtered specimen
  plan: rounds.FieldPlan


class _Choice(NamedTuple):
  """Which crops an iteration sees."""

  fields: np.ndarray  # [N], their numbers
  transform: np.ndarray  # [N], the transform of each
  side: int  # px
  random: np.random.Generator  # draws the places of crops


class FieldLearner(base.BaseLearner):
  """Networks, replay and optimisers, and the step that trains them.

  Everything that training changes is a variable below this module: a checkpoint of it and
  the configuration resume training bitwise.
  """

  def __init__(
    self,
    experiment: field_config.FieldExperiment,
    images: Sequence[Any],
    networks: FieldNetworks,
    jit: str = "auto",
    streams: bool = False,
    name: str = "field_learner",
  ):
    """Makes the learner.

    Args:
      experiment: the configuration.
      images: fields [H, W, 1] in [-1, 1] of any sizes from the crop up; a field that is listed
        twice is drawn twice as often. Only their shapes and windows of their pixels are read.
      networks: the networks to train (`field_agent.make_networks`).
      jit: what XLA compiles: `all` or nothing (config.RunSettings).
      streams: whether crops come with draws, so that files are read while a step runs.
      name: of the module.
    """
    super().__init__(experiment, name)
    if streams:
      crops = tf.TensorSpec([None, None, None, 1])
      self.streamed = Streamed(
        lambda iteration, draw: self._crops(self._choose(iteration, draw)), crops
      )
    # Numbers that replicas cannot share evenly are errors.
    replicas.share_of(experiment.optimisation.batch_size)
    replicas.share_of(experiment.replay.replayed, "replayed")
    self._images = images
    # Checkpoints keep the networks under these names.
    self.generator, self.actor, self.critic = networks.generator, networks.actor, networks.critic
    self.average_generator = networks.average_generator
    self.average_actor = networks.average_actor
    self.rates = [tf.Variable(0.0, trainable=False, name="rate") for _ in range(3)]
    learners: list[snt.Module] = [self.generator, self.critic, self.actor]
    self.optimisers = [
      optimisers.make_adam(rate, network.trainable_variables)
      for rate, network in zip(self.rates, learners)
    ]
    self.replay = field_replay.FieldReplay(experiment.replay.capacity, self._empty_scans())
    # A scan completes R + 1 times; a tf.function of its own is traced only once.
    # Replicas do not share traces.
    traced = lambda part: tf.function(part, autograph=False) if replicas.count() == 1 else part
    self._complete, self._plain = traced(self.generator), traced(self.generator.plain)
    # The first part of training has a step of its own: it scans one round, by the rule alone.
    jit = "all" if jit == "all" else "none"
    self._first_step = base.compiled(self._train_generator, jit)
    self.compile_step(self._train, jit)

  @property
  def num_specimens(self) -> int:
    """Number of fields that draws are made from."""
    return len(self._images)

  def step(self, draw: Draw) -> FieldMetrics:
    """Trains for one iteration on crops of the fields of a draw [B]."""
    iteration = int(self.iteration.numpy())
    choice = self._choose(
      iteration, draw._replace(index=draw.index.numpy(), transform=draw.transform.numpy())
    )
    crops = tf.constant(self._crops(choice)) if self.streamed is None else draw.images
    step = self._first_step if self._is_first(iteration) else self._step
    return step(crops, tf.constant(choice.transform, draw.transform.dtype))

  def _is_first(self, iteration):
    """Returns whether an iteration is in the first part, in which the generator learns alone."""
    o = self.experiment.optimisation
    return iteration < o.generator_first * o.iterations

  def _choose(self, iteration, draw) -> _Choice:
    """Returns an iteration's choice of crops: a pure function of its number and draw, of arrays."""
    e = self.experiment
    random = np.random.default_rng([e.seed, int(Purpose.CROP), iteration])
    if not self._is_first(iteration):
      return _Choice(draw.index, draw.transform, e.scan.crop, random)
    # As many pixels as otherwise, in smaller crops of more fields than the draw names.
    count = len(draw.index) * (e.scan.crop // e.scan.generator_crop) ** 2
    index = random.integers(self.num_specimens, size=count)
    transform = random.integers(8 if e.data.augment else 1, size=count)
    return _Choice(index, transform, e.scan.generator_crop, random)

  def _crops(self, choice):
    """Returns a crop [S, S, 1] at a random place of each field, [B, S, S, 1] float32."""
    crops, side = [], choice.side
    for number in choice.fields:
      field = self._images[number]
      row, column = (int(choice.random.integers(size - side + 1)) for size in field.shape[:2])
      crops.append(field[row : row + side, column : column + side])
    return np.stack(crops).astype(np.float32)

  def status(self, row: Mapping[str, float]) -> str:
    """Summarises training in a few words, from the mean metrics of some iterations."""
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
    crops, transform = replicas.share((crops, transform))
    scene = self._scene(crops, transform)
    trajectory = self._scan(scene)
    self.replay.add(self._scans(trajectory, scene))
    if self.experiment.optimisation.generator_rate:
      ratio, uncertainty, generator_norm = self._learn_completion(scene, trajectory.masks)
    else:
      losses = self._completion_losses(trajectory.completion, scene.target)
      ratio, uncertainty, generator_norm = *map(tf.reduce_mean, losses), tf.constant(0.0)
    critic_loss, correlation, gain, critic_norm, actor_norm = self._learn_decisions(
      self.replay.sample(self.experiment.replay.replayed, self.stream(Purpose.SAMPLING))
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
      tf.identity(self.rates[_GENERATOR]),
    )

  def _train_generator(self, crops: tf.Tensor, transform: tf.Tensor) -> FieldMetrics:
    """The data flow of an iteration in which the generator learns alone.

    The rule decides a single round from the interpolation, without the generator: such an
    iteration takes half the time of one in which all learn.
    """
    crops, transform = replicas.share((crops, transform))
    scene = self._scene(crops, transform, num_rounds=1)
    trajectory = self._scan(scene, rule=True)
    ratio, uncertainty, norm = self._learn_completion(scene, trajectory.masks)
    self._finish()
    error = _geometric_mean(trajectory.completion.mean, scene.target)
    zero, rate = tf.constant(0.0), tf.identity(self.rates[_GENERATOR])
    return FieldMetrics(error, ratio, uncertainty, zero, zero, zero, norm, zero, zero, rate)

  def _scene(self, crops, transform, num_rounds=None):
    """Returns the scene of crops, with R rounds unless their number is given."""
    scan = self.experiment.scan
    specimen = specimens.transform(crops, transform)
    target = specimens.low_pass(specimen, self.experiment.data.target_sigma)
    measured = field_exploration.with_noise(
      specimen, self.experiment.data, self.stream(Purpose.DOSE)
    )
    plan = field_exploration.draw_plan(
      scan, num_rounds or scan.rounds, crops.shape, self.stream(Purpose.COVERAGE)
    )
    return _Scene(measured, target, plan)

  def _finish(self):
    self._move_averages()
    self.iteration.assign_add(1)

  def _scan(self, scene, rule=False):
    """Scans with exploration (FIELDS section 3): by the present actor, or by the rule alone."""
    batch, side = scene.measured.shape[:2]
    cells = side // self.experiment.scan.cell
    shape = [batch, cells, cells, 1]
    behave = field_exploration.Behaviour(
      self.experiment.exploration, shape, self.stream(Purpose.EXPLORATION)
    )
    initial = (self.actor.initial_state(tf.zeros(shape)), tf.constant(0))

    def policy(cells, state):
      """Decides a round with exploration; the state is the actor's, and the round's number."""
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
    """Returns scans as the replay keeps them."""
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
    """Trains the generator on one mask of each scan: that of any round, half the time the last."""
    batch, last = masks.shape[1], masks.shape[0] - 1
    seed = self.stream(Purpose.TRUNCATION)
    which = replicas.drawn(tf.random.stateless_uniform, [batch], seed, 0, 2 * last + 1, tf.int32)
    mask = tf.gather_nd(masks, tf.stack([tf.minimum(which, last), tf.range(batch)], -1))
    with tf.GradientTape() as tape:
      completion = self.generator(scene.measured * mask, mask)
      ratio, uncertainty = map(tf.reduce_mean, self._completion_losses(completion, scene.target))
      loss = ratio + _UNCERTAINTY_WEIGHT * uncertainty
    return ratio, uncertainty, self._apply(_GENERATOR, self.generator, tape, loss)

  def _completion_losses(self, completion, target):
    """Returns the log of errors over those of the interpolation, and losses of uncertainty."""
    squared = tf.square(completion.mean - target)
    plain = tf.reduce_mean(tf.square(completion.plain - target), [1, 2, 3])
    ratio = field_losses.relative_log_error(tf.reduce_mean(squared, [1, 2, 3]), plain)
    return ratio, field_losses.uncertainty_loss(completion.log_variance, squared)

  def _learn_decisions(self, scans):
    """Trains critic and actor by recurrent deterministic policy gradients (SI eq. S1)."""
    with tf.GradientTape() as critic_tape, tf.GradientTape() as actor_tape:
      predicted, gains = field_decisions.evaluate(self.actor, self.critic, scans)
      observed = tf.expand_dims(scans.log_errors, 1)
      critic_loss = tf.reduce_mean(field_losses.map_loss(predicted, observed))
      actor_loss = tf.reduce_mean(gains)
    correlation = field_decisions.correlation(predicted[:, -1], scans.log_errors)
    critic_norm = self._apply(_CRITIC, self.critic, critic_tape, critic_loss)
    actor_norm = self._apply(_ACTOR, self.actor, actor_tape, actor_loss)
    return critic_loss, correlation, actor_loss, critic_norm, actor_norm

  def _apply(self, number, network, tape, loss):
    """Takes one step of Adam with a clipped gradient; returns the gradient's norm."""
    variables = network.trainable_variables
    gradients = replicas.mean(tape.gradient(loss, variables, unconnected_gradients="zero"))
    gradients, norm = tf.clip_by_global_norm(gradients, self.experiment.optimisation.gradient_norm)
    self.rates[number].assign(self._rate(number))
    self.optimisers[number].apply(gradients, variables)
    return norm

  def _rate(self, number):
    """Returns a learning rate, which falls along a quarter of a cosine; the actor's starts late."""
    o = self.experiment.optimisation
    rate = (o.generator_rate, o.critic_rate, o.actor_rate)[number]
    share = tf.cast(self.iteration, tf.float32) / o.iterations
    rate *= tf.maximum(tf.cos(0.5 * np.pi * tf.minimum(share, 1.0)), _LOWEST_RATE)
    rate *= tf.minimum((tf.cast(self.iteration, tf.float32) + 1) / _WARM_UP, 1.0)
    return tf.where(share >= o.actor_from, rate, 0.0) if number == _ACTOR else rate

  def _move_averages(self):
    # Young averages follow quickly: (1 + t) / (10 + t), at most the decay.
    count = tf.cast(self.iteration, tf.float32)
    decay = tf.minimum(self.experiment.optimisation.average_decay, (1 + count) / (10 + count))
    if self.experiment.optimisation.generator_rate:  # an average of equal weights would be rounded
      targets.move(self.generator, self.average_generator, decay)
    targets.move(self.actor, self.average_actor, decay)

  def _empty_scans(self):
    """Returns the specs of a scan as the replay keeps it."""
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
