"""Limits of dose and time, the log of segments, and scans that only count."""

import csv

import numpy as np
import pytest

from adaptive_stem_tf import writing
from adaptive_stem_tf.serving.live import field, guard, microscope, twin
from tests import disks

IMAGE = np.arange(64.0).reshape(8, 8)
DOWN = np.stack([np.arange(4.0), np.zeros(4)], 1)


def guarded(log=None, **limits):
  scope = twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  return guard.Guarded(scope, 8, guard.Limits(**limits), log), scope


def test_without_limits_a_guard_changes_nothing():
  scope, bare = guarded()
  other = twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  np.testing.assert_array_equal(scope.probe(DOWN), other.probe(DOWN))
  assert scope.lit == other.lit == 40 and scope.clock is bare.clock
  scope.park()
  scope.close()
  assert bare.blanked and bare.closed


@pytest.mark.parametrize(
  "limits, said",
  [
    ({"beam_us": 80.0}, "the beam on for 120 us in all, beyond max_beam_us=80"),
    ({"pixel_us": 20.0}, "the beam on pixel 0, 0 for 30 us, beyond max_us_per_px=20"),
    ({"seconds": 75e-6}, "max_seconds=7.5e-05 are over"),
  ],
)
def test_segments_beyond_a_limit_are_not_sent(limits, said):
  scope, bare = guarded(**limits)
  for _ in range(2):
    scope.probe(DOWN)
  with pytest.raises(microscope.MicroscopeError, match=said):
    scope.submit(DOWN)
  assert bare.lit == 80 and not bare._finished


def test_impossible_limits_are_refused():
  for name in ("beam_us", "pixel_us", "seconds"):
    with pytest.raises(ValueError, match=name):
      guard.Limits(**{name: -1.0})


def test_segments_are_logged_as_they_are_sent_and_measured(tmp_path):
  log = tmp_path / "segments.csv"
  scope, _ = guarded(log)
  scope.submit(DOWN)
  scope.submit(DOWN + 1)
  scope.collect()
  with log.open(newline="") as file:  # before it is closed
    rows = list(csv.DictReader(file))
  assert [(row["segment"], row["event"]) for row in rows] == [
    ("0", "sent"),
    ("1", "sent"),
    ("0", "measured"),
  ]
  assert [row["row_px"] for row in rows] == ["0.0000", "1.0000", ""]
  assert [row["beam_on_us"] for row in rows] == ["40", "80", "80"]
  assert rows[0]["utc"] <= rows[1]["utc"] and rows[0]["utc"].endswith("+00:00")
  scope.close()
  with pytest.raises(ValueError, match="exists: give another file"):
    guarded(log)


def test_a_dry_run_counts():
  scope = guard.DryRun(field.Field(16, 2.0, 128.0), 8.0)
  np.testing.assert_array_equal(scope.probe(DOWN), np.zeros(4))
  assert scope.lit == scope.clock.now() == 32
  assert "4 positions at codes [6144, 6144] to [6912, 6144]" in scope.told()


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_what_was_measured_is_worth_more_than_its_log(tmp_path, lines):
  """The segment under way is measured; then no more are sent, and the log has whole lines."""
  log = tmp_path / "segments.csv"
  scope, bare = guarded(log)
  header = log.stat().st_size
  scope.probe(DOWN)
  line = (log.stat().st_size - header) // 2
  with disks.full(log.stat().st_size + lines * line - 5):
    measured = [scope.probe(DOWN) for _ in range((lines + 1) // 2)]
    np.testing.assert_array_equal(measured[-1], IMAGE[:4, 0])
    with pytest.raises(microscope.MicroscopeError, match="segment_log cannot be written: File too"):
      scope.submit(DOWN)
    scope.close()
  assert bare.closed and not bare._finished
  content = log.read_text()
  assert content.endswith("\n") and len(content.splitlines()) in (2 + lines, 3 + lines)


def test_a_log_that_cannot_be_begun_is_told(tmp_path):
  log = tmp_path / "segments.csv"
  with disks.full(10), pytest.raises(writing.WriteError, match="segments.csv cannot be written"):
    guarded(log)
  assert not log.exists()


def test_a_segment_that_is_cut_is_logged_and_counted(tmp_path):
  log = tmp_path / "segments.csv"
  scope, bare = guarded(log)
  scope.submit(DOWN)
  scope.withdraw()
  with pytest.raises(microscope.WithdrawnError):
    scope.collect()
  assert bare.withdrawn and scope.lit == 0
  with log.open(newline="") as file:
    rows = [(row["event"], row["positions"], row["beam_on_us"]) for row in csv.DictReader(file)]
  assert rows == [("sent", "4", "40"), ("withdrawn", "0", "0")]
