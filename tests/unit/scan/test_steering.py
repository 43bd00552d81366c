"""What decisions steer."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from adaptive_stem_tf import config
from adaptive_stem_tf.scan import baselines, partial_scan, rollout, steering
from tests import tiny

PAPER = config.ScanGeometry(steering="waypoints")
TINY = tiny.experiment(steering="waypoints", reach=3.0).scan


def offsets(rng, scan, batch=3):
  return tf.constant(rng.uniform(-1, 1, [batch, scan.segments, 2]), tf.float32)


def test_without_offsets_the_scan_is_the_zigzag():
  positions = partial_scan.scan_positions(tf.zeros([1, 20, 2]), PAPER)[0]
  np.testing.assert_allclose(
    positions, baselines.polyline(baselines.zigzag_corners(PAPER), PAPER), atol=1e-4
  )


def test_an_offset_moves_one_corner_by_its_share_of_the_reach():
  actions = np.zeros([1, 20, 2], np.float32)
  actions[0, 4] = 0.5, -0.25  # after segment 4: where segment 5 ends
  ends, still = (
    steering.segments(tf.constant(taken), PAPER).ends(PAPER).numpy()[0]
    for taken in (actions, np.zeros_like(actions))
  )
  moved = ends - still
  np.testing.assert_allclose(moved[5], [4.0, -2.0], atol=1e-4)
  np.testing.assert_allclose(np.delete(moved, 5, 0), 0.0, atol=1e-4)  # offsets do not add up


def test_segments_join_and_their_probes_divide_them(rng):
  starts, steps = steering.segments(offsets(rng, TINY), TINY)
  np.testing.assert_allclose(starts[:, 1:], starts[:, :-1] + TINY.probes * steps[:, :-1], atol=1e-5)
  corners = baselines.zigzag_corners(TINY)
  np.testing.assert_allclose(starts[:, 0], np.tile(corners[0], [3, 1]))
  np.testing.assert_allclose(starts[:, 1], np.tile(corners[1], [3, 1]), atol=1e-5)


@hypothesis.given(strategies.integers(0, 2**31), strategies.sampled_from([1.0, 8.0, 200.0]))
@hypothesis.settings(max_examples=20, deadline=None)
def test_no_segment_leaves_the_image(seed, reach):
  scan = config.ScanGeometry(steering="waypoints", reach=reach)
  actions = offsets(np.random.default_rng(seed), scan)
  ends = steering.segments(actions, scan).ends(scan).numpy()
  assert ends.min() >= -1e-4
  assert ends.max() <= 96 + 1e-4


def test_a_rollout_records_what_lies_along_the_steered_path(rng):
  taken = offsets(rng, TINY, 2)

  def policy(observation, position, time):
    del observation, position
    return tf.gather(taken, time, axis=1), time + 1

  specimens = tf.constant(tiny.images(2))
  trajectory = rollout.rollout(policy, tf.constant(0), specimens, TINY)
  np.testing.assert_array_equal(trajectory.actions, taken)
  np.testing.assert_array_equal(trajectory.positions, steering.segments(taken, TINY).starts)
  partial = partial_scan.partial_scan(trajectory.observations, trajectory.actions, TINY)
  measured = partial[..., 1:]
  # each value from the pixel it is drawn in
  np.testing.assert_array_equal(partial[..., :1], measured * specimens)


def by_hand(angles, delay):
  """Returns starts and steps of one scan from its angles [T], of a tiny experiment."""
  scan = tiny.experiment().scan
  starts, steps = [np.full(2, scan.image_size / 2)], []
  for k in range(scan.segments):
    angle = np.pi / 4 if k <= delay else angles[k - 1]
    steps.append(scan.spacing * np.array([np.cos(angle), np.sin(angle)]))
    starts.append(starts[-1] + scan.probes * steps[-1])
  return np.array(starts), np.array(steps)


@pytest.mark.parametrize("delay", [0, 1])
def test_segments_of_directions_by_hand(rng, delay):
  scan = tiny.experiment(decision_delay=delay).scan
  angles = rng.uniform(-np.pi, np.pi, [5, scan.segments]).astype(np.float32)
  segments = steering.segments(tf.constant(angles[..., None]), scan)
  over = steering.over_edge(tf.constant(angles[..., None]), scan)
  assert over.shape == [5, scan.segments - 1]
  for number, scanned in enumerate(angles):
    starts, steps = by_hand(scanned, delay)
    np.testing.assert_allclose(segments.starts[number], starts[:-1], atol=1e-4)
    np.testing.assert_allclose(segments.steps[number], steps, atol=1e-5)
    np.testing.assert_allclose(segments.ends(scan)[number], starts[1:], atol=1e-4)
    outside = ((starts[2:] < 0) | (starts[2:] > scan.image_size)).any(1)
    np.testing.assert_array_equal(over[number], outside)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi, -np.pi / 2])
def test_segments_beyond_each_edge_are_noticed(angle):
  scan = config.ScanGeometry(segments=4, probes=30, spacing=1.5)  # 45 px each
  actions = tf.constant([[[angle]] * 4])
  ends = 48 + 45 / np.sqrt(2) + 45 * np.outer(np.arange(1, 4), [np.cos(angle), np.sin(angle)])
  expected = ((ends < 0) | (ends > 96)).any(1)
  assert expected.any()
  np.testing.assert_array_equal(steering.over_edge(actions, scan)[0], expected)


@pytest.mark.parametrize("kind", ["direction", "waypoints"])
def test_the_number_of_scans_may_be_known_only_when_a_graph_runs(rng, kind):
  scan = tiny.experiment(steering=kind, decision_delay=1).scan
  actions = tf.constant(
    rng.uniform(-1, 1, [5, scan.segments, 1 + (kind == "waypoints")]), tf.float32
  )
  unknown = tf.function(
    lambda values: steering.segments(values, scan),
    input_signature=[tf.TensorSpec([None, *actions.shape[1:]])],
  )
  for ours, theirs in zip(unknown(actions), steering.segments(actions, scan), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_noise_is_added_and_clipped_to_the_reach():
  steered = steering.make_steering(TINY)
  noisy = steered.perturb(tf.constant([[0.5, -0.9]]), tf.constant([[0.25, -0.4]]))
  np.testing.assert_allclose(noisy, [[0.75, -1.0]])


@pytest.mark.parametrize("kind,width", [("direction", 1), ("waypoints", 2)])
def test_squashed_features_are_bounded(kind, width):
  steered = steering.make_steering(config.ScanGeometry(steering=kind))
  assert steered.width == width
  bound = steered.squash(tf.fill([1, width], 50.0)).numpy()
  np.testing.assert_allclose(bound, np.pi if kind == "direction" else 1.0, rtol=1e-6)
  np.testing.assert_array_equal(steered.squash(tf.zeros([1, width])), 0.0)


@pytest.mark.parametrize("controller", tiny.CONTROLLERS)
def test_a_step_trains_an_actor_that_moves_waypoints(controller, eagerly):
  learner = tiny.learner(steering="waypoints", controller=controller)
  before = [v.numpy() for v in learner.actor.trainable_variables]
  for iteration in range(2):
    metrics = learner.step(tiny.draw(iteration))
  assert all(np.isfinite(value) for value in metrics)
  assert float(metrics.over_edge) == 0.0
  assert any((a != b.numpy()).any() for a, b in zip(before, learner.actor.trainable_variables))


def test_with_a_delay_the_second_segment_goes_to_its_corner_where_that_is(rng):
  delayed = tiny.experiment(steering="waypoints", reach=3.0, decision_delay=1).scan
  taken = offsets(rng, delayed, 2)

  def policy(observation, position, time):
    del observation, position
    return tf.gather(taken, time, axis=1), time + 1

  trajectory = rollout.rollout(policy, tf.constant(0), tf.constant(tiny.images(2)), delayed)
  # each steers one segment later
  np.testing.assert_array_equal(trajectory.actions[:, 1:], taken[:, :-1])
  starts = steering.segments(trajectory.actions, delayed).starts
  np.testing.assert_array_equal(trajectory.positions, starts)
  corners = baselines.zigzag_corners(delayed)
  np.testing.assert_allclose(starts[:, 2], np.tile(corners[2], [2, 1]), atol=1e-5)
  assert np.abs(starts[:, 3] - corners[3]).max() > 0.1  # decided
