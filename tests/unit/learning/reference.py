"""Training iterations recomputed from the pure functions, eagerly.

The reference shares networks, paths, losses and schedules with the learner, each of which has
tests of its own. What it does not share is everything in between: which seed, which tensor, which
gradient and which variable go where. Optimisers, clipping, soft copies, replay and targets are in
NumPy.
"""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, randomness, specimens
from adaptive_stem_tf.learning import alrc, losses, noise, schedules
from adaptive_stem_tf.scan import steering

_STREAMS = 64  # seeds apart


def arrays(variables):
  """Returns copies of the values of variables."""
  return [variable.numpy().copy() for variable in variables]


class Adam:
  """Kingma & Ba (2014), with bias correction."""

  def __init__(self, weights):
    self.step = 0
    self.m, self.v = ([np.zeros(weight.shape, np.float32) for weight in weights] for _ in range(2))

  def apply(self, weights, gradients, rate):
    self.step += 1
    for k, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
      self.m[k] = 0.9 * self.m[k] + 0.1 * gradient
      self.v[k] = 0.999 * self.v[k] + 0.001 * np.square(gradient)
      mean, square = self.m[k] / (1 - 0.9**self.step), self.v[k] / (1 - 0.999**self.step)
      weight.assign_sub(np.float32(rate * mean / (np.sqrt(square) + 1e-8)))

  def state(self):
    return [("step", self.step), *enumerate([*self.m, *self.v])]


class RMSProp:
  """TensorFlow 1's."""

  def __init__(self, weights):
    self.mean_square = [np.ones(weight.shape, np.float32) for weight in weights]

  def apply(self, weights, gradients, rate):
    for k, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
      self.mean_square[k] = 0.9 * self.mean_square[k] + 0.1 * np.square(gradient)
      weight.assign_sub(np.float32(rate * gradient / np.sqrt(self.mean_square[k] + 1e-10)))

  def state(self):
    return list(enumerate(self.mean_square))


class SGD:
  """Plain gradient descent."""

  def __init__(self, weights):
    del weights

  def apply(self, weights, gradients, rate):
    for weight, gradient in zip(weights, gradients, strict=True):
      weight.assign_sub(np.float32(rate) * gradient)

  def state(self):
    return []


OPTIMISERS = {"adam": Adam, "rmsprop": RMSProp, "sgd": SGD}


class Clipper:
  """Gradient clipping (SI S2)."""

  def __init__(self, settings):
    self.settings, self.running, self.count = settings, 0.0, 0

  def __call__(self, gradients):
    kind, threshold = self.settings.clip, self.settings.clip_threshold
    norm = float(
      np.sqrt(sum(np.sum(np.square(gradient, dtype=np.float64)) for gradient in gradients))
    )
    if kind == "none":
      return gradients, norm
    if kind == "value":
      return [np.clip(gradient, -threshold, threshold) for gradient in gradients], norm
    if kind == "running_norm":
      self.count += 1
      self.running = 0.99 * self.running + 0.01 * norm
      threshold *= self.running / (1 - 0.99**self.count)
    return [gradient * np.float32(min(1.0, threshold / norm)) for gradient in gradients], norm


