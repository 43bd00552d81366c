"""Warnings of structure finer than the distance of positions, on lattices of known period."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.fields import placement, policies, rounds, undersampling
from adaptive_stem_tf.networks import field_generator

SIDE, SPACING = 192, 4.8  # px, of positions at 1/23


@functools.cache
def survey(seed=0, coverage=0.0434, pairs=0.02):
  offset = tf.constant(np.random.default_rng(seed).integers(placement.TILE, size=[1, 2]), tf.int32)
  counts = tf.constant([[round(coverage * SIDE**2)]])
  plan = rounds.FieldPlan(
    counts, placement.rank_map(SIDE, SIDE, offset), tf.ones([1, SIDE, SIDE, 1]), pairs
  )
  return rounds.survey_mask(plan).numpy()[0, ..., 0] > 0


def lattice(period, noise, seed):
  """Returns bright columns on a square lattice of a period [px], turned at random."""
  random = np.random.default_rng(seed)
  angle, phase = random.uniform(0, np.pi), random.uniform(0, 2 * np.pi, 2)
  row, column = np.mgrid[:SIDE, :SIDE]
  u = 2 * np.pi * (np.cos(angle) * row + np.sin(angle) * column) / period + phase[0]
  v = 2 * np.pi * (np.cos(angle) * column - np.sin(angle) * row) / period + phase[1]
  image = 0.25 * (1 + np.cos(u)) * (1 + np.cos(v))
  return image + noise * random.normal(size=image.shape)


def warned(period, noise):
  """Returns how many of 20 lattices are warned of."""
  count = 0
  for seed in range(20):
    mask = survey(seed)
    image = lattice(period, noise, seed)
    count += bool(undersampling.check(np.where(mask, image, 0.0), mask).warning)
  return count


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("period", [6.4, 8.0, 10.0])
def test_columns_that_are_nearly_as_close_as_positions_are_warned_of(period, noise):
  assert warned(period, noise) >= 18


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("period", [24.0, 40.0])
def test_columns_that_are_resolved_are_not(period, noise):
  assert warned(period, noise) <= 1


def test_periods_that_are_warned_of_are_those_that_interpolation_gets_wrong():
  """Where the completion has lost most of the lattice, there is a warning; where little, none."""
  plain = field_generator.FieldGenerator(1, 0.0).plain
  for period in (6.4, 9.0, 30.0):
    mask, image = survey(1), lattice(period, 0.0, 1)
    masks = tf.constant(mask[None, ..., None], tf.float32)
    partial = tf.constant(image[None, ..., None], tf.float32) * masks
    completion = plain(partial, masks).mean.numpy()[0, ..., 0]
    lost = np.square(completion - image).mean() / image.var()
    assert bool(undersampling.check(np.where(mask, image, 0), mask).warning) == (lost > 0.3)


def test_noise_alone_is_not_warned_of():
  noise = np.random.default_rng(0).normal(size=[SIDE, SIDE])
  mask = survey(pairs=0.1)
  assert not undersampling.check(np.where(mask, noise, 0.0), mask).warning


def test_without_pairs_noise_is_not_taken_for_structure():
  noise = np.random.default_rng(0).normal(size=[SIDE, SIDE])
  mask = survey(pairs=0.0)
  sampling = undersampling.check(np.where(mask, noise, 0.0), mask)
  assert sampling.unresolved > 0.9 and sampling.pairs == 0
  assert not sampling.warning and not sampling.tiles.any()


def test_only_the_part_that_is_unresolved_is_marked():
  image = lattice(8.0, 0.05, 0)
  image[:, SIDE // 3 :] = 0.25 + 0.001 * np.arange(SIDE)[:, None]
  mask = survey()
  sampling = undersampling.check(np.where(mask, image, 0.0), mask)
  np.testing.assert_array_equal(sampling.tiles, [[True, False, False]] * 3)
  assert sampling.distance_px == pytest.approx(SPACING, rel=0.2)


def test_dense_rounds_are_judged_by_their_own_distance():
  """What a scan resolves where it went later is no reason for a warning."""
  image = np.zeros([SIDE, SIDE])
  image[:64, :64] = lattice(14.0, 0.0, 0)[:64, :64]
  specimen = tf.constant(image[None, ..., None], tf.float32)
  plain = field_generator.FieldGenerator(1, 0.0).plain
  rank = placement.rank_map(SIDE, SIDE, tf.constant([[0, 0]]))
  counts = rounds.budget(tf.constant([0.06]), SIDE**2, 0.25, 3)
  plan = rounds.FieldPlan(counts, rank, tf.ones_like(specimen), 0.02)
  masks = rounds.scan(specimen, plan, policies.gradient(0.5), (), plain, 8).masks.numpy()
  even = survey(coverage=0.02)
  assert undersampling.check(np.where(even, image, 0.0), even).warning
  adaptive = masks[-1, 0, ..., 0] > 0
  assert not undersampling.check(np.where(adaptive, image, 0.0), adaptive).warning


def test_the_warning_says_how_much_next_positions_share():
  sampling = undersampling.Sampling(4.84, 0.8, 2.0, 8, np.zeros([1, 1], bool))
  assert "4.8 px apart" in sampling.warning and "share 20% of its structure" in sampling.warning
  assert "share 0% of its" in sampling._replace(unresolved=1.3).warning
  for silent in ({"unresolved": 0.75}, {"structure_over_noise": 0.5}, {"pairs": 7}):
    assert not sampling._replace(**silent).warning
  for said in ({"unresolved": 0.76}, {"structure_over_noise": 0.51}):
    assert sampling._replace(**said).warning


def test_too_few_positions_are_refused():
  mask = np.zeros([32, 32], bool)
  mask[::8, ::12] = True
  mask[0, 0] = False
  with pytest.raises(ValueError, match="11 positions say nothing"):
    undersampling.check(np.zeros([32, 32]), mask)


def test_the_shares_are_as_by_hand(rng):
  mask = np.zeros([70, 100], bool)
  mask[1::5, 2::6] = True
  mask[11:40:5, 33:60:6] = True  # neighbours of some
  image = np.sin(np.arange(100) / 7) + 0.2 * rng.normal(size=mask.shape)
  sampling = undersampling.check(np.where(mask, image, 0.0), mask)
  places, values = np.argwhere(mask), image[mask]
  rows, columns = ((mask[1:] & mask[:-1]), (mask[:, 1:] & mask[:, :-1]))
  pairs = np.concatenate([(np.diff(image, axis=axis) ** 2)[both] / 2
                          for axis, both in ((0, rows), (1, columns))])  # fmt: skip
  assert pairs.size == sampling.pairs >= 8 and pairs.max() < 8 * pairs.mean()
  distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
  unseen, structure, members = np.zeros((3, 2, 2))
  apart_px = []
  differences = {place: [] for place in np.ndindex(2, 2)}
  for number, (row, column) in enumerate(places):
    nearest = np.argsort(distance[number], kind="stable")[1:7]
    apart = [other for other in nearest if distance[number, other] >= 1.5]
    apart_px.append(distance[number, apart].min())
    squares = (values[apart] - values[number]) ** 2 / 2
    differences[row // 64, column // 64] += list(squares)
  for place, squares in differences.items():
    own = values[(places // 64 == place).all(1)]
    if len(own) >= 12:
      members[place] = len(own)
      unseen[place] = max(np.mean(squares) - pairs.mean(), 0)
      structure[place] = max(own.var(ddof=1) - pairs.mean(), 0)
  assert (members > 0).sum() == 2
  total = (members * structure).sum()
  assert sampling.distance_px == np.median(apart_px)
  # Which of several positions that are equally far are the nearest is open.
  assert sampling.unresolved == pytest.approx((members * unseen).sum() / total, rel=0.1)
  ratio = total / members.sum() / pairs.mean()
  assert sampling.structure_over_noise == pytest.approx(ratio, rel=1e-3)
