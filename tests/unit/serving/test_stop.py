"""Requests to end a scan."""

import os
import signal

import pytest

from adaptive_stem_tf.serving import stop as stop_lib


def test_the_first_reason_is_kept():
  stop = stop_lib.Stop()
  assert not stop and stop.reason is None
  stop.request("the page")
  stop.request("a person")
  assert stop and stop.reason == "the page" and stop.exit_code == 0


def test_a_signal_is_a_request_and_the_second_acts_at_once():
  before = signal.getsignal(signal.SIGTERM)
  with stop_lib.Stop() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.reason == "SIGTERM" and stop.exit_code == 128 + signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
    assert stop.reason == "SIGTERM"
  assert signal.getsignal(signal.SIGTERM) == before


def test_a_scan_that_is_stopped_before_it_begins_measures_nothing():
  stop = stop_lib.Stop()
  stop.check()
  stop.request("a person")
  with pytest.raises(stop_lib.NotBegunError, match="a person before anything was measured"):
    stop.check()


def test_a_beam_is_blanked_at_once_by_whoever_can():
  blanked = []
  stop = stop_lib.Stop()
  stop.request("a person")
  stop.on_blank(lambda: blanked.append("first"))
  assert not blanked
  stop.request("the page", at_once=True)
  assert blanked == ["first"] and stop.reason == "a person"
  stop.on_blank(lambda: blanked.append("second"))  # too late to be asked for
  assert blanked == ["first", "second"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no such signal")
def test_a_signal_has_the_beam_blanked_at_once():
  before, blanked = signal.getsignal(signal.SIGUSR1), []
  with stop_lib.Stop() as stop:
    stop.on_blank(lambda: blanked.append(True))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert blanked and stop.reason == "SIGUSR1" and stop.exit_code == 128 + signal.SIGUSR1
  assert signal.getsignal(signal.SIGUSR1) == before
