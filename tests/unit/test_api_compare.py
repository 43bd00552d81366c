"""What notebooks compare: policies of one's own, static scans and the project's, at one dose."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

import adaptive_stem_tf as stem
from adaptive_stem_tf.api import comparison as comparison_lib

# Tracing scans takes longer than measuring fields as small; test_comparison holds the graphs.
pytestmark = pytest.mark.usefixtures("eagerly")

SCANS = ("farthest_points", "gradient")
SIDE = 64


def field(seed=0):
  """Returns a field with structure on its left."""
  noise = np.random.default_rng(seed).normal(size=[8, 4])
  return np.pad(np.kron(noise, np.ones([8, 8])), [(0, 0), (0, 32)])


def right(known):
  """Measures the right half alone."""
  weights = np.zeros(known.mask.shape)
  weights[:, SIDE // 2 :] = 1
  return weights


@pytest.fixture(scope="module")
def comparison():
  own = {"right": right, "own gradient": stem.policies.gradient(0.5), "own even": cells}
  tf.config.run_functions_eagerly(True)
  compared = stem.compare(
    {"one": field(), "two": field(1)},
    own,
    scans=SCANS,
    completions=("local_linear",),
    coverages=(0.1,),
    rounds=2,
    pairs=0.0,
  )
  tf.config.run_functions_eagerly(False)
  return compared


def cells(known):
  """Measures evenly, in weights of cells."""
  return np.full([SIDE // known.cell, SIDE // known.cell], 7.0)


def errors(comparison, scan):
  return [row["ten_mse"] for row in comparison.rows if row["scan"] == scan]


def test_every_scan_measures_as_much(comparison):
  scans = (*SCANS, "right", "own gradient", "own even")
  assert [row["scan"] for row in comparison.rows] == [*scans, *scans]
  assert {row["positions"] for row in comparison.rows} == {round(0.1 * SIDE**2)}
  assert {row["file"] for row in comparison.rows} == {"one", "two"}


def test_rules_are_those_of_the_command(comparison):
  np.testing.assert_allclose(
    errors(comparison, "own gradient"), errors(comparison, "gradient"), rtol=1e-4
  )
  # Without pairs, even rounds are farthest points.
  np.testing.assert_allclose(
    errors(comparison, "own even"), errors(comparison, "farthest_points"), rtol=1e-4
  )


def test_a_policy_that_looks_away_is_worse(comparison):
  assert min(errors(comparison, "right")) > 1.2 * max(errors(comparison, "gradient"))
  lines = comparison.table().splitlines()
  assert len({len(line) for line in lines}) == 1 and len(lines) == 7
  assert "| gradient" in "".join(lines[2:4]) and "| right " in lines[-1]
  assert repr(comparison) == comparison._repr_markdown_() == comparison.table()


def test_the_picture_has_every_scan(comparison):
  (axes,) = comparison.plot().axes
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert sorted(labels) == sorted(
    ["farthest_points (static)", "gradient", "right", "own gradient", "own even"]
  )
  assert labels[-1] == "right"


def test_policies_see_what_was_measured():
  seen = []

  def watching(known):
    seen.append(known)
    return known.uncertainty

  image = field()
  stem.compare(
    image,
    {"watching": watching},
    scans=(),
    completions=("local_linear",),
    coverages=(0.1,),
    rounds=2,
  )
  first, second = seen
  assert (first.round, second.round, first.rounds) == (1, 2, 2)
  assert first.mask.sum() < second.mask.sum() < 0.1 * SIDE**2
  assert second.mask[first.mask].all()
  assert (np.isnan(first.intensities) == ~first.mask).all()
  assert first.coverage == pytest.approx(0.1, abs=1e-3) and first.cell == 8
  measured = image[first.mask]
  assert np.corrcoef(measured, first.intensities[first.mask])[0, 1] > 0.99
  assert (
    first.completion.shape == first.plain.shape == image.shape and (first.uncertainty > 0).all()
  )


@pytest.mark.parametrize(
  "changed, words",
  [
    ({"policies": {"gradient": right}}, "policies=gradient is a scan already"),
    ({"scans": ("best",)}, "scans=best is unknown: there are farthest_points"),
    ({"completions": ("best",)}, "completions=best is unknown: there are generator"),
    ({"policies": {"flat": lambda known: known.mask[0]}}, r"flat returned weights of shape \[64\]"),
    ({"rounds": 17}, "rounds"),
    ({"policies": {"right": right}, "contiguous": True}, "contiguous=True and policies=right"),
  ],
)
def test_mistakes_are_sentences(changed, words):
  given = {"scans": (), "completions": ("local_linear",), "policies": {}, "rounds": 1, **changed}
  with pytest.raises(ValueError, match=words):
    stem.compare(field(), **given)


def test_the_room_of_that_name_leaves_the_function_alone():
  room = importlib.import_module("adaptive_stem_tf.compare")
  assert stem.compare is comparison_lib.compare and importlib.import_module(room.__name__) is room
