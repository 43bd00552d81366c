"""A client of the Open Beam Interface, and its peer."""

import contextlib

import numpy as np

from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving.live import deciding, field, loop, open_beam
from adaptive_stem_tf.serving.live.rules import Rules
from tests.unit.serving.live import peer
from tests.unit.serving.live.scripted import Scripted

# 16 px of 2 nm: 32 nm of a range of 128 nm, a quarter of the codes, 6144 to 10239 on both axes; 256
# codes a px.
FIELD = field.Field(16, 2.0, 128.0)


DIAGONAL = np.stack([np.arange(4.0), 2 * np.arange(4.0)], 1)  # rows 0 to 3, columns 0 to 6


BEAM = open_beam.Beam()


@contextlib.contextmanager
def connected(timeout=0.2, output=open_beam.SIXTEEN_BIT, dwell=8.0, beam=BEAM, **faults):
  """Yields a client and its peer."""
  other = peer.Peer(**faults)
  try:
    scope = open_beam.OpenBeam("127.0.0.1", other.port, FIELD, dwell, output, timeout, beam)
    yield scope, other
    scope._connection.close()
  finally:
    other.close()


def settled(other):
  """Returns the peer once its client is gone."""
  assert other.ended.wait(10)
  return other


def live(scope, delay=0):
  follows = Scripted(delay=delay)
  decides = deciding.Threaded(follows, scope.clock)
  try:
    return loop.run(
      scope, follows, decides, Normalisation("known", 0, 65532).start(1), Rules(late="wait")
    )
  finally:
    decides.close()


# Each segment has 4 samples, an extra one and a cookie: 14 bytes. Sample 7 is in the second.


def inside(pixel):
  return 6144 <= pixel.x <= 10239 and 6144 <= pixel.y <= 10239
