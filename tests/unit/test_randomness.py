"""Random streams: pure functions of seed, purpose and iteration."""

import itertools

import tensorflow as tf

from adaptive_stem_tf import randomness


def test_streams_differ_by_seed_purpose_and_iteration():
  keys = itertools.product(range(3), randomness.Purpose, range(3))
  streams = [
    tuple(randomness.stream(seed, purpose, tf.constant(it)).numpy()) for seed, purpose, it in keys
  ]
  assert len(streams) == len(set(streams)) == 9 * len(randomness.Purpose)


def test_streams_repeat():
  first, second = (
    randomness.stream(4, randomness.Purpose.WALK, tf.constant(10**12)) for _ in range(2)
  )
  assert first.dtype == tf.int64
  tf.debugging.assert_equal(first, second)
  assert int(first[1]) == 10**12


def test_purposes_fit_between_seeds():
  assert max(randomness.Purpose) < randomness._STREAMS
