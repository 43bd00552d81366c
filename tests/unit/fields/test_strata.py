"""Tests of the strata of fields."""

import importlib.util
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_stem_tf import specimens
from adaptive_stem_tf.fields import strata

YARDSTICK = pathlib.Path(__file__).parents[4] / "shared" / "tools" / "field_rule.py"


def noisy(shape, seed):
  return np.random.default_rng(seed).standard_normal(shape)


def test_one_tile_of_many_has_everything():
  field = np.zeros((256, 256))
  field[90:100, 90:100] = 1  # far from the borders of its tile
  assert strata.gini(field) == pytest.approx(1 - 1 / 16)


def test_two_of_four_tiles_share_alike():
  field = np.zeros((128, 128))
  field[20:30, 20:30] = field[84:94, 84:94] = 1
  assert strata.gini(field) == pytest.approx(0.5)


def test_equal_tiles_have_none():
  tile = np.zeros((64, 64))
  tile[20:30, 30:40] = 1
  assert strata.gini(np.tile(tile, (4, 4))) == pytest.approx(0)
  assert strata.gini(np.full((128, 192), 3.0)) == 0
  assert strata.gini(noisy((96, 96), 0)) == 0  # one whole tile


@settings(max_examples=20, deadline=None)
@given(st.integers(64, 200), st.integers(64, 200), st.floats(0.01, 100), st.floats(-10, 10))
def test_it_is_a_share_and_does_not_depend_on_the_scale(rows, columns, factor, offset):
  field = noisy((rows, columns), rows * columns) * np.linspace(0, 1, columns)
  value = strata.gini(field)
  assert 0 <= value < 1
  assert strata.gini(factor * field + offset) == pytest.approx(value, abs=1e-6)
  assert strata.gini(np.ascontiguousarray(field)) == value


def test_the_filter_is_that_of_targets():
  field = noisy((70, 70), 3).astype(np.float32)
  expected = specimens.low_pass(field[None, ..., None], 2.5)[0, ..., 0]
  np.testing.assert_allclose(strata.low_pass(field), expected, atol=1e-5)


def test_limits_belong_to_the_more_heterogeneous_stratum():
  values = (0.0, 0.2999, 0.3, 0.4999, 0.5, 0.9)
  assert [strata.stratum(value) for value in values] == [
    "frame-filling",
    "frame-filling",
    "mixed",
    "mixed",
    "heterogeneous",
    "heterogeneous",
  ]


@pytest.mark.parametrize("shape", [(63, 100), (100, 63), (64, 64, 1), (64,)])
def test_fields_without_a_tile_are_refused(shape):
  with pytest.raises(ValueError, match="has no tile of 64 x 64 px"):
    strata.gini(np.zeros(shape))


@pytest.mark.skipif(not YARDSTICK.exists(), reason="../shared/tools/field_rule.py is not here.")
@pytest.mark.parametrize("shape", [(128, 128), (200, 333), (512, 512)])
def test_it_agrees_with_an_independent_implementation(shape):
  pytest.importorskip("skimage")
  spec = importlib.util.spec_from_file_location("field_rule", YARDSTICK)
  yardstick = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(yardstick)
  field = noisy(shape, 1) * np.linspace(0, 1, shape[1]) ** 3
  assert strata.gini(field) == pytest.approx(yardstick.gini(field), rel=1e-9)