class Replay:
  """Rows of scans (METHOD section 5)."""

  def __init__(self, settings: config.Replay, scan: config.ScanGeometry, width: int):
    self.settings, self.added = settings, 0
    rows = settings.capacity
    self.observations = np.zeros([rows, scan.segments, scan.probes], np.float32)
    self.actions = np.zeros([rows, scan.segments, width], np.float32)
    self.index, self.transform = (np.zeros(rows, np.int32) for _ in range(2))
    self.priority, self.sampled = np.zeros(rows, np.float32), np.zeros(rows, bool)

  def add(self, trajectory, draw, seed):
    capacity, batch = self.settings.capacity, len(draw.index)
    start = self.added % capacity
    if self.settings.overwrite == "random" and self.added >= capacity:
      start = int(tf.random.stateless_uniform([], seed, maxval=capacity, dtype=tf.int64))
    rows = (start + np.arange(batch)) % capacity
    self.observations[rows], self.actions[rows] = trajectory.observations, trajectory.actions
    self.index[rows], self.transform[rows] = draw.index, draw.transform
    self.priority[rows] = self.priority[self.sampled].mean() if self.sampled.any() else 1.0
    self.sampled[rows] = False
    self.added += batch

  def sample(self, uniform, beta):
    size = min(self.added, self.settings.capacity)
    if not self.settings.prioritised:
      return np.minimum((uniform * np.float32(size)).astype(int), size - 1), np.ones(
        len(uniform), np.float32
      )
    powers = np.power(self.priority[:size], self.settings.priority_alpha)
    share = powers / powers.sum()
    rows = np.minimum(np.searchsorted(np.cumsum(share), uniform, side="right"), size - 1)
    weights = np.power(size * share[rows], -beta)
    return rows, np.float32(weights / weights.max())

  def reward(self, rows, errors):
    if not self.settings.prioritised:
      return
    for row in set(rows):  # a scan that was drawn twice keeps the mean of its errors
      self.priority[row] = errors[rows == row].mean()
      self.sampled[row] = True


