"""What is shown and told of a live scan."""

import numpy as np
import pytest

from adaptive_stem_tf.intensities import IntensityRange
from adaptive_stem_tf.serving.live import engines, loop, picture, report
from adaptive_stem_tf.serving.live.rules import Rules
from tests import tiny

POSITIONS = np.stack([np.linspace(0, 15, 16), np.linspace(3, 12, 16)], 1)


def frame(**more):
  return picture.Frame(16, POSITIONS, np.linspace(5, 9, 16), 4, 4, **more)


def timing(took, late=False, idle=0.0, predicted=None):
  return loop.Timing(0, 1, 0.0, took, took and took / 2, 100.0, late, idle, 0.1, 0.1, predicted)


def titles(drawn):
  return [axes.get_title() for axes in drawn.axes]


def test_panels_come_with_what_is_known():
  measured = "4 of 4 segments, 6.2% of pixels\npath from first (dark) to last (bright)"
  assert titles(frame().draw()) == [measured, "completion so far", ""]
  ended = {
    "completion": np.full([16, 16], 7.0),
    "took": np.array([20.0, 300.0]),
    "late": np.array([False, True]),
    "deadline": 100.0,
    "state": "over",
  }
  assert titles(frame(**ended).draw()) == [measured, "completion", ""]
  truth = tiny.images(1)[0, ..., 0]
  drawn = frame(**ended, truth=truth, predicted=np.array([2.0, 1.0])).draw()
  assert titles(drawn)[:4] == ["specimen", measured, "completion", ""]
  times = drawn.axes[3]
  assert times.get_ylabel() == "time, us" and times.get_yscale() == "log"
  in_time, late, deadline = times.lines
  assert in_time.get_ydata() == [20] and late.get_ydata() == [300] and late.get_xdata() == [2]
  assert deadline.get_ydata()[0] == 100 and times.get_ylim()[0] < 20 < 300 < times.get_ylim()[1]
  assert drawn.axes[4].get_ylabel() == "predicted 10 MSE"


@pytest.mark.parametrize("columns, rows", [(None, 1), (3, 2), (2, 2), (9, 1)])
def test_rows_are_filled_evenly(columns, rows):
  drawn = frame(truth=tiny.images(1)[0, ..., 0]).draw(columns)  # four panels
  assert drawn.axes[0].get_subplotspec().get_gridspec().nrows == rows
  assert len(drawn.axes) == 4


def test_words_of_a_page():
  more = {"took": np.array([20.0, 3000.0]), "late": np.array([False, True])}
  assert frame().words() == {"state": "scanning", "text": "4 of 4 segments, 6.2% of pixels."}
  assert (
    frame(**more, state="over").words()["text"].endswith("; 2 decisions, 1 late, median 1.51 ms.")
  )


def test_what_was_measured_so_far_is_completed():
  places, values = [POSITIONS[:4], POSITIONS[4:8]], [np.full(4, 5.0), np.full(4, 9.0)]
  ranges = IntensityRange(np.array([5.0]), np.array([9.0]))
  progress = loop.Progress(places, values, ranges, lambda: [timing(20.0)])
  shown = report.frame_so_far(progress, tiny.experiment().scan, Rules(), None)
  assert shown.words()["text"].startswith("2 of 4 segments, 3.1% of pixels; 1 decisions")
  completed = shown.completed(lambda partial: partial[..., 0])
  assert completed.completion[0, 3] == 5 and completed.completion[7, 7] == 9
  assert completed.completion[0, 0] == 7  # 0 of -1 to 1
  at_the_end = frame(completion=np.ones([16, 16]))
  assert at_the_end.completed(None) is at_the_end


@pytest.mark.parametrize("longest, unit", [(900.0, "us"), (1100.0, "ms"), (2e6, "s")])
def test_times_have_the_unit_that_suits_them(longest, unit):
  drawn = frame(took=np.array([longest]), late=np.array([False]), deadline=1.0).draw()
  assert drawn.axes[2].get_ylabel() == f"time, {unit}"


def test_a_scan_without_decisions_has_a_picture():
  frame(completion=np.zeros([16, 16]), deadline=10.0).draw()


def test_times_by_hand():
  told = report.decision_times(
    [timing(20.0), timing(200.0, late=True, idle=100.0), timing(40.0, idle=7.0)]
  )
  assert (
    told["decisions"] == 3
    and told["late"] == 1
    and told["deadline_us"] == 100
    and told["beam_waited_us"] == 107
  )
  assert told["latency_us"] == pytest.approx({"p50": 40, "p99": 40 + 0.98 * 160, "max": 200})
  assert told["decision_us"]["p50"] == 20
  assert report.decision_times([])["decision_us"] == {}


def decided(took, late):
  return [
    timing(t, late=is_late)._replace(busy_us=None if t is None else t)
    for t, is_late in zip(took, late)
  ]


def test_decisions_that_were_left_out_count_as_late_and_have_no_time():
  timings = decided([20.0, 400.0, None, 30.0], [False, True, True, False])
  told = report.decision_times(timings)
  assert (told["late"], told["left_out"], told["decision_us"]["max"]) == (2, 1, 400)
  shown = report.frame_of(
    (POSITIONS, np.arange(16.0)), timings, tiny.experiment().scan, Rules(), None
  )
  assert "4 decisions, 2 late, median 30 us" in shown.words()["text"]
  labels = [text.get_text() for text in shown.draw().axes[-1].get_legend().get_texts()]
  assert labels == ["in time", "late", "left out"]


FAST, SLOW = engines.Engine("litert", "LiteRT"), engines.Engine("tensorflow", "TensorFlow (no)")


@pytest.mark.parametrize(
  "late, rules, engine, words",
  [
    ([True] * 4, Rules(), SLOW, "4 of 4 decisions were late and the beam went on without them: the "
     "scan was not adaptive. A decision took 300 us (p99 300), of 100 us. Choose LiteRT instead of "
     "TensorFlow (no), --dwell_us=94 or more, or --late=wait."),
    ([True] * 3 + [False], Rules(), FAST, "the scan was hardly adaptive. A decision took 300 us "
     "(p99 300), of 100 us. Choose --dwell_us=94 or more, or --late=wait."),
    ([True] * 4, Rules(deadline=100.0), FAST, "Choose --deadline_us=375 or more, or --late=wait."),
    ([True] * 2 + [False] * 2, Rules(), SLOW, None),
    ([True] * 4, Rules("wait"), SLOW, None),
  ],
)  # fmt: skip
def test_a_scan_that_was_not_adaptive_is_called_so(late, rules, engine, words):
  told = report.warning(decided([300.0] * 4, late), rules, engine, 4)
  assert told is None if words is None else told.endswith(words)


def test_a_scan_without_decisions_needs_no_warning():
  assert report.warning([], Rules(), SLOW, 4) is None
