"""The noise of measurements, estimated from pairs of neighbours."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields import noise, placement, rounds

SIDE = 128


def paired_mask(share, count=1600):
  rank = placement.rank_map(SIDE, SIDE, tf.constant([[5, 9]]))
  plan = rounds.FieldPlan(tf.constant([[count], [count]]), rank, tf.ones([1, SIDE, SIDE, 1]), share)
  return rounds.survey_mask(plan).numpy()


def law(residual, mask, intensity=None):
  level = np.zeros_like(residual) if intensity is None else intensity
  return noise.estimate(*(tf.constant(x, tf.float32) for x in (mask * residual, mask, level)))


def test_a_survey_has_as_many_pairs_as_it_should_and_is_even_otherwise():
  mask = paired_mask(0.1)[0, ..., 0]
  neighbours = (mask[:, 1:] * mask[:, :-1]).sum() + (mask[1:] * mask[:-1]).sum()
  assert mask.sum() == 1600
  assert pytest.approx(neighbours, rel=0.1) == 160
  even = paired_mask(0.0)[0, ..., 0]
  assert (even * mask).sum() > 0.88 * 1600
  assert (even[:, 1:] * even[:, :-1]).sum() == 0


def test_pairs_lie_all_over_the_field():
  mask = paired_mask(0.1)[0, ..., 0]
  pairs = mask[:, 1:] * mask[:, :-1]
  quarters = [pairs[i : i + 64, j : j + 63].sum() for i in (0, 64) for j in (0, 64)]
  assert min(quarters) > 0.7 * max(quarters)


def test_white_noise_is_estimated():
  random = np.random.default_rng(0)
  residual = 0.2 * random.normal(size=[1, SIDE, SIDE, 1])
  found = law(residual, paired_mask(0.25))
  assert float(found.mean[0, 0, 0, 0]) == pytest.approx(0.04, rel=0.2)
  assert float(found.pairs[0, 0, 0, 0]) == pytest.approx(400, rel=0.1)


def test_structure_wider_than_a_pixel_is_not_taken_for_noise():
  column = np.arange(SIDE) * np.ones([SIDE, 1])
  residual = np.sin(2 * np.pi * column / 16)[None, ..., None]
  assert float(law(residual, paired_mask(0.25)).mean[0, 0, 0, 0]) < 0.2 * residual.var()


def test_noise_that_grows_with_intensity_is_told_apart():
  random = np.random.default_rng(0)
  intensity = np.broadcast_to(np.linspace(-1, 1, SIDE), [1, SIDE, SIDE])[..., None]
  residual = np.sqrt(0.1 * (intensity + 1.1)) * random.normal(size=intensity.shape)
  variance = law(residual, np.ones_like(residual), intensity).variance(tf.constant([-0.8, 0.8]))
  np.testing.assert_allclose(variance[0, 0, 0], [0.03, 0.19], rtol=0.25)


def by_hand(residual, mask, intensity):
  """Returns mean, slope, centre and pairs of the law of one field, and the half squares."""
  pairs = []
  for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
    both = (mask[a] * mask[b]) > 0
    half, level = (residual[a] - residual[b]) ** 2 / 2, (intensity[a] + intensity[b]) / 2
    pairs.append(np.stack([half[both], level[both]]))
  half, level = np.concatenate(pairs, 1)
  mean = half.mean()
  for _ in range(2):
    mean = np.minimum(half, 8 * mean).mean()
  limited, count = np.minimum(half, 8 * mean), half.size
  off = level - level.mean()
  slope = ((limited - mean) * off).mean() / ((off**2).mean() + 0.02) * count / (count + 16)
  return (mean, slope, level.mean(), count), half


def test_the_law_is_as_by_hand():
  random = np.random.default_rng(1)
  intensity = random.uniform(-1, 1, [9, 14])
  residual = 0.3 * (intensity + 1.2) * random.normal(size=intensity.shape)
  residual[4, 5] = 9.0  # an edge
  mask = np.float32(random.random(intensity.shape) < 0.7)
  wanted, half = by_hand(residual, mask, intensity)
  assert half.max() > 8 * wanted[0] and abs(wanted[1]) > 0.01
  law_ = law(*(part[None, ..., None] for part in (residual, mask, intensity)))
  np.testing.assert_allclose([float(part[0, 0, 0, 0]) for part in law_], wanted, rtol=1e-4)


def test_noise_differs_from_its_mean_by_a_limited_factor():
  one = lambda value: tf.fill([1, 1, 1, 1], value)
  steep = noise.NoiseLaw(one(0.2), one(0.5), one(0.1), one(30.0))
  levels = tf.constant([-1.0, 0.0, 0.1, 0.3, 5.0])[None, None, :, None]
  np.testing.assert_allclose(
    steep.variance(levels)[0, 0, :, 0], [0.05, 0.15, 0.2, 0.3, 0.8], rtol=1e-5
  )


def test_edges_count_little():
  random = np.random.default_rng(0)
  residual = 0.1 * random.normal(size=[1, SIDE, SIDE, 1])
  residual[:, :, 64:] += 3.0
  assert float(law(residual, np.ones_like(residual)).mean[0, 0, 0, 0]) == pytest.approx(
    0.01, rel=0.15
  )


def test_without_pairs_nothing_is_known():
  found = law(np.ones([1, SIDE, SIDE, 1]), paired_mask(0.0))
  assert float(found.pairs[0, 0, 0, 0]) == 0
  assert np.isfinite(found.variance(tf.zeros([1, 4, 4, 1]))).all()