class Reference:
  """A training, recomputed.

  Its networks, path and view of intensities are those of a twin: a learner with the same initial
  weights, which is not trained otherwise.
  """

  def __init__(self, twin):
    self.twin, self.e, self.iteration = twin, twin.experiment, 0
    e, o = self.e, self.e.optimisation
    self.replay = Replay(e.replay, e.scan, twin.path.action_size)
    self.generator_optimiser = OPTIMISERS[o.generator_optimiser](twin.generator.trainable_variables)
    self.critic_optimiser, self.actor_optimiser = (
      OPTIMISERS[o.optimiser](network.trainable_variables) for network in (twin.critic, twin.actor)
    )
    self.critic_clipper, self.actor_clipper = Clipper(o), Clipper(o)
    self.loss_moments, self.generator_moments = (
      alrc.Moments(*alrc.INITIAL_MOMENTS) for _ in range(2)
    )
    self.loss_mean, self.generator_rate = alrc.INITIAL_MEAN, o.generator_rate
    self.scanned = 0

  def seed(self, purpose):
    return tf.constant([_STREAMS * self.e.seed + purpose, self.iteration], tf.int64)

  def step(self, draw):
    """Trains for one iteration; returns its metrics by name."""
    e, twin = self.e, self.twin
    observations, actions, rows, weights, source = self.replayed(draw)
    kept = e.optimisation.batch_size
    cut = None
    if e.scan.truncate:
      kept -= kept // 2
      count = tf.random.stateless_uniform(
        [e.optimisation.batch_size - kept],
        self.seed(randomness.Purpose.TRUNCATION),
        1,
        e.scan.decisions + 1,
        tf.int32,
      )
      cut = tf.concat([tf.fill([kept], e.scan.segments), count], 0)
    partial, target = self.pair(observations, actions, source, cut)
    errors, given, of_generator = self.complete(
      partial, target, twin.network_inputs.range_of(observations, cut)
    )
    final = self.reinforcement(given[:kept])
    metrics = {
      "generator_loss": errors[:kept].mean(),
      "reinforcement_loss": final.mean(),
      "critic_loss": 0.0,
      "actor_loss": 0.0,
      "over_edge": 0.0,
      "coverage": partial.numpy()[:kept, ..., 1].mean(),
      "critic_gradient": 0.0,
      "actor_gradient": 0.0,
    }
    if twin.path.learns:
      outside = steering.over_edge(actions, e.scan).numpy()
      metrics["over_edge"] = outside.mean()
      found = self.evaluate(observations, actions, weights, final, outside, cut, errors)
      metrics.update(found["metrics"])
      self.replay.reward(rows, found["td"])
    metrics.update(self.update(of_generator, found["gradients"] if twin.path.learns else None))
    self.iteration += 1
    return metrics

  # Scanning and replay.

  def replayed(self, draw):
    e, twin, purposes = self.e, self.twin, randomness.Purpose
    images = specimens.transform(tf.gather(twin.images, draw.index), draw.transform)
    if e.data.filter_observations:
      images = specimens.low_pass(images, e.data.filter_sigma)
    normal = tf.random.stateless_normal(
      [len(draw.index), e.scan.segments, steering.make_steering(e.scan).width],
      self.seed(purposes.EXPLORATION),
    )
    exploration = noise.ornstein_uhlenbeck(
      normal, e.exploration, schedules.exploration_scale(self.iteration, e)
    )
    period = e.replay.adding_decay * e.optimisation.iterations
    probability = 1 / max(self.iteration // period, 1) if period else 1.0
    adding = float(tf.random.stateless_uniform([], self.seed(purposes.ADDING))) < probability
    if not e.replay.capacity:
      trajectory = twin.path.scan(images, exploration, self.seed(purposes.WALK))
      batch = len(draw.index)
      return (
        trajectory.observations,
        trajectory.actions,
        np.arange(batch),
        np.ones(batch, np.float32),
        draw,
      )
    if adding:
      trajectory = twin.path.scan(images, exploration, self.seed(purposes.WALK))
      self.replay.add(trajectory, draw, self.seed(purposes.OVERWRITE))
      self.scanned += 1
    share = self.iteration / e.optimisation.iterations
    beta = e.replay.priority_beta + (1 - e.replay.priority_beta) * share
    uniform = tf.random.stateless_uniform([len(draw.index)], self.seed(purposes.SAMPLING)).numpy()
    rows, weights = self.replay.sample(uniform, beta)
    held = self.replay
    source = draw._replace(
      index=tf.constant(held.index[rows]), transform=tf.constant(held.transform[rows])
    )
    return (
      tf.constant(held.observations[rows]),
      tf.constant(held.actions[rows]),
      rows,
      weights,
      source,
    )

  # Generator.

  def pair(self, observations, actions, source, cut):
    e = self.e
    partial = self.twin.path.draw(observations, actions, cut)
    target = specimens.transform(tf.gather(self.twin.images, source.index), source.transform)
    target = specimens.low_pass(target, e.data.filter_sigma)
    if not e.data.augment:
      return partial, target
    turn = tf.random.stateless_uniform(
      [len(source.index)], self.seed(randomness.Purpose.AUGMENTATION), 0, 8, tf.int32
    )
    return specimens.transform(partial, turn), specimens.transform(target, turn)

  def complete(self, partial, target, found):
    """Returns 10 MSE and the loss given to the critic, [B] each, and the generator's gradients."""
    twin, settings = self.twin, self.e.loss
    with tf.GradientTape() as tape:
      completed = twin.network_inputs.complete(twin.generator, partial, found, is_training=True)
      each = losses.completion_loss(completed, target, settings.generator_loss)
      each += settings.sobel_weight * 10 * losses.sobel_loss(completed, target)
      if settings.generator_alrc:
        each, self.generator_moments = alrc.clip(
          each, self.generator_moments, settings.alrc_deviations, settings.alrc_decay
        )
      total = tf.reduce_sum(each)
    gradients = arrays_of(tape.gradient(total, twin.generator.trainable_variables))
    valued = completed
    if self.e.optimisation.target_generator:
      valued = twin.network_inputs.complete(
        twin.target_generator, partial, found, is_training=False
      )
    return (
      losses.completion_loss(completed, target).numpy(),
      losses.completion_loss(valued, target, settings.rl_loss).numpy(),
      gradients,
    )

  def reinforcement(self, given):
    settings = self.e.loss
    if settings.alrc:
      given, self.loss_moments = alrc.clip(
        tf.constant(given), self.loss_moments, settings.alrc_deviations, settings.alrc_decay
      )
      given = given.numpy()
    if settings.normalise_loss:
      decay = settings.loss_mean_decay
      self.loss_mean = decay * self.loss_mean + (1 - decay) * given.mean()
      given = given / self.loss_mean
    return np.float32(given)

  # Critic and actor.

  def evaluate(self, observations, actions, weights, final, outside, cut, errors):
    e, twin, scan = self.e, self.twin, self.e.scan
    seen = twin.network_inputs.of_actor(observations)[:, : scan.decisions]
    replayed = actions[:, scan.decision_delay : -1]
    starts = steering.segments(actions, scan).starts[:, : scan.decisions]
    targets = self.targets(seen, replayed, starts, final, outside[:, scan.decision_delay :])
    with tf.GradientTape() as tape:
      q, _ = twin.critic(seen, replayed, replayed)
      td = tf.reduce_mean(tf.square(q[: len(final)] - targets), 1)
      critic_loss = tf.reduce_mean(weights[: len(final)] * td)
    of_critic = tape.gradient(critic_loss, twin.critic.trainable_variables)
    with tf.GradientTape() as tape:
      features = twin.actor.features(seen, starts)
      live = twin.actor.action(features)
      if e.optimisation.action_gradient == "replayed":
        live += tf.stop_gradient(replayed - live)
      actor_loss = learnt = tf.reduce_mean(twin.critic(seen, replayed, live)[1])
      if cut is not None:
        predicted = twin.actor.error_head(features)[..., 0]
        rows = range(len(final), len(predicted))
        present = tf.stack([predicted[row, int(cut[row]) - 1] for row in rows])
        learnt += tf.reduce_mean(tf.square(present - errors[len(final) :]))
    of_actor = tape.gradient(learnt, twin.actor.trainable_variables)
    return {
      "metrics": {"critic_loss": float(critic_loss), "actor_loss": float(actor_loss)},
      "td": td.numpy(),
      "gradients": (arrays_of(of_critic), arrays_of(of_actor)),
    }

  def targets(self, seen, replayed, starts, final, outside):
    """Returns y [whole, T-1], step by step from the last (METHOD section 6, SI eq. S3)."""
    e, twin, settings = self.e, self.twin, self.e.loss
    chooser = twin.target_actor if e.optimisation.target_actor else twin.actor
    future = twin.target_critic(seen, replayed, chooser.unroll(seen, starts))[1].numpy()
    rewards = settings.over_edge_penalty * np.float32(outside)[: len(final)]
    rewards[:, -1] += final
    bellman, supervised = rewards.copy(), rewards.copy()
    for t in range(rewards.shape[1] - 2, -1, -1):
      bellman[:, t] += settings.discount * future[: len(final), t + 1]
      supervised[:, t] += settings.discount * supervised[:, t + 1]
    share = {
      "none": 0.0,
      "full": 1.0,
      "start": max(1 - self.iteration / (0.1 * e.optimisation.iterations), 0.0),
    }
    s = share[settings.supervision]
    return s * supervised + (1 - s) * bellman

  # Updates.

  def update(self, of_generator, recurrent):
    twin, o = self.twin, self.e.optimisation
    metrics, weights = {"generator_gradient": 0.0}, twin.generator.trainable_variables
    self.generator_rate = float(schedules.generator_rate(tf.constant(self.iteration), o))
    if weights:
      self.generator_optimiser.apply(weights, of_generator, self.generator_rate)
      for weight in weights:
        weight.assign(np.float32(o.l2_decay) * weight)
      metrics["generator_gradient"] = Clipper(config.Optimisation())(of_generator)[1]
    moving = [(twin.generator, twin.target_generator)] if o.target_generator else []
    if recurrent:
      gradients, metrics["critic_gradient"] = self.critic_clipper(recurrent[0])
      self.critic_optimiser.apply(twin.critic.trainable_variables, gradients, o.critic_rate)
      gradients, metrics["actor_gradient"] = self.actor_clipper(recurrent[1])
      self.actor_optimiser.apply(twin.actor.trainable_variables, gradients, o.actor_rate)
      moving += [(twin.critic, twin.target_critic)] + (
        [(twin.actor, twin.target_actor)] if o.target_actor else []
      )
    n = o.iterations
    rho = o.target_decay ** (1 + max(0.1 * n - self.iteration, 0) / (0.01 * n))
    for network, copy in moving:
      for variable, moved in zip(network.variables, copy.variables, strict=True):
        value = rho * moved + (1 - rho) * variable if variable.dtype.is_floating else variable
        moved.assign(value)
    return {**metrics, "generator_rate": self.generator_rate}


def arrays_of(gradients):
  """Returns gradients as arrays; zeros would hide a missing one."""
  return [gradient.numpy() for gradient in gradients]
