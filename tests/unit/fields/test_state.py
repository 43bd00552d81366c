"""What a policy of whole fields sees, recomputed with NumPy."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import state as state_lib

CELL, ROWS, COLUMNS = 4, 16, 12


def known(rng):
  """Returns a state of a field whose last column of cells is half padding."""
  image = lambda: rng.normal(size=[1, ROWS, COLUMNS, 1])
  valid = np.ones([1, ROWS, COLUMNS, 1])
  valid[:, :, -2:] = 0
  mask = (rng.random(valid.shape) < 0.3) * valid
  recent = mask * (rng.random(valid.shape) < 0.5)
  completion = state_lib.Completion(0.4 * image(), 0.3 * image() - 2, 0.4 * image(), 0.4 * image())
  state = state_lib.FieldState(
    image() * mask, mask, valid, completion, recent * image() ** 2, recent,
    np.array([0.5]), np.array([0.28]),
  )  # fmt: skip
  return tf.nest.map_structure(lambda value: tf.constant(value, tf.float32), state)


def cells_of(image):
  """Returns sums over cells, [h, w]."""
  blocks = np.reshape(image, [ROWS // CELL, CELL, COLUMNS // CELL, CELL])
  return blocks.sum((1, 3))


def expected(state):
  """Returns the 13 features, the log gradient of `plain` and the log expected error."""
  state = tf.nest.map_structure(lambda value: value.numpy().astype(np.float64).squeeze(), state)
  weight, completion = cells_of(state.valid), state.completion
  inside = lambda image: cells_of(image * state.valid) / weight
  field = lambda cells: (cells * weight).sum() / weight.sum()
  centred = lambda cells: cells - field(cells)

  def log_gradient(image):
    padded = np.pad(image, 1, "symmetric")
    slopes = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    energy = inside(slopes[0] ** 2 + slopes[1] ** 2)
    return centred(np.log(energy + 0.02 * field(energy) + 1e-7))

  variance = np.exp(completion.log_variance)
  density, recent, average = (inside(part) for part in (state.mask, state.recent, completion.mean))
  uncertainty = np.log(inside(variance) + 1e-8)
  noise = inside(state.mask * (state.partial - completion.smooth) ** 2) / (density + 1e-3)
  surprise = inside(state.surprise) + 1e-8, inside(state.recent * variance) + 1e-8
  correction = inside((completion.mean - completion.plain) ** 2)
  one = np.ones_like(average)
  gradient = log_gradient(completion.plain)
  features = [
    gradient,
    log_gradient(completion.mean),
    centred(uncertainty),
    uncertainty - np.log(field(centred(average) ** 2) + 1e-4),
    np.log(density + 1e-3) - np.log(state.coverage),
    2 * average,
    centred(np.log(inside(completion.mean**2) - average**2 + 1e-5)),
    np.log(noise + 1e-5) - uncertainty,
    np.log(surprise[0] / surprise[1]) * np.minimum(1, 16 * recent),
    16 * recent,
    np.log(correction + 1e-8) - uncertainty,
    2 * state.progress * one,
    (np.log(state.coverage) + 3) * one,
  ]
  return np.stack(features, -1), gradient, uncertainty


def test_every_feature_is_as_by_hand(rng):
  state = known(rng)
  cells = state_lib.see(state, CELL)
  features, gradient, uncertainty = expected(state)
  assert features.shape[-1] == state_lib.FEATURES and np.mean(np.abs(features) < 5) > 0.98
  features = np.clip(features, -5, 5)
  for number in range(state_lib.FEATURES):
    np.testing.assert_allclose(
      cells.features[0, ..., number], features[..., number], atol=1e-4, err_msg=str(number)
    )
  np.testing.assert_allclose(cells.gradient[0, ..., 0], gradient, atol=1e-4)
  np.testing.assert_allclose(cells.uncertainty[0, ..., 0], uncertainty, atol=1e-4)
  np.testing.assert_allclose(cells.valid[0, ..., 0], [[1, 1, 0.5]] * 4)


def test_features_are_limited_and_what_is_decided_from_is_not(rng):
  state = known(rng)
  certain = state.completion._replace(log_variance=tf.fill([1, ROWS, COLUMNS, 1], -17.0))
  cells = state_lib.see(state._replace(completion=certain), CELL)
  assert np.abs(cells.features).max() == 5.0
  np.testing.assert_allclose(cells.uncertainty, np.log(np.exp(-17.0) + 1e-8), rtol=1e-4)


def test_cells_of_padding_alone_count_nothing():
  cells, valid = (
    tf.constant([[[[3.0]], [[5.0]], [[100.0]]]]),
    tf.constant([[[[1.0]], [[3.0]], [[0.0]]]]),
  )
  assert float(state_lib.field_mean(cells, valid)[0, 0, 0, 0]) == 4.5
  assert float(state_lib.field_mean(cells, 0 * valid)[0, 0, 0, 0]) == 0
