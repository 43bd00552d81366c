"""One training iteration of a distortion correction."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.correction import cycle_learner
from adaptive_stem_tf.scan import partial_scan
from adaptive_stem_tf.types import CycleMetrics
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

NETWORKS = ("corrector", "distorter", "raster_discriminator", "partial_discriminator")
THRESHOLD = 1 + 3 * np.sqrt(3)  # of ALRC at its first moments


def values(module):
  return [variable.numpy() for variable in module.variables]


def moved(module, before):
  """Returns the share of variables that have changed."""
  return np.mean(
    [
      (variable.numpy() != kept).any()
      for variable, kept in zip(module.variables, before, strict=True)
    ]
  )


def excite(learner, rng):
  """Moves all weights away from where they start: a distorter's last layer starts at zero."""
  for name in NETWORKS:
    for weight in getattr(learner, name).trainable_variables:
      weight.assign_add(rng.normal(0, 0.2, weight.shape))


# Which network learns what.


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"totals": "back", "distorter": "warp", "history": 0},
    {"totals": "joint", "distorter": "residual"},
    {"adversarial": "plain", "correction_alrc": True, "raster_adversarial_weight": 0.0},
  ],
)
def test_a_step_trains_every_network(changes):
  learner = tiny.cycle_learner(**changes)
  before = {name: values(getattr(learner, name)) for name in NETWORKS}
  # of a distorter's layers only the last moves at first
  metrics = [learner.step(tiny.draw(k)) for k in range(2)]
  assert np.isfinite(metrics).all() and min(metrics[0][-4:]) > 0  # gradients, and a rate
  assert int(learner.iteration) == 2
  for name in NETWORKS:
    assert moved(getattr(learner, name), before[name]) > 0.9, name


def test_a_paired_step_trains_the_corrector_with_the_truth():
  learner, draw = tiny.cycle_learner(paired=True), tiny.draw()
  before, batch = {name: values(getattr(learner, name)) for name in NETWORKS}, learner.batch(draw)
  with tf.GradientTape() as tape:
    error = 10 * tf.reduce_mean(tf.square(learner.corrector(batch.partial, True) - batch.truth))
  gradients = tape.gradient(error, learner.corrector.trainable_variables)
  for variable, value in zip(learner.corrector.variables, before["corrector"]):
    variable.assign(value)
  metrics = learner.step(draw)
  assert moved(learner.corrector, before["corrector"]) > 0.9
  assert not any(moved(getattr(learner, name), before[name]) for name in NETWORKS[1:])
  np.testing.assert_allclose(metrics.error, error, rtol=1e-5)
  np.testing.assert_allclose(
    metrics.corrector_gradient, tf.linalg.global_norm(gradients), rtol=1e-4
  )
  kept = metrics._asdict()
  assert {name for name in CycleMetrics._fields if kept[name] != 0} == {
    "error",
    "corrector_gradient",
    "corrector_rate",
  }
  assert set(learner.optimisers) == {"corrector"}


def test_the_correctors_statistics_are_of_real_scans_alone():
  """In use it meets nothing else: simulated scans of rasters are another population."""
  learner, twin = tiny.cycle_learner(), tiny.cycle_learner()
  for theirs, ours in zip(twin.corrector.variables, learner.corrector.variables, strict=True):
    theirs.assign(ours)
  batch = learner.batch(tiny.draw())
  twin.corrector(batch.partial, is_training=True)
  learner.step(tiny.draw())
  trained = {id(weight) for weight in learner.corrector.trainable_variables}
  statistics = [
    (ours, theirs)
    for ours, theirs in zip(learner.corrector.variables, twin.corrector.variables, strict=True)
    if id(ours) not in trained
  ]
  assert len(statistics) > 10
  for ours, theirs in statistics:
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=ours.name)


def test_histories_swap_slots_of_their_own():
  learner = tiny.cycle_learner()
  swapped = {"raster_history": [], "partial_history": []}
  for iteration in range(6):
    before = {name: getattr(learner, name).images.numpy() for name in swapped}
    learner.step(tiny.draw(iteration))
    for name, slots in swapped.items():
      slots.append((getattr(learner, name).images.numpy() != before[name]).any((1, 2, 3)))
  raster, partial = (np.array(slots)[2:] for slots in swapped.values())  # two batches fill them
  assert raster.any() and partial.any() and (raster != partial).any()


def square(images):
  return tf.reduce_mean(tf.square(images))


