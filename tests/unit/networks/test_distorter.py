"""Distorters: perfect microscopes at first, that read where they say."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import distorter
from adaptive_stem_tf.scan import environment, partial_scan
from tests import tiny

SIZES = config.Generator(channels=2, blocks=1, batch_norm_decay=0.9)
SIZE, PROBES = 16, 12


@pytest.fixture
def scanned(rng):
  """Rasters, and positions and mask of scans; some lie outside, at the border's pixels."""
  positions = tf.constant(rng.uniform(-2, SIZE + 2, [3, PROBES, 2]), tf.float32)
  mask = partial_scan.draw_at(tf.zeros([3, PROBES]), positions, SIZE)[..., 1:]
  return tf.constant(tiny.images(3)), mask, positions


def excite(network, rng):
  """Moves all weights away from where they start."""
  for weight in network.trainable_variables:
    weight.assign_add(rng.normal(0, 0.3, weight.shape))


@pytest.mark.parametrize("kind", distorter.KINDS)
def test_at_first_nothing_is_distorted(kind, scanned):
  network = distorter.make_distorter(kind, SIZES, 8.0)
  raster, mask, positions = scanned
  np.testing.assert_array_equal(
    network(raster, mask, positions, True), environment.read(raster, positions)
  )
  np.testing.assert_array_equal(
    network.displacements(mask, positions, True), np.zeros([3, PROBES, 2])
  )


@pytest.mark.parametrize("kind", ["causal", "warp"])
def test_rasters_are_read_at_the_displacements(kind, scanned, rng):
  network = distorter.make_distorter(kind, SIZES, 2.0)
  raster, mask, positions = scanned
  network.displacements(mask, positions, False)
  excite(network, rng)
  moved = network.displacements(mask, positions, False)
  assert 0.1 < np.abs(moved).max() < 2.0 and np.std(moved) > 0.05
  pixels = np.clip(np.floor(positions), 0, SIZE - 1)
  expected = environment.read_detailed(raster, pixels + moved)
  np.testing.assert_allclose(network(raster, mask, positions, False), expected, atol=1e-6)


def test_a_residual_adds_at_the_probing_positions(scanned, rng):
  network = distorter.make_distorter("residual", SIZES, 8.0)
  raster, mask, positions = scanned
  network(raster, mask, positions, False)
  excite(network, rng)
  change = network.network(tf.concat([raster, mask], -1), False)
  np.testing.assert_allclose(
    network(raster, mask, positions, False), environment.read(raster + change, positions), atol=1e-6
  )


def test_a_causal_distorter_knows_nothing_of_what_follows(scanned, rng):
  network = distorter.make_distorter("causal", SIZES, 8.0)
  _, mask, positions = scanned
  network.displacements(mask, positions, False)
  excite(network, rng)
  before = network.displacements(mask, positions, False)
  later = tf.concat([positions[:, :7], SIZE - positions[:, 7:]], 1)
  after = network.displacements(mask, later, False)
  np.testing.assert_array_equal(after[:, :7], before[:, :7])
  assert np.abs(after[:, 7] - before[:, 7]).max() > 1e-3


def test_causal_displacements_by_hand(scanned, rng):
  network = distorter.make_distorter("causal", SIZES, 3.0)
  _, mask, positions = scanned
  network.displacements(mask, positions, False)
  excite(network, rng)
  at, moves = positions.numpy(), np.zeros([3, PROBES, 2])
  moves[:, 1:] = np.diff(at, axis=1)
  time = np.broadcast_to(np.linspace(-1, 1, PROBES)[:, None], [3, PROBES, 1])
  outputs = np.concatenate([moves / 4, at / (SIZE / 2) - 1, time], -1)
  (first, bias), (second, other) = ((layer.w.numpy(), layer.b.numpy()) for layer in network.layers)
  padded = np.pad(outputs, [(0, 0), (5, 0), (0, 0)])  # each sees six commands, its own the last
  outputs = np.tanh(sum(padded[:, k : k + PROBES] @ first[k] for k in range(6)) + bias)
  outputs = 4 * np.tanh(outputs @ second[0] + other) @ network.output.w.numpy()[0]
  expected = 3 * np.tanh(outputs / 3)
  assert np.abs(expected).max() > 1.5  # the bound counts
  np.testing.assert_allclose(network.displacements(mask, positions, False), expected, atol=1e-5)
  assert len(first) == 6 and first.shape[2] == 2 * SIZES.channels


def test_displacements_of_a_warp_are_those_of_its_pixels(scanned, rng):
  network = distorter.make_distorter("warp", SIZES, 2.0)
  _, mask, positions = scanned
  network.displacements(mask, positions, False)
  excite(network, rng)
  field = network.network(tf.concat([mask, mask], -1), False).numpy()
  rows, columns = np.clip(np.floor(positions), 0, SIZE - 1).astype(int).transpose(2, 0, 1)
  expected = 2 * np.tanh(field[np.arange(3)[:, None], rows, columns] / 2)
  np.testing.assert_allclose(network.displacements(mask, positions, False), expected, atol=1e-6)


@pytest.mark.parametrize("kind", distorter.KINDS)
def test_positions_outside_the_image_read_its_border(kind, scanned):
  network = distorter.make_distorter(kind, SIZES, 8.0)
  raster, mask, _ = scanned
  outside = tf.constant([[[-3.0, 5.5], [SIZE + 2.0, 5.5], [4.0, SIZE + 0.5], [4.0, -0.5]]] * 3)
  expected = [[image[0, 5], image[-1, 5], image[4, -1], image[4, 0]] for image in raster[..., 0]]
  np.testing.assert_allclose(network(raster, mask, outside, False), expected, atol=1e-6)


def test_steps_are_differences_of_positions():
  np.testing.assert_array_equal(
    distorter.steps(tf.constant([[[1.0, 2.0], [4.0, 2.0], [4.0, 0.0]]])),
    [[[0, 0], [3, 0], [0, -2]]],
  )
