"""What is shown of the scan of a field."""

import numpy as np
import pytest

from adaptive_stem_tf.serving import field_scan
from adaptive_stem_tf.serving.live import field_watching
from adaptive_stem_tf.serving.scan_result import FieldProgress

SHAPE = (32, 40)
TRUTH = np.random.default_rng(0).normal(100, 5, SHAPE)
SETTINGS = field_scan.FieldSettings(SHAPE, 60, 2)
PLACES = np.argwhere(TRUTH > 107)


def watched(truth=TRUTH):
  """Returns what makes frames, and the list of how to make those that were shown."""
  shown = []
  return field_watching.Watching(shown.append, SETTINGS, truth, 0.5), shown


def known(seconds):
  return FieldProgress(TRUTH, np.ones(SHAPE), (90.0, 110.0), seconds)


def titles(drawn):
  return [axes.get_title() for axes in drawn.axes if axes.get_title()]


@pytest.mark.parametrize("truth", [TRUTH, None])
def test_a_frame_shows_what_is_known(truth):
  watching, shown = watched(truth)
  watching.measured(PLACES[:10], TRUTH[tuple(PLACES[:10].T)])
  first = shown[-1]()
  assert first.words() == {"state": "scanning", "text": "10 of 60 positions, 0.8% of pixels."}
  fixed = ["measured: 10 of 60 positions", "where the dose went, first (dark) to last (bright)"]
  later = ["completion so far", "uncertainty so far", "time that decisions took"]
  assert titles(first.draw(3)) == ["field"] * (truth is not None) + fixed + later
  watching.planned(known([0.1, 0.2]))
  watching.measured(PLACES[10:12], TRUTH[tuple(PLACES[10:12].T)])
  second = shown[-1]()
  assert second.words()["text"] == "12 of 60 positions, 0.9% of pixels; 1 of 2 rounds planned."
  second.draw(3)


@pytest.mark.parametrize(
  "seconds, names", [([0.1, 0.2, 0.2, 0.1], "survey 1 2 last completion"), ([0.1, 0.1], None)]
)
def test_the_last_frame_is_of_the_scan(seconds, names):
  watching, _ = watched()
  watching.measured(PLACES[:10], TRUTH[tuple(PLACES[:10].T)])
  scan = field_scan.FieldScan(
    PLACES, TRUTH[tuple(PLACES.T)], np.zeros(len(PLACES)), TRUTH, TRUTH > 107, TRUTH, TRUTH, TRUTH,
    (90.0, 110.0), seconds, "Stop in the browser" if names is None else None,
  )  # fmt: skip
  last = watching.ended(scan)
  assert last.state == ("stopped" if names is None else "over")
  times = next(a for a in last.draw().axes if a.get_title() == "time that decisions took")
  labels = [label.get_text() for label in times.get_xticklabels()]
  assert labels[len(seconds) - 1] == "last completion" and len(times.patches) == len(seconds)
  assert names is None or " ".join(labels) == names
  assert f"; {len(seconds) - 2} of 2 rounds planned." in last.words()["text"]
