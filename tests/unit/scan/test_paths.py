"""Who decides where the beam goes: one interface for all."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import actor as actor_lib
from adaptive_stem_tf.scan import (
  baselines,
  environment,
  partial_scan,
  path_names,
  paths,
  rollout,
  steering,
)
from tests import tiny

SCAN = tiny.experiment().scan
SEED = tf.constant([3, 4], tf.int64)


def walk_ends(scan, batch, seed=SEED):
  """Returns the ends [B, T, 2] px of a random walk's segments."""
  images = tf.zeros([batch, scan.image_size, scan.image_size, 1])
  actions = paths.RandomWalk(scan).scan(images, None, seed).actions
  return steering.segments(actions, scan).ends(scan).numpy()


@pytest.mark.parametrize("scan", [SCAN, config.ScanGeometry()])
def test_random_walks_stay_inside(scan):
  ends = walk_ends(scan, 3000)
  assert ends.min() >= 0 and ends.max() <= scan.image_size


def test_random_walks_differ_between_scans_and_seeds_and_repeat():
  ends = walk_ends(SCAN, 20)
  assert len(np.unique(ends[:, 1], axis=0)) == 20
  assert (ends[:, 1] != walk_ends(SCAN, 20, SEED + 1)[:, 1]).any()
  np.testing.assert_array_equal(ends, walk_ends(SCAN, 20))


def test_random_walks_go_everywhere():
  ends = walk_ends(SCAN, 4000)
  angles = np.arctan2(*(ends[:, 1] - ends[:, 0]).T)
  inside = np.histogram(angles, 8, (-np.pi, np.pi))[0]
  assert (
    inside > 0
  ).sum() >= 4  # of the eighths of a turn that stay inside from (13.7, 13.7) of 16


def test_random_walks_record_what_lies_along_them(images):
  images, path = tf.constant(images), paths.RandomWalk(SCAN)
  trajectory = path.scan(images, None, SEED)
  partial = path.draw(trajectory.observations, trajectory.actions)
  np.testing.assert_array_equal(partial[..., :1], images * partial[..., 1:])
  assert not path.learns


def test_a_fixed_path_reads_and_draws_its_positions(images):
  positions = baselines.spiral(SCAN, 4.0)
  path = paths.Fixed(positions, SCAN)
  images = tf.constant(images)
  trajectory = path.scan(images, None, SEED)
  along = tf.broadcast_to(positions, [8, *positions.shape])
  read = environment.read(images, along)
  np.testing.assert_array_equal(tf.reshape(trajectory.observations, read.shape), read)
  np.testing.assert_array_equal(trajectory.positions, np.tile(positions[:: SCAN.probes], [8, 1, 1]))
  drawn = path.draw(trajectory.observations, trajectory.actions)
  np.testing.assert_array_equal(drawn, partial_scan.draw_at(read, along, SCAN.image_size))
  np.testing.assert_array_equal(drawn[..., :1], images * drawn[..., 1:])
  assert not path.learns


def test_a_fixed_path_of_segments_equals_a_policy_that_follows_it(images):
  angles = np.float32([np.pi / 4, 1.0, -2.5, 0.1])
  path = paths.Fixed(baselines.polygon_positions(angles, SCAN), SCAN)
  follow = lambda observation, position, time: (
    tf.gather(tf.constant(angles), time + 1)[:, None],
    (time + 1) % 3,
  )
  followed = rollout.rollout(follow, tf.zeros([8], tf.int32), tf.constant(images), SCAN)
  trajectory = path.scan(tf.constant(images), None, SEED)
  np.testing.assert_array_equal(trajectory.observations, followed.observations)
  np.testing.assert_allclose(trajectory.positions, followed.positions, atol=1e-5)


@pytest.mark.parametrize("shape", [(15, 2), (16, 3), (16,)])
def test_a_fixed_path_has_as_many_positions_as_the_scan(shape):
  with pytest.raises(
    ValueError, match=r"the scan has 16 probing positions, so it must be \[16, 2\]"
  ):
    paths.Fixed(np.zeros(shape), SCAN)


def test_the_adaptive_path_is_a_rollout_of_the_actor(images):
  actor, images = actor_lib.Actor(tiny.experiment()), tf.constant(images)
  path, noise = paths.Adaptive(actor, SCAN), tf.fill([8, SCAN.segments, 1], 0.3)
  expected = rollout.rollout(actor, actor.initial_state(8), images, SCAN, noise)
  trajectory = path.scan(images, noise, SEED)
  for ours, theirs in zip(trajectory, expected, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  drawn = path.draw(trajectory.observations, trajectory.actions)
  np.testing.assert_array_equal(drawn[..., :1], images * drawn[..., 1:])
  assert path.learns


def test_random_walks_are_walks_whatever_an_actor_would_steer(images):
  plain, other = (
    path_names.make_path(dataclasses.replace(SCAN, path="random_walk", steering=kind), None, None)
    for kind in ("direction", "waypoints")
  )
  for one, another in zip(plain.scan(images, None, SEED), other.scan(images, None, SEED)):
    np.testing.assert_array_equal(one, another)


@pytest.mark.parametrize("name", [*path_names.MOVING, "spiral"])
def test_the_number_of_specimens_may_be_known_only_when_a_graph_runs(name):
  scan = dataclasses.replace(SCAN, path=name)
  positions = None if name in path_names.MOVING else baselines.spiral(scan, 4.0)
  path = path_names.make_path(scan, actor_lib.Actor(tiny.experiment()), positions)

  def scanned(specimens):
    trajectory = path.scan(specimens, None, SEED)
    return *trajectory, path.draw(trajectory.observations, trajectory.actions)

  specimens = tf.constant(tiny.images(5))
  unknown = tf.function(
    scanned, input_signature=[tf.TensorSpec([None, *specimens.shape[1:]])], autograph=False
  )
  for ours, theirs in zip(unknown(specimens), scanned(specimens), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", [*path_names.MOVING, "spiral"])
def test_the_first_segments_of_each_scan_are_drawn_as_they_were_measured(name):
  scan = dataclasses.replace(SCAN, path=name)
  positions = None if name in path_names.MOVING else baselines.spiral(scan, 4.0)
  path = path_names.make_path(scan, actor_lib.Actor(tiny.experiment()), positions)
  specimens = tf.constant(tiny.images(3))
  trajectory, count = path.scan(specimens, None, SEED), np.array([1, 4, 2])
  drawn = path.draw(trajectory.observations, trajectory.actions, tf.constant(count, tf.int32))
  at = path.positions(trajectory.actions).numpy()
  rows, columns = np.clip(np.floor(at), 0, scan.image_size - 1).astype(int).transpose(2, 0, 1)
  for number, segments in enumerate(count):
    mask = np.zeros([scan.image_size] * 2, np.float32)
    first = segments * scan.probes
    mask[rows[number, :first], columns[number, :first]] = 1
    np.testing.assert_array_equal(drawn[number, ..., 1], mask)
    np.testing.assert_array_equal(drawn[number, ..., 0], mask * specimens[number, ..., 0])