def expected_gradients(learner, batch):
  """Returns what SI eqs. S4 to S9 give, written out for least squares; batches of statistics are
  moved.
  """
  cycle = learner.experiment.cycle
  mask, view = batch.partial[..., 1:], cycle_learner.View(batch.nominal, tiny.SIZE)
  fixed = tf.stop_gradient if cycle.totals == "back" else tf.identity
  draw = lambda intensities: partial_scan.draw_at(intensities, batch.nominal, tiny.SIZE)
  distort = lambda images: learner.distorter(images, mask, batch.nominal, True)
  with tf.GradientTape(persistent=True) as tape:
    corrected, partial = learner.corrector(batch.partial, True), draw(distort(batch.rasters))
    deceits = (
      square(learner.raster_discriminator(corrected)),
      square(learner.partial_discriminator(view.show(partial))),
    )
    of_partial = square(distort(fixed(corrected)) - batch.intensities)
    of_raster = square(learner.corrector(fixed(partial), True) - batch.targets)
    first, second = (of_raster, of_partial) if cycle.totals == "back" else (of_partial, of_raster)
    corrector = cycle.raster_adversarial_weight * deceits[0] + cycle.cycle_weight * first
    distorter = deceits[1] + cycle.cycle_weight * second
    if cycle.totals == "joint":
      corrector = distorter = corrector + distorter
    real, generated = (batch.targets, view.show(batch.partial)), (corrected, view.show(partial))
    judges = learner.raster_discriminator, learner.partial_discriminator
    judged = sum(
      square(judge(tf.stop_gradient(a))) + square(judge(tf.stop_gradient(b)) - 1)
      for judge, a, b in zip(judges, real, generated)
    )
  networks = ((learner.corrector,), (learner.distorter,), judges)
  return [
    tape.gradient(total, [weight for network in group for weight in network.trainable_variables])
    for total, group in zip((corrector, distorter, judged), networks)
  ]


@pytest.mark.parametrize("totals, weight", [("printed", 1.0), ("joint", 0.5), ("back", 0.3)])
def test_each_network_minimises_its_own_total(totals, weight, rng, monkeypatch):
  learner = tiny.cycle_learner(totals=totals, raster_adversarial_weight=weight, cycle_weight=3.0)
  excite(learner, rng)
  given = {}
  monkeypatch.setattr(
    learner, "_apply", lambda **gradients: given.update(gradients) or [tf.zeros([])] * 3
  )
  batch = learner.batch(tiny.draw())
  learner.step(tiny.draw())
  for name, expected in zip(
    ("corrector", "distorter", "discriminators"), expected_gradients(learner, batch)
  ):
    assert float(tf.linalg.global_norm(expected)) > 1e-3, name
    for number, (a, b) in enumerate(zip(given[name], expected, strict=True)):
      np.testing.assert_allclose(
        a, b, rtol=2e-3, atol=2e-3 * np.abs(b).max() + 1e-6, err_msg=f"{name} {number}"
      )


@pytest.mark.parametrize("totals", ["printed", "back"])
def test_a_distorter_learns_through_the_corrector_unless_by_back_translation(
  totals, rng, monkeypatch
):
  """Behind a corrector that gives nothing, the printed loss of a distorter does not depend on
  it.
  """
  learner, given = tiny.cycle_learner(totals=totals, distorter="residual"), {}
  excite(learner, rng)
  for weight in (
    *learner.partial_discriminator.trainable_variables,
    *learner.corrector.output.trainable_variables,
  ):
    weight.assign(tf.zeros_like(weight))
  monkeypatch.setattr(learner, "_apply", lambda **of: given.update(of) or [tf.zeros([])] * 3)
  learner.step(tiny.draw())
  norm = float(tf.linalg.global_norm(given["distorter"]))
  assert norm == 0 if totals == "printed" else norm > 0.1


def test_totals_are_clipped_by_alrc_example_by_example():
  deceived = tf.constant([0.5, 1.0]), tf.constant([0.25, 0.5])
  cycles = tf.constant([0.05, 2.0]), tf.constant([0.1, 0.2])
  plain, clipped = (tiny.cycle_learner(correction_alrc=given) for given in (False, True))
  np.testing.assert_allclose(
    plain._totals(deceived, cycles), [(1 + 21) / 2, (1.25 + 2.5) / 2], rtol=1e-6
  )
  np.testing.assert_allclose(
    clipped._totals(deceived, cycles), [(1 + THRESHOLD) / 2, (1.25 + 2.5) / 2], rtol=1e-6
  )
  assert [float(moment) for pair in plain.moments for moment in pair] == [1, 4, 1, 4]
  first, second = ([float(moment) for moment in pair] for pair in clipped.moments)
  np.testing.assert_allclose(
    first, [0.999 + 0.001 * (1 + THRESHOLD) / 2, 3.996 + 0.001 * (1 + THRESHOLD**2) / 2], rtol=1e-6
  )
  np.testing.assert_allclose(
    second, [0.999 + 0.001 * 1.875, 3.996 + 0.001 * (1.25**2 + 2.5**2) / 2], rtol=1e-6
  )


