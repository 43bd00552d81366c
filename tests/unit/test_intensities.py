"""Mapping a detector's intensities to [-1, 1] and back."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf import intensities, specimens
from adaptive_stem_tf.intensities import Normalisation
from tests import tiny


def test_by_hand():
  values = np.array([[10.0, 15.0, 20.0, 30.0], [0.0, 1.0, 2.0, -1.0]])
  mapped = intensities.to_unit(values, np.array([10.0, 0.0]), np.array([20.0, 4.0]))
  np.testing.assert_array_equal(mapped, [[-1, 0, 1, 3], [-1, -0.5, 0, -1.5]])
  np.testing.assert_array_equal(
    intensities.from_unit(mapped, np.array([10.0, 0.0]), np.array([20.0, 4.0])), values
  )


def test_an_empty_range_becomes_0_and_comes_back():
  mapped = intensities.to_unit(np.full([1, 3, 3], 7.0), np.array([7.0]), np.array([7.0]))
  assert not mapped.any()
  np.testing.assert_array_equal(
    intensities.from_unit(mapped + 0.3, np.array([7.0]), np.array([7.0])), 7.0
  )


def test_an_images_own_range_is_what_training_normalises_by():
  images = 100 + 30 * tiny.images(3)
  ours = intensities.to_unit(images, images.min((1, 2, 3)), images.max((1, 2, 3)))
  specimens.normalise(images)
  np.testing.assert_allclose(ours, images, atol=1e-5)


@hypothesis.given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.floats(-1, 2))
def test_there_and_back(low, span, share):
  low, high = np.array([low]), np.array([low + span])
  value = low + share * span
  back = intensities.from_unit(intensities.to_unit(value, low, high), low, high)
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
  measured.update(np.array([[1.0, 5.0], [2.0, 2.0], [4.0, 4.0]]))
  measured.update(np.array([[0.0, 9.0], [2.0, 3.0], [4.0, 4.0]]))
  measured.update(np.array([[-9.0, 9.0], [-9.0, 9.0], [4.0, 4.0]]))
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
    ranges.update(np.array([[0.0, 4.0]]))
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
    ranges.update(np.array([[-9.0, 9.0], [-9.0, 9.0]]))
    np.testing.assert_array_equal(ranges.low, low)
    np.testing.assert_array_equal(ranges.high, high)


def test_nobody_knows_an_images_range_before_it_is_scanned():
  with pytest.raises(
    ValueError, match="normalise=image needs an image whose range is known before"
  ):
    Normalisation("image").start(1)
