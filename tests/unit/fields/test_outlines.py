"""Positions go where it is unsure what is bright."""

import numpy as np
import pytest
from scipy import special

from adaptive_stem_tf.fields import knowledge, outlines


def known(completion, uncertainty):
  """Returns what is known of a field of which only these are looked at."""
  empty = dict.fromkeys(knowledge.Known._fields)
  return knowledge.Known(**{**empty, "completion": completion, "uncertainty": uncertainty})


def test_weights_by_hand():
  completion = np.full([40, 60], -0.5)
  completion[:, 30:] = 0.3
  deviations = np.full([40, 60], 0.2)
  deviations[:, 45:] = 0.6
  weights = outlines.outline(0.5, threshold=0.1)(known(completion, deviations))
  risk = special.ndtr([-3.0, -1.0, -1 / 3])  # of dark, of bright, of bright and less sure
  mean = np.mean([risk[0]] * 30 + [risk[1]] * 15 + [risk[2]] * 15)
  expected = np.sqrt(risk + 0.02 * mean + 1e-9)
  np.testing.assert_allclose(weights[20, [10, 37, 55]], expected, rtol=0.01)
  # Nine pixels about the first bright one: four are dark.
  np.testing.assert_allclose(
    weights[20, 30], np.sqrt((4 * risk[0] + 5 * risk[1]) / 9 + 0.02 * mean), rtol=0.01
  )


def test_the_threshold_is_that_of_each_completion():
  completion = np.random.default_rng(0).normal(-0.8, 0.15, [48, 48])
  completion[:, 24:] += 1.0
  completion[10:20, 10:20] = -0.3  # between the halves, as the threshold
  seen = [known(completion + shift, np.full([48, 48], 0.1)) for shift in (0.0, 0.7)]
  own = [outlines.outline()(one) for one in seen]
  np.testing.assert_allclose(*own, rtol=1e-3)
  row, column = np.unravel_index(own[0].argmax(), own[0].shape)
  assert 13 <= row <= 16 and 13 <= column <= 16
  fixed = [outlines.outline(threshold=0.2)(one) for one in seen]
  assert np.abs(np.log(fixed[0] / fixed[1])).max() > 0.5


@pytest.mark.parametrize("power, ratio", [(0.0, 1.0), (1.0, None)])
def test_the_power_is_of_the_risk(power, ratio):
  completion = np.full([32, 32], -1.0)
  completion[:, 16:] = 1.0
  seen = known(completion, np.full([32, 32], 0.5))
  weights = outlines.outline(power, 0.9)(seen)
  root = outlines.outline(0.5, 0.9)(seen)
  if ratio is None:
    np.testing.assert_allclose(weights, root**2)
  else:
    np.testing.assert_array_equal(weights, ratio)
