"""One training iteration of a distortion correction: a cyclic GAN, or its paired bound.

METHOD section 10, SI S5.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config, randomness, replicas, specimens
from adaptive_stem_tf.correction import adversarial, history, unpaired
from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.correction.unpaired import Taken, UnpairedScans
from adaptive_stem_tf.learning import alrc, base, losses, optimisers
from adaptive_stem_tf.networks import discriminator, distorter, generator, infill, initialisers
from adaptive_stem_tf.scan import partial_scan
from adaptive_stem_tf.types import CycleMetrics, Draw


class Batch(NamedTuple):
  """The data of an iteration."""

  nominal: tf.Tensor  # [B, P, 2] px
  intensities: tf.Tensor  # [B, P]
  displacements: tf.Tensor  # [B, P, 2] px, actual minus nominal; not learnt from
  partial: tf.Tensor  # [B, S, S, 2], the scans drawn at nominal positions: I_partial and M
  truth: tf.Tensor  # [B, S, S, 1], the crops that were scanned, filtered as targets are
  rasters: tf.Tensor  # [B, S, S, 1], of other crops, as they would be measured
  targets: tf.Tensor  # [B, S, S, 1], the rasters, filtered


def make_distorter(experiment: Correction, weights: initialisers.Weights) -> distorter.Distorter:
  """Returns the distorter of a configuration, with initial weights from `weights`."""
  cycle = experiment.cycle
  sizes = config.Generator(
    channels=cycle.distorter_channels,
    blocks=cycle.distorter_blocks,
    batch_norm_decay=experiment.generator.batch_norm_decay,
  )
  return distorter.make_distorter(cycle.distorter, sizes, cycle.greatest_displacement, weights)


class CycleLearner(base.BaseLearner):
  """Corrector G_pr, distorter G_rp, two discriminators, their optimisers, and the step that trains
  them.

  Everything that training changes is a variable below this module.
  """

  def __init__(
    self,
    experiment: Correction,
    scans: UnpairedScans,
    jit: str = "auto",
    name: str = "cycle_learner",
  ):
    """Makes the learner.

    Args:
      experiment: the configuration.
      scans: training data; referred to, not copied. If they are arrays, such as memory-mapped
        files, each draw brings its rows of them.
      jit: what XLA compiles: `all` or, on a GPU, `auto` the whole step; else nothing.
      name: of the module.
    """
    super().__init__(experiment, name)
    self.scans, self._size = scans, scans.rasters.shape[1]
    if not tf.is_tensor(scans.rasters):
      self.streamed = unpaired.stream(scans, experiment.optimisation.batch_size, experiment.seed)
    self._make_networks()
    self._make_optimisers()
    self.compile_step(self._train, jit)

  @property
  def num_specimens(self) -> int:
    """Number of crops that draws choose from."""
    return self.scans.intensities.shape[0]

  def status(self, row: Mapping[str, float]) -> str:
    """Describes the progress of training in a few words, from mean metrics of some iterations."""
    return (
      f"10 MSE {row['error']:.3f}, cycles {row['raster_cycle']:.4f} {row['partial_cycle']:.4f}, "
      f"discriminators {row['raster_discriminator']:.2f} {row['partial_discriminator']:.2f}"
    )

  def step(self, draw: Draw) -> CycleMetrics:
    """Trains for one iteration; see `BaseLearner.step`."""
    return super().step(draw) if self.streamed is None else self._step(*draw)

  def _train(
    self, index: tf.Tensor, transform: tf.Tensor, taken: Taken | tuple[()] = ()
  ) -> CycleMetrics:
    """Does one iteration. All gradients use the weights before the step."""
    batch = self.batch(Draw(*replicas.share((index, transform, taken))))
    learn = self._learn_paired if self.experiment.cycle.paired else self._learn_unpaired
    metrics = learn(batch)
    self.iteration.assign_add(1)
    return metrics

  # Construction.

  def _make_networks(self):
    e = self.experiment
    cycle, size = e.cycle, self._size
    weights = initialisers.Weights(e.seed)
    self.corrector = generator.Generator(e.generator, "corrector", weights=weights)
    self.distorter = make_distorter(e, weights)
    plain = cycle.adversarial == "plain"
    self.raster_discriminator, self.partial_discriminator = (
      discriminator.Discriminator(cycle.discriminator_channels, plain, name, weights)
      for name in ("raster_discriminator", "partial_discriminator")
    )
    self.raster_history, self.partial_history = (
      history.History(cycle.history, (size, size, channels))
      if cycle.history
      else history.NoHistory()
      for channels in (1, View.channels)
    )
    raster, partial, nominal = (
      tf.zeros([1, size, size, 1]),
      tf.zeros([1, size, size, 2]),
      tf.constant(self.scans.nominal[:1, 0]),
    )
    self.corrector(partial, is_training=False)  # creates variables, as every call here does
    self.distorter(raster, raster, nominal, is_training=False)
    self.raster_discriminator(raster), self.partial_discriminator(View(nominal, size).show(partial))

  def _make_optimisers(self):
    o = self.experiment.optimisation
    self.rate_share = tf.Variable(1.0, trainable=False, name="rate_share")
    self.rates = {
      name: tf.Variable(rate, trainable=False, name=f"{name}_rate")
      for name, rate in self._base_rates()
    }
    self.optimisers = {
      name: optimisers.make_adam(rate, self._weights(name), o.momentum)
      for name, rate in self.rates.items()
    }
    self.moments = [base.make_moments() for _ in range(2)]

  def _base_rates(self) -> list[tuple[str, float]]:
    """Returns pairs of the name of what is trained and its learning rate at the start."""
    o = self.experiment.optimisation
    pairs = [("corrector", o.corrector_rate)]
    if not self.experiment.cycle.paired:
      pairs += [("distorter", o.distorter_rate), ("discriminators", o.discriminator_rate)]
    return pairs

  def _weights(self, name: str) -> list[tf.Variable]:
    networks: dict[str, list[snt.Module]] = {
      "corrector": [self.corrector],
      "distorter": [self.distorter],
      "discriminators": [self.raster_discriminator, self.partial_discriminator],
    }
    return [weight for network in networks[name] for weight in network.trainable_variables]

  # Data.

  def batch(self, draw: Draw) -> Batch:
    """Returns the drawn partial scans, and as many rasters of other crops."""
    sigma, transform = (
      self.experiment.data.filter_sigma,
      draw.transform % self.scans.nominal.shape[1],
    )
    count, seed = draw.index.shape[0], self.stream(randomness.Purpose.RASTER)
    random = replicas.drawn(
      tf.random.stateless_uniform, [2, count], seed, *unpaired.CHOICES, axis=1
    )
    data = self._take(draw, transform, random[0])
    nominal, intensities, displacements = data[:3]
    truth = specimens.transform(data.scanned, transform)
    rasters = specimens.transform(data.rasters, random[1] % specimens.TRANSFORMS)
    targets = specimens.low_pass(rasters, sigma)
    measured = targets if self.experiment.data.filter_observations else rasters
    return Batch(
      nominal,
      intensities,
      displacements,
      partial_scan.draw_at(intensities, nominal, self._size),
      specimens.low_pass(truth, sigma),
      measured,
      targets,
    )

  def _take(self, draw, transform, rasters) -> Taken:
    """Returns the rows of the scans for a draw, which a streamed draw brings along."""
    if draw.images:
      return Taken(*draw.images)
    if self.streamed is None:
      return unpaired.gather(self.scans, draw.index, transform, rasters)
    # Streamed, and the draw brings no rows: it is one of correction.pictures, between steps.
    arrays = Draw(draw.index.numpy(), draw.transform.numpy())
    return Taken(*map(tf.constant, self.streamed.read(int(self.iteration), arrays)))

  # The cyclic GAN.

  def _learn_unpaired(self, batch: Batch) -> CycleMetrics:
    kind, view = self.experiment.cycle.adversarial, View(batch.nominal, self._size)
    mask = batch.partial[..., 1:]
    with tf.GradientTape(persistent=True) as tape:
      corrected = self.corrector(batch.partial, is_training=True)
      simulated = self.distorter(batch.rasters, mask, batch.nominal, is_training=True)
      partial = partial_scan.draw_at(simulated, batch.nominal, self._size)
      returned = self.distorter(corrected, mask, batch.nominal, is_training=True)
      # After training the corrector gets real scans only, so its statistics are of these alone.
      recovered = self.corrector(partial, is_training=True, update_statistics=False)
      cycles = (
        adversarial.partial_cycle_loss(returned, batch.intensities),
        adversarial.raster_cycle_loss(recovered, batch.targets),
      )
      adversarial_losses = (
        adversarial.generator_loss(self.raster_discriminator(corrected), kind),
        adversarial.generator_loss(self.partial_discriminator(view.show(partial)), kind),
      )
      totals = self._totals(adversarial_losses, cycles)
    gradients = [
      tape.gradient(total, self._weights(name))
      for total, name in zip(totals, ("corrector", "distorter"))
    ]
    generated = (
      self.raster_history.exchange(corrected, self.stream(randomness.Purpose.RASTER_HISTORY)),
      self.partial_history.exchange(
        view.show(partial), self.stream(randomness.Purpose.PARTIAL_HISTORY)
      ),
    )
    discriminator_losses, discriminator_gradients = self._discriminate(
      batch.targets, view.show(batch.partial), *generated
    )
    norms = self._apply(
      corrector=gradients[0], distorter=gradients[1], discriminators=discriminator_gradients
    )
    mean_adversarial, mean_cycles = (
      [tf.reduce_mean(part) for part in parts] for parts in (adversarial_losses, cycles)
    )
    return CycleMetrics(
      error=tf.reduce_mean(losses.completion_loss(corrected, batch.truth)),
      displacement_error=self._displacement_error(batch),
      raster_adversarial=mean_adversarial[0],
      partial_adversarial=mean_adversarial[1],
      partial_cycle=mean_cycles[0],
      raster_cycle=mean_cycles[1],
      raster_discriminator=discriminator_losses[0],
      partial_discriminator=discriminator_losses[1],
      corrector_gradient=norms[0],
      distorter_gradient=norms[1],
      discriminator_gradient=norms[2],
      corrector_rate=self.rates["corrector"].read_value(),
    )

  def _totals(self, adversarial_losses, cycles):
    """Returns the losses of corrector and distorter: SI eqs. S8 and S9, their sum for both, or the
    same with the cycle losses exchanged.
    """
    cycle = self.experiment.cycle
    cycles = cycles[::-1] if cycle.totals == "back" else cycles
    weights = (cycle.raster_adversarial_weight, 1.0)
    totals = [
      weight * adversarial_loss + cycle.cycle_weight * cycle_loss
      for weight, adversarial_loss, cycle_loss in zip(weights, adversarial_losses, cycles)
    ]
    if cycle.correction_alrc:
      for number, moments in enumerate(self.moments):
        totals[number], next_moments = alrc.clip(
          totals[number], moments, config.Loss().alrc_deviations
        )
        base.assign(moments, next_moments)
    totals = [tf.reduce_mean(total) for total in totals]
    return [sum(totals)] * 2 if cycle.totals == "joint" else totals

  def _displacement_error(self, batch):
    """Returns the error (rms, px) of the distorter's displacements as those of the microscope."""
    predicted = self.distorter.displacements(
      batch.partial[..., 1:], batch.nominal, is_training=False
    )
    return tf.sqrt(
      tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(predicted, batch.displacements), -1))
    )

  def _discriminate(self, rasters, partial, generated_rasters, generated_partial):
    """Returns the losses of both discriminators, and the gradients of their sum."""
    kind = self.experiment.cycle.adversarial
    with tf.GradientTape() as tape:
      pairs = (
        (self.raster_discriminator, rasters, generated_rasters),
        (self.partial_discriminator, partial, generated_partial),
      )
      discriminator_losses = [
        adversarial.discriminator_loss(network(real), network(generated), kind)
        for network, real, generated in pairs
      ]
      total = tf.add_n(discriminator_losses)
    return discriminator_losses, tape.gradient(total, self._weights("discriminators"))

  # Its bound.

  def _learn_paired(self, batch: Batch) -> CycleMetrics:
    with tf.GradientTape() as tape:
      corrected = self.corrector(batch.partial, is_training=True)
      total = tf.reduce_mean(losses.completion_loss(corrected, batch.truth))
    norms = self._apply(corrector=tape.gradient(total, self._weights("corrector")))
    not_trained = dict.fromkeys(CycleMetrics._fields, tf.zeros([]))
    return CycleMetrics(
      **{
        **not_trained,
        "error": total,
        "corrector_gradient": norms[0],
        "corrector_rate": self.rates["corrector"].read_value(),
      }
    )

  # Updates.

  def _apply(self, **gradients: Any) -> list[tf.Tensor]:
    """Updates the networks' weights; returns the gradients' global norms."""
    o = self.experiment.optimisation
    gradients = replicas.mean(gradients)
    left = 1.0 - tf.cast(self.iteration, tf.float32) / o.iterations
    self.rate_share.assign(tf.minimum(1.0, left / max(1.0 - o.constant_share, 1e-9)))
    for name, rate in self._base_rates():
      self.rates[name].assign(self.rate_share * rate)
      self.optimisers[name].apply(gradients[name], self._weights(name))
    return [tf.linalg.global_norm(gradient) for gradient in gradients.values()]


class View:
  """The form in which a discriminator gets partial scans.

  They are infilled from the nearest probe, with the mask, and with the direction in which the beam
  moved at that probe. Lines that are displaced against each other then have ragged edges, and the
  direction of their displacement shows.
  """

  channels = 4

  def __init__(self, positions: tf.Tensor, size: int):
    """Makes the view of scans at nominal positions [B, P, 2] px, in images of a side in px."""
    steps = distorter.steps(positions)
    heading = steps / (tf.norm(steps, axis=-1, keepdims=True) + 1e-6)
    maps = [partial_scan.draw_at(heading[..., axis], positions, size) for axis in range(2)]
    self._mask = maps[0][..., 1:]
    self._nearest = infill.nearest(self._mask[..., 0])
    self._heading = infill.at(tf.concat([part[..., :1] for part in maps], -1), self._nearest)

  def show(self, partial: tf.Tensor) -> tf.Tensor:
    """Returns partial scans [B, S, S, 2] in this form: [B, S, S, 4]."""
    return tf.concat([infill.at(partial[..., :1], self._nearest), self._mask, self._heading], -1)
