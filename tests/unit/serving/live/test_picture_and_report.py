"""What is shown and told of a live scan."""

import numpy as np
import pytest
from matplotlib import image

from adaptive_stem_tf.serving.live import loop, picture, report
from tests import tiny

POSITIONS = np.stack([np.linspace(0, 15, 16), np.linspace(3, 12, 16)], 1)


def frame(**more):
  return picture.Frame(16, POSITIONS, np.linspace(5, 9, 16), 4, 4, **more)


def timing(took, late=False, idle=0.0, predicted=None):
  return loop.Timing(0, 1, 0.0, took, took / 2, 100.0, late, idle, 0.1, 0.1, predicted)


def titles(drawn):
  return [axes.get_title() for axes in drawn.axes]


def test_panels_come_with_what_is_known():
  measured = "4 of 4 segments, 6.2% of pixels\npath from first (dark) to last (bright)"
  assert titles(picture.draw(frame())) == [measured]
  ended = {
    "completion": np.full([16, 16], 7.0),
    "took": np.array([20.0, 300.0]),
    "late": np.array([False, True]),
    "deadline": 100.0,
  }
  assert titles(picture.draw(frame(**ended))) == [measured, "completion", ""]
  truth = tiny.images(1)[0, ..., 0]
  drawn = picture.draw(frame(**ended, truth=truth, predicted=np.array([2.0, 1.0])))
  assert titles(drawn)[:4] == ["specimen", measured, "completion", ""]
  times = drawn.axes[3]
  assert times.get_ylabel() == "time, us" and times.get_yscale() == "log"
  in_time, late, deadline = times.lines
  assert in_time.get_ydata() == [20] and late.get_ydata() == [300] and late.get_xdata() == [2]
  assert deadline.get_ydata()[0] == 100 and times.get_ylim()[0] < 20 < 300 < times.get_ylim()[1]
  assert drawn.axes[4].get_ylabel() == "predicted 10 MSE"


@pytest.mark.parametrize("longest, unit", [(900.0, "us"), (1100.0, "ms"), (2e6, "s")])
def test_times_have_the_unit_that_suits_them(longest, unit):
  drawn = picture.draw(
    frame(
      completion=np.zeros([16, 16]), took=np.array([longest]), late=np.array([False]), deadline=1.0
    )
  )
  assert drawn.axes[2].get_ylabel() == f"time, {unit}"


def test_a_scan_without_decisions_has_a_picture():
  picture.draw(
    frame(completion=np.zeros([16, 16]), took=np.zeros(0), late=np.zeros(0, bool), deadline=10.0)
  )


def test_another_process_draws_and_skips_what_comes_too_fast(tmp_path):
  shown = picture.LivePicture(tmp_path / "live.png")
  for _ in range(50):
    shown.show(frame())  # returns at once
  assert shown.finish(
    frame(completion=np.full([16, 16], 7.0), took=np.ones(3), late=np.zeros(3, bool), deadline=2.0)
  )
  pixels = image.imread(tmp_path / "live.png")
  assert pixels.shape[1] > 2 * pixels.shape[0] and pixels[..., :3].std() > 0.05  # the last one


def test_a_scan_goes_on_without_its_picture(tmp_path):
  shown = picture.LivePicture(tmp_path / "live.png")
  shown.close()
  shown.show(frame())
  shown.show(frame())
  assert shown._idle.is_set()  # else the end of the scan waits a minute for nobody
  assert not shown.finish(frame())


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
