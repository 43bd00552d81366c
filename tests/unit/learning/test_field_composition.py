"""Three whole iterations of the learner of whole fields, recomputed.

Networks, losses and pure functions are those of the learner; seeds, wiring, replay, clipping,
Adam, rates and averages are written out here.
"""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import randomness, specimens
from adaptive_stem_tf.fields import rounds
from adaptive_stem_tf.learning import field_agent, field_decisions, field_exploration, field_losses
from adaptive_stem_tf.learning.field_replay import FieldScans
from adaptive_stem_tf.randomness import Purpose
from adaptive_stem_tf.types import Draw
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

# In the first iteration the generator learns alone, the actor from the third; the third overwrites
# in the replay, and in the second the averages' decay reaches its limit.
CHANGES = {
  "seed": 3,
  "rounds": 3,
  "generator_first": 0.1,
  "actor_from": 0.2,
  "capacity": 3,
  "average_decay": 0.15,
  "gradient_norm": 0.1,
  "generator_rate": 0.3,
  "critic_rate": 0.2,
  "actor_rate": 0.1,
}
NAMES = ("generator", "critic", "actor")


class Reference:
  """What the learner should do to its variables."""

  def __init__(self, learner):
    self.e, self.images = learner.experiment, learner._images
    self.networks, self.learner = field_agent.make_networks(self.e), learner
    self.moments = {name: [] for name in NAMES}
    self.held = []  # replayed scans in the order in which they were added

  def stream(self, purpose):
    return randomness.stream(self.e.seed, purpose, self.t)

  def copy_weights(self):
    """Starts from the learner's weights: rounding does not add up over iterations."""
    for name in (*NAMES, "average_generator", "average_actor"):
      pairs = zip(getattr(self.networks, name).variables, getattr(self.learner, name).variables)
      for ours, theirs in pairs:
        ours.assign(theirs)

  def step(self, t, draw):
    """Carries out iteration t; returns the metrics."""
    self.t = t
    self.copy_weights()
    random, alone = np.random.default_rng([self.e.seed, Purpose.CROP, t]), t == 0
    index, transform, side = draw.index.numpy(), draw.transform.numpy(), 64
    if alone:  # as many pixels
      index, transform, side = random.integers(4, size=8), random.integers(8, size=8), 32
    crops = []
    for field in (self.images[number] for number in index):
      row = random.integers(field.shape[0] - side + 1)
      column = random.integers(field.shape[1] - side + 1)
      crops.append(np.float32(field[row : row + side, column : column + side]))
    specimen = specimens.transform(tf.constant(np.stack(crops)), tf.constant(transform, tf.int32))
    target = specimens.low_pass(specimen, self.e.data.target_sigma)
    measured = field_exploration.with_noise(specimen, self.e.data, self.stream(Purpose.DOSE))
    plan = field_exploration.draw_plan(
      self.e.scan, 1 if alone else 3, specimen.shape, self.stream(Purpose.COVERAGE)
    )
    scanned = self.scan(measured, plan, alone)
    error = np.square(scanned.completion.mean - target)
    metrics = [np.exp(np.log(10 * error.mean((1, 2, 3)) + 1e-9).mean())]
    if not alone:
      self.held += self.entries(scanned, plan, error)
    metrics += self.complete(measured, target, scanned.masks)
    metrics += [0, 0, 0, metrics.pop(), 0, 0] if alone else self.decide(metrics.pop())
    decay = min(0.15, (1 + t) / (10 + t))
    for name in ("generator", "actor"):
      network, average = getattr(self.networks, name), getattr(self.networks, f"average_{name}")
      for weight, mean in zip(network.variables, average.variables, strict=True):
        mean.assign(decay * mean.numpy() + (1 - decay) * weight.numpy())
    return [*metrics, self.rate("generator")]

  def scan(self, measured, plan, alone):
    shape = [len(measured), measured.shape[1] // 8, measured.shape[2] // 8, 1]
    behave = field_exploration.Behaviour(
      self.e.exploration, shape, self.stream(Purpose.EXPLORATION)
    )

    def explore(cells, state):
      number, recurrent = state
      if alone:
        return behave(0.5 * cells.gradient, 0), state
      weights, recurrent = self.networks.actor(cells, recurrent)
      return behave(weights, number), (number + 1, recurrent)

    generator = self.networks.generator
    return rounds.scan(
      measured, plan, explore, (0, tf.zeros([*shape[:3], self.e.networks.policy_channels])),
      generator.plain if alone else generator, 8,
    )  # fmt: skip

  def entries(self, scanned, plan, error):
    """Returns what is kept of each scan, in half precision."""
    cells = error.reshape(len(error), 8, 8, 8, 8, 1).mean((2, 4))
    coverage = np.log(plan.counts[-1].numpy() / 64**2)
    parts = (
      scanned.features, scanned.gradient, scanned.uncertainty, scanned.actions,
      np.log(cells + field_losses.FLOOR), coverage,
    )  # fmt: skip
    return [tuple(np.float16(part[k]) for part in parts) for k in range(len(error))]

  def complete(self, measured, target, masks):
    """Trains the generator; returns ratio, uncertainty and the gradient's norm."""
    last, batch = masks.shape[0] - 1, masks.shape[1]
    which = tf.random.stateless_uniform(
      [batch], self.stream(Purpose.TRUNCATION), 0, 2 * last + 1, tf.int32
    )
    mask = tf.stack([masks[min(int(number), last), k] for k, number in enumerate(which)])
    with tf.GradientTape() as tape:
      mean, log_variance, plain, _ = self.networks.generator(measured * mask, mask)
      squared = tf.square(mean - target)
      ratio = field_losses.relative_log_error(
        *(tf.reduce_mean(one, [1, 2, 3]) for one in (squared, tf.square(plain - target)))
      )
      uncertainty = field_losses.uncertainty_loss(log_variance, squared)
      loss = tf.reduce_mean(ratio) + 0.2 * tf.reduce_mean(uncertainty)
    return [np.mean(ratio), np.mean(uncertainty), self.descend("generator", tape, loss)]

  def decide(self, generator_norm):
    """Trains critic and actor on replayed scans; returns the metrics from the critic's loss."""
    held = self.held[-3:]
    # The ring begins anew at its first row: the third scan is followed by the fourth.
    rows = held if len(self.held) <= 3 else [held[-1], *held[:-1]]
    drawn = tf.random.stateless_uniform(
      [3], self.stream(Purpose.SAMPLING), maxval=len(rows), dtype=tf.int64
    )
    scans = FieldScans(
      *(tf.constant(np.stack(part), tf.float32) for part in zip(*(rows[k] for k in drawn.numpy())))
    )
    with tf.GradientTape() as critic, tf.GradientTape() as actor:
      predicted, gains = field_decisions.evaluate(self.networks.actor, self.networks.critic, scans)
      observed = tf.tile(scans.log_errors[:, None], [1, 3, 1, 1, 1])
      critic_loss = tf.reduce_mean(field_losses.map_loss(predicted, observed))
      gain = tf.reduce_mean(gains)
    last = np.ravel(predicted[:, -1]), np.ravel(scans.log_errors)
    norms = self.descend("critic", critic, critic_loss), self.descend("actor", actor, gain)
    return [critic_loss, np.corrcoef(*last)[0, 1], gain, generator_norm, *norms]

  def rate(self, name):
    """Returns a learning rate of this iteration, of 10."""
    highest = {"generator": 0.3, "critic": 0.2, "actor": 0.1 * (self.t >= 2)}[name]
    return highest * np.cos(np.pi / 2 * self.t / 10) * (self.t + 1) / 100

  def descend(self, name, tape, loss):
    """Takes one step of Adam (Kingma & Ba, algorithm 1); returns the gradient's norm."""
    weights = getattr(self.networks, name).trainable_variables
    gradients = [g.numpy() for g in tape.gradient(loss, weights, unconnected_gradients="zero")]
    norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
    self.moments[name].append([gradient * min(1, 0.1 / norm) for gradient in gradients])
    count = len(self.moments[name])
    for number, weight in enumerate(weights):
      first = second = 0.0
      for gradient in (moment[number] for moment in self.moments[name]):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
      step = (first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
      weight.assign_sub(np.float32(self.rate(name) * step))
    return norm


def draw(number):
  random = np.random.default_rng(number)
  return Draw(tf.constant(random.integers(4, size=2)), tf.constant(random.integers(8, size=2)))


def test_three_iterations_move_every_variable_as_the_pure_functions_say():
  learner = tiny.field_learner(**CHANGES)
  reference = Reference(learner)
  for t in range(3):
    expected = reference.step(t, draw(t))
    metrics = learner.step(draw(t))
    for name, ours, theirs in zip(metrics._fields, metrics, expected, strict=True):
      np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=f"{name} of {t}")
    for name in (*NAMES, "average_generator", "average_actor"):
      pairs = zip(getattr(learner, name).variables, getattr(reference.networks, name).variables)
      for ours, theirs in pairs:
        # The smallest rate is 2e-3.
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=f"{ours.name} of {name}, {t}")
  assert int(learner.iteration) == 3 and int(learner.replay.added) == 4 == len(reference.held)
  kept = [*reference.held[3:], *reference.held[1:3]]
  for ours, theirs in zip(learner.replay.storage, zip(*kept), strict=True):
    np.testing.assert_allclose(ours, np.stack(theirs), atol=2e-3, rtol=2e-3)
