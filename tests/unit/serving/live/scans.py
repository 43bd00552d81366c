"""Live scans of one specimen by a model that follows a script."""

import numpy as np

from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving.live import deciding, loop, twin
from adaptive_stem_tf.serving.live.rules import Rules
from tests import tiny

IMAGE = tiny.images(1)[0, ..., 0]


SEGMENT = 4 * 10.0  # us: probes times dwell


def scan(follows, took=0.0, known=(-1.0, 1.0), scope=None, watch=None, **rules):
  """Scans IMAGE with decisions that take `took` us, or took[k]."""
  scope = scope or twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  duration = (lambda k: took[k]) if isinstance(took, list) else lambda _: took
  decides = deciding.Simulated(follows, scope.clock, duration)
  return loop.run(scope, follows, decides, mapping(known), Rules(**rules), watch), scope


def mapping(known):
  """Returns a range of intensities, for one specimen: a known one, or that of what is measured."""
  return (Normalisation("known", *known) if known else Normalisation("measured")).start(1)


def path_of(*angles):
  """Returns the positions of segments at angles, from the centre, clipped to the field."""
  start, segments = np.full(2, 8.0), []
  for angle in angles:
    step = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    segments.append(start + np.arange(4)[:, None] * step)
    start = start + 4 * step
  return np.clip(np.concatenate(segments), 0, 15)


DIAGONAL = np.pi / 4
