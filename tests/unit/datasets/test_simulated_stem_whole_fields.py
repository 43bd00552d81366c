"""Tests of simulated whole fields: reproducibility, range, truth, variety and strata."""

import numpy as np
import pytest

from adaptive_stem_tf.fields import strata
from datasets.simulated_stem import whole_fields
from datasets.simulated_stem.specimens import Canvas

SMALL = 192  # px: fast, and still nine tiles
EVERY_KIND = pytest.mark.parametrize("kind", whole_fields.KINDS)


@EVERY_KIND
def test_fields_span_their_range_and_follow_their_truth(kind):
  drawn = whole_fields.draw_fields(6, seed=2, size=SMALL, kinds=[kind])
  for name in ("image", "truth"):
    assert drawn[name].shape == (6, SMALL, SMALL, 1) and drawn[name].dtype == np.float32
    assert np.isfinite(drawn[name]).all() and np.abs(drawn[name]).max() <= 1
  low, high = np.percentile(drawn["image"], whole_fields.PERCENTILES, axis=(1, 2, 3))
  np.testing.assert_allclose(low, -1, atol=0.05)
  np.testing.assert_allclose(high, 1, atol=0.05)
  assert (drawn["kind"] == kind).all() and (drawn["dose"] > 0).all()
  pictures = drawn["image"].reshape(6, -1)
  assert (np.corrcoef(pictures) - np.eye(6)).max() < 0.97, "two fields look the same"


@EVERY_KIND
def test_more_electrons_come_nearer_to_the_truth(kind, monkeypatch):
  def error(dose):
    monkeypatch.setattr(whole_fields, "draw_dose", lambda rng: dose)
    drawn = whole_fields.draw_fields(2, seed=5, size=SMALL, kinds=[kind])
    return np.mean((drawn["image"] - drawn["truth"]) ** 2)

  assert error(1e9) < 0.02
  assert error(1e9) < 0.2 * error(10)


def test_truth_is_on_the_scale_of_the_image():
  drawn = whole_fields.draw_fields(30, seed=1, size=SMALL)
  smooth = [
    [strata.low_pass(drawn[name][i, ..., 0]) for name in ("image", "truth")] for i in range(30)
  ]
  slopes = [np.polyfit(truth.ravel(), image.ravel(), 1)[0] for image, truth in smooth]
  assert 0.85 < np.median(slopes) < 1.05


@EVERY_KIND
def test_specimens_are_drawn_in_single_precision(kind):
  # Double precision would double the time that the data set takes to build.
  canvas = Canvas(128, 24, (4.0, 40.0))
  draw = whole_fields.SPECIMENS[kind].draw
  assert all(
    draw(np.random.default_rng(i), canvas).continuum.dtype == np.float32 for i in range(12)
  )


def test_a_field_follows_from_its_seed_alone():
  all_of_them = whole_fields.draw_fields(4, seed=3, size=128)
  alone = whole_fields.draw_field((3, 2), size=128)
  for name, value in alone._asdict().items():
    np.testing.assert_array_equal(all_of_them[name][2], value)
  other = whole_fields.draw_field((4, 2), size=128)
  assert not np.array_equal(alone.image, other.image)


def test_strata_are_those_of_the_images():
  drawn = whole_fields.draw_fields(5, seed=0, size=SMALL)
  for image, gini, stratum in zip(drawn["image"], drawn["gini"], drawn["stratum"]):
    assert gini == pytest.approx(strata.gini(image[..., 0]))
    assert stratum == strata.stratum(gini)


@pytest.mark.slow
def test_kinds_lie_where_their_names_say():
  def median(kind):
    return np.median(whole_fields.draw_fields(15, seed=0, kinds=[kind])["gini"])

  assert all(median(kind) > 0.5 for kind in ("catalyst", "particles", "wires"))
  assert all(median(kind) < 0.3 for kind in ("lattice", "perovskite", "texture"))
  everything = whole_fields.draw_fields(100, seed=0)["stratum"]
  counts = [np.count_nonzero(everything == stratum) for stratum in strata.STRATA]
  assert min(counts) >= 15


def test_shares_add_up_and_a_quarter_fills_the_frame():
  shares = {kind: whole_fields.SPECIMENS[kind].share for kind in whole_fields.KINDS}
  assert sum(shares.values()) == pytest.approx(1)
  filling = ("lattice", "perovskite", "interface", "grains", "mesh", "texture")
  assert sum(shares[kind] for kind in filling) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"count": 0, "seed": 0}, "count=0"),
    ({"count": 1, "seed": 0, "size": 64}, "size=64: a field has at least 96 px"),
    ({"count": 1, "seed": 0, "kinds": ["cat"]}, r"Unknown kinds \['cat'\]"),
    ({"count": 1, "seed": 0, "kinds": []}, "Unknown kinds"),
  ],
)
def test_mistakes_are_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    whole_fields.draw_fields(**arguments)
