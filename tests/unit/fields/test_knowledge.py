"""What policies in NumPy return, and how densities follow from it."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.api import policies
from adaptive_stem_tf.fields import knowledge
from adaptive_stem_tf.fields.state import FEATURES, Cells, Completion, FieldState, see

ROWS, COLUMNS, CELL = 12, 24, 8


def known():
  """Returns what is known of a field whose gradient rises to the right."""
  level = np.zeros([ROWS, COLUMNS], np.float32)
  shape = [1, 2, 3]
  gradient = tf.constant(np.broadcast_to([-1.0, 0.0, 1.0], shape)[..., None], tf.float32)
  cells = Cells(tf.zeros([*shape, FEATURES]), gradient, -2 * gradient, tf.ones([*shape, 1]))
  return knowledge.Known(level, level + 1, level, level > 0, level, 1, 2, 0.1, cells, CELL)


def test_knowledge_is_the_state_of_one_field(rng):
  size = [2, ROWS, COLUMNS, 1]
  image = lambda: tf.constant(rng.normal(size=size), tf.float32)
  mask = tf.constant(rng.integers(0, 2, size), tf.float32)
  zeros, ones = tf.zeros(size), tf.ones(size)
  completion = Completion(image(), image(), image(), image())
  state = FieldState(
    mask * image(), mask, ones, completion, zeros, zeros, tf.zeros([2]), tf.constant([0.1, 0.2])
  )
  fields, cells = knowledge.of_state(state, 1, 3, CELL), see(state, CELL)
  assert len(fields) == 2
  for i, field in enumerate(fields):
    assert (field.round, field.rounds, field.cell) == (1, 3, CELL)
    assert field.coverage == pytest.approx([0.1, 0.2][i])
    part = lambda tensor, i=i: tensor.numpy()[i, ..., 0]
    np.testing.assert_array_equal(field.completion, part(completion.mean))
    np.testing.assert_allclose(field.uncertainty, np.exp(part(completion.log_variance) / 2))
    np.testing.assert_array_equal(field.plain, part(completion.plain))
    np.testing.assert_array_equal(field.mask, part(mask) == 1)
    np.testing.assert_array_equal(field.intensities[field.mask], part(state.partial)[field.mask])
    assert np.isnan(field.intensities[~field.mask]).all()
    for mine, every in zip(field.cells, cells):
      np.testing.assert_array_equal(mine, every[i : i + 1])


def test_weights_of_pixels_are_relative():
  seen, given = known(), np.random.default_rng(0).uniform(0.5, 2, [ROWS, COLUMNS])
  weights, doubled = (knowledge.weights(lambda _, k=k: k * given, seen) for k in (1, 2))
  np.testing.assert_allclose(weights, doubled, rtol=1e-5)
  np.testing.assert_allclose(weights / weights[0, 0], given / given[0, 0], rtol=1e-5)


def test_no_weight_is_more_than_a_limit_from_the_mean():
  given = np.zeros([ROWS, COLUMNS])
  given[:, :12] = 1
  weights = knowledge.weights(lambda _: given, known())
  assert weights.max() / weights.min() == pytest.approx(np.exp(10), rel=1e-3)
  assert weights[:, :12].min() == weights.max() and weights[:, 12:].max() == weights.min()


def test_weights_of_cells_are_enlarged():
  given = np.array([[1.0, 1.0, 4.0], [1.0, 1.0, 4.0]])
  weights = knowledge.weights(lambda _: given, known())
  assert weights.shape == (ROWS, COLUMNS)
  assert weights[0, -1] / weights[0, 0] == pytest.approx(4, rel=1e-3)
  assert 1.2 < weights[0, 16] / weights[0, 0] < 3.5  # bilinear between cells


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_rules_follow_their_cells(power):
  seen = known()
  gradient, greedy = policies.gradient(power)(seen), policies.greedy(power)(seen)
  assert gradient[0, -1] / gradient[0, 0] == pytest.approx(np.exp(2 * power), rel=1e-3)
  assert greedy[0, 0] / greedy[0, -1] == pytest.approx(np.exp(4 * power), rel=1e-3)
  assert (policies.even(seen) == 1).all()


@pytest.mark.parametrize(
  "given, words",
  [
    (np.ones([3, 3]), r"mine returned weights of shape \[3, 3\]: .* \[12, 24\] pixels"),
    (np.full([ROWS, COLUMNS], np.nan), "mine returned weights of nan to nan"),
    (np.full([ROWS, COLUMNS], -1), "not below 0"),
    (np.zeros([ROWS, COLUMNS]), "not 0 everywhere"),
  ],
)
def test_what_is_no_weight_is_refused(given, words):
  with pytest.raises(ValueError, match=words):
    knowledge.weights(lambda _: given, known(), "mine")
