"""Signatures of images, and near-duplicates among them."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptive_stem_tf.micrographs import signatures
from tests.unit.micrographs import fields


def noise(rng, side=32):
  return rng.standard_normal([side, side]).astype(np.float32)


def test_signature_by_hand():
  image = np.kron(np.arange(144, dtype=np.float32).reshape(12, 12), np.ones([3, 2]))
  means = np.arange(144) - 71.5
  np.testing.assert_allclose(signatures.signature(image), means / np.linalg.norm(means), rtol=1e-5)
  assert not signatures.signature(np.full([20, 20], 3.0)).any()


@hypothesis.given(st.integers(0, 2**31), st.floats(0.1, 100), st.floats(-100, 100))
def test_brightness_and_contrast_do_not_make_another_image(seed, factor, offset):
  image = fields.smooth(40, 40, seed).astype(np.float64)
  one, other = signatures.signature(image), signatures.signature(factor * image + offset)
  kept = signatures.Signatures()
  kept.keep(one)
  assert kept.near_duplicates(other).tolist() == [0]
  assert not kept.near_duplicates(signatures.signature(-image)).size


def test_many_signatures_are_compared_with_all_before(rng):
  kept, every = signatures.Signatures(), [signatures.signature(noise(rng)) for _ in range(200)]
  assert all(kept.add(one) for one in every)
  assert not any(kept.add(one) for one in every)
  assert all(kept.near_duplicates(one).tolist() == [number] for number, one in enumerate(every))


def test_signatures_are_numbered_as_they_were_kept_whatever_their_sizes(rng):
  """Those of images of fewer than twelve pixels are smaller."""
  large, small = signatures.signature(noise(rng)), signatures.signature(noise(rng)[:5, :5])
  assert large.size > small.size
  kept = signatures.Signatures()
  for one in (large, small, small, large):
    kept.keep(one)
  assert kept.near_duplicates(large).tolist() == [0, 3]
  assert kept.near_duplicates(small).tolist() == [1, 2]
  assert not kept.near_duplicates(small[:4]).size


@pytest.mark.parametrize("products", [7, 1 << 24])
def test_pairs_are_those_whose_correlation_is_above_the_limit(rng, monkeypatch, products):
  """Just above and just below 0.98, however many are computed at a time."""
  monkeypatch.setattr(signatures, "_PRODUCTS", products)
  base = signatures.signature(noise(rng))
  other = signatures.signature(noise(rng))
  other -= (other @ base) * base
  other /= np.linalg.norm(other)
  at = lambda correlation: (correlation * base + np.sqrt(1 - correlation**2) * other)[None]
  others = np.concatenate([at(c).astype(np.float32) for c in (0.98001, 0.97999, 1.0, 0.5)])
  one = np.stack([other, base, -base])
  assert signatures.near_pairs(one, others).tolist() == [[1, 0], [1, 2]]
  assert signatures.near_pairs(one, others[:0]).shape == (0, 2)
  assert signatures.near_pairs(one[:0], others).shape == (0, 2)