def test_the_weight_of_rasters_looks_is_the_correctors_alone():
  deceived, cycles = (
    (tf.constant([2.0]), tf.constant([3.0])),
    (tf.constant([0.1]), tf.constant([0.2])),
  )
  for totals, expected in (
    ("printed", [2 * 0.5 + 10 * 0.1, 3 + 10 * 0.2]),
    ("joint", [7.0, 7.0]),
    ("back", [2 * 0.5 + 10 * 0.2, 3 + 10 * 0.1]),
  ):
    learner = tiny.cycle_learner(totals=totals, raster_adversarial_weight=0.5)
    np.testing.assert_allclose(
      learner._totals(deceived, cycles), expected, rtol=1e-6, err_msg=totals
    )


def test_rates_are_constant_then_fall_to_zero():
  given = {"corrector_rate": 1e-3, "distorter_rate": 2e-3, "discriminator_rate": 4e-3}
  learner = tiny.cycle_learner(iterations=8, constant_share=0.5, **given)
  for iteration, share in ((0, 1.0), (4, 1.0), (5, 0.75), (7, 0.25)):
    learner.iteration.assign(iteration)
    metrics = learner.step(tiny.draw())
    rates = [learner.rates[name].numpy() for name in ("corrector", "distorter", "discriminators")]
    np.testing.assert_allclose(rates, share * np.array([1e-3, 2e-3, 4e-3]), rtol=1e-6)
    np.testing.assert_allclose(metrics.corrector_rate, rates[0])


def test_rates_may_stay_constant():
  learner = tiny.cycle_learner(paired=True, iterations=8, constant_share=1.0)
  learner.iteration.assign(7)
  np.testing.assert_allclose(learner.step(tiny.draw()).corrector_rate, 2e-4)


def test_learners_of_one_seed_are_equal_and_of_two_are_not():
  first, second, other = tiny.cycle_learner(), tiny.cycle_learner(), tiny.cycle_learner(seed=1)
  assert any(
    (ours != theirs).any() for ours, theirs in zip(values(first.corrector), values(other.corrector))
  )
  for learner in (first, second):
    learner.step(tiny.draw())
  for ours, theirs in zip(first.variables, second.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


# What is watched.


def test_the_displacement_error_is_that_of_the_distorter(rng):
  learner = tiny.cycle_learner()
  batch = learner.batch(tiny.draw())
  lengths = lambda missed: np.sqrt(np.mean(np.sum(np.square(missed), -1)))
  # it displaces nothing
  np.testing.assert_allclose(
    learner._displacement_error(batch), lengths(batch.displacements), rtol=1e-5
  )
  excite(learner, rng)
  found = learner.distorter.displacements(batch.partial[..., 1:], batch.nominal, False)
  np.testing.assert_allclose(
    learner._displacement_error(batch), lengths(found - batch.displacements), rtol=1e-5
  )
  assert abs(float(learner._displacement_error(batch)) - lengths(batch.displacements)) > 0.01


@pytest.mark.parametrize("name", ["raster_history", "partial_history"])
def test_discriminators_are_shown_what_generators_gave_earlier(name):
  judged = []
  for value in (0.0, 5.0):
    learner = tiny.cycle_learner(history=4)
    kept = getattr(learner, name)
    kept.images.assign(tf.fill(kept.images.shape, value))
    kept.added.assign(4)
    judged.append(learner.step(tiny.draw()))
    assert (kept.images.numpy() != value).any()
  losses = {"raster_history": "raster_discriminator", "partial_history": "partial_discriminator"}
  for history, metric in losses.items():
    differs = abs(getattr(judged[0], metric) - getattr(judged[1], metric)) > 1e-6
    assert bool(differs) == (history == name)


def test_momentum_is_that_of_every_optimiser():
  for momentum in (0.0, 0.5, 0.9):
    learner = tiny.cycle_learner(momentum=momentum)
    metrics = learner.step(tiny.draw())
    for name in ("corrector", "distorter"):
      norm = float(tf.linalg.global_norm(learner.optimisers[name].m))
      gradient = float(getattr(metrics, f"{name}_gradient"))
      assert norm == pytest.approx((1 - momentum) * gradient, rel=1e-3)
