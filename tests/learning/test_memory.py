"""The DNC must use its memory: copy what an LSTM of as many weights cannot hold."""

import pytest
import tensorflow as tf

from tests.learning import copying

_LENGTH, _ITERATIONS = 10, 4000


@pytest.mark.slow
def test_dnc_copies_what_an_lstm_of_equal_size_cannot_and_only_by_reading():
  tf.random.set_seed(0)
  dnc = copying.train(copying.make_dnc(), _LENGTH, _ITERATIONS)
  lstm = copying.train(copying.make_lstm(dnc.parameters), _LENGTH, _ITERATIONS)
  print(
    f"\n{_LENGTH} items of {copying.BITS} bits: DNC {dnc.accuracy:.3f} ({dnc.parameters} "
    f"weights), without words {dnc.without_words:.3f}; LSTM {lstm.accuracy:.3f} "
    f"({lstm.parameters} weights)"
  )
  assert dnc.parameters <= lstm.parameters < 1.05 * dnc.parameters
  assert dnc.accuracy >= 0.95
  assert lstm.accuracy < 0.8
  assert dnc.without_words < 0.6  # chance is 0.5
