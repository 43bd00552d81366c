"""Mapping a detector's intensities to [-1, 1] and back."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from adaptive_stem_tf import specimens
from adaptive_stem_tf.intensities import IntensityRange, Normalisation
from tests import tiny


def test_by_hand():
  values = np.array([[10.0, 15.0, 20.0, 30.0], [0.0, 1.0, 2.0, -1.0]])
  ranges = IntensityRange(np.array([10.0, 0.0]), np.array([20.0, 4.0]))
  mapped = ranges.to_unit(values)
  np.testing.assert_array_equal(mapped, [[-1, 0, 1, 3], [-1, -0.5, 0, -1.5]])
  np.testing.assert_array_equal(ranges.from_unit(mapped), values)


def test_an_empty_range_becomes_0_and_comes_back():
  flat = IntensityRange(np.array([7.0]), np.array([7.0]))
  mapped = flat.to_unit(np.full([1, 3, 3], 7.0))
  assert not mapped.any()
  np.testing.assert_array_equal(flat.from_unit(mapped + 0.3), 7.0)


def test_an_images_own_range_is_what_training_normalises_by():
  images = 100 + 30 * tiny.images(3)
  ours = IntensityRange(images.min((1, 2, 3)), images.max((1, 2, 3))).to_unit(images)
  specimens.normalise(images)
  np.testing.assert_allclose(ours, images, atol=1e-5)


@hypothesis.given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.floats(-1, 2))
def test_there_and_back(low, span, share):
  ranges = IntensityRange(np.array([low]), np.array([low + span]))
  value = ranges.low + share * span
  back = ranges.from_unit(ranges.to_unit(value))
  np.testing.assert_allclose(back, value, atol=1e-5 * span, rtol=1e-6)


@pytest.mark.parametrize(
  "text, expected",
  [
    ("image", Normalisation("image")),
    ("measured", Normalisation("measured")),
    ("0,65535", Normalisation("known", 0.0, 65535.0)),
    ("-1.5, 2", Normalisation("known", -1.5, 2.0)),
  ],
)
def test_what_users_write(text, expected):
  assert Normalisation.parse(text) == expected
  assert Normalisation.parse(str(expected)) == expected


@pytest.mark.parametrize(
  "text, words",
  [
    ("auto", "normalise='auto' is unknown: give image, measured, or LOW,HIGH"),
    ("1,0", "normalise=1,0 is no range"),
    ("1,1", "normalise=1,1 is no range"),
    ("a,b", "normalise='a,b' is no range: give two numbers"),
    ("1,2,3", "give two numbers"),
    ("0,inf", "normalise=0,inf is no range"),
    ("nan,1", "is no range"),
  ],
)
def test_what_they_get_wrong(text, words):
  with pytest.raises(ValueError, match=words):
    Normalisation.parse(text)


def test_the_measured_range_is_frozen_after_the_first_segment_that_shows_one():
  measured = Normalisation("measured").start(3)
  measured = measured.update(np.array([[1.0, 5.0], [2.0, 2.0], [4.0, 4.0]]))
  measured = measured.update(np.array([[0.0, 9.0], [2.0, 3.0], [4.0, 4.0]]))
  measured = measured.update(np.array([[-9.0, 9.0], [-9.0, 9.0], [4.0, 4.0]]))
  np.testing.assert_array_equal(measured.low, [1, 2, 4])
  np.testing.assert_array_equal(measured.high, [5, 3, 4])
  np.testing.assert_array_equal(
    measured.to_unit(np.array([[7.0, 5.0], [3.0, 2.0], [4.0, 9.0]])), [[2, 1], [1, -1], [0, 0]]
  )
  np.testing.assert_array_equal(
    measured.from_unit(np.array([[0.0], [-1.0], [0.3]])), [[3], [2], [4]]
  )


def test_nothing_is_clipped_in_any_kind_of_range():
  for kind in (Normalisation("known", 0.0, 4.0), Normalisation("image"), Normalisation("measured")):
    ranges = kind.start(1, np.array([[0.0, 4.0]]))
    ranges = ranges.update(np.array([[0.0, 4.0]]))
    np.testing.assert_array_equal(
      ranges.to_unit(np.array([[-1.0, 0, 2, 4, 6]])), [[-1.5, -1, 0, 1, 2]]
    )
    np.testing.assert_array_equal(ranges.from_unit(np.array([[1.5]])), [[5]])


def test_a_range_that_is_known_stays():
  images = np.array([[[2.0, 6.0]], [[-4.0, 0.0]]])
  for ranges, low, high in (
    (Normalisation("known", 0.0, 8.0).start(2), [0, 0], [8, 8]),
    (Normalisation("image").start(2, images), [2, -4], [6, 0]),
  ):
    ranges = ranges.update(np.array([[-9.0, 9.0], [-9.0, 9.0]]))
    np.testing.assert_array_equal(ranges.low, low)
    np.testing.assert_array_equal(ranges.high, high)


def test_nobody_knows_an_images_range_before_it_is_scanned():
  with pytest.raises(
    ValueError, match="normalise=image needs an image whose range is known before"
  ):
    Normalisation("image").start(1)


@pytest.mark.parametrize("kind", ["measured", "known"])
def test_the_rule_is_the_same_in_numpy_and_in_the_graph(kind, rng):
  """Segments of few different intensities: ranges stay open, close late or never."""
  segments = rng.integers(0, 2, [6, 50, 3]) * np.float32(0.37) - np.float32(0.17)
  segments[:3, :20] = 0.2
  segments[:, :5] = 0.2
  plain = Normalisation(kind, -0.5, 0.75).start(50)
  graph = IntensityRange(*(tf.constant(limits, tf.float32) for limits in plain))
  update = tf.function(IntensityRange.update, autograph=False)
  for segment in np.float32(segments):
    plain, graph = plain.update(segment), update(graph, tf.constant(segment))
    for ours, theirs in zip(plain, graph):
      np.testing.assert_allclose(ours, theirs, atol=1e-7)
    values = np.float32(rng.uniform(-2, 2, [50, 4, 4]))
    for mapping in ("to_unit", "from_unit"):
      ours, theirs = getattr(plain, mapping)(values), getattr(graph, mapping)(tf.constant(values))
      assert ours.dtype == np.float32 and theirs.dtype == tf.float32
      np.testing.assert_allclose(ours, theirs, atol=1e-5)
  assert kind == "known" or (plain.low[:5] == plain.high[:5]).all()
  assert (plain.high > plain.low)[5:].all()


def test_codes_of_a_detector_are_mapped_in_double_precision():
  ranges = Normalisation("measured").start(1).update(np.array([[2**31, 2**31 + 4]], np.uint32))
  np.testing.assert_array_equal(ranges.to_unit(np.array([[2**31 + 1]], np.uint32)), [[-0.5]])
