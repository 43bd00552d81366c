"""The Open Beam Interface when it or the computer misbehaves: the beam is off."""

import socket

import numpy as np
import pytest

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import microscope, open_beam
from adaptive_stem_tf.serving.live import open_beam_commands as commands
from tests.unit.serving.live import peer
from tests.unit.serving.live.interface import DIAGONAL, FIELD, connected, inside, live, settled


def test_a_peer_that_does_not_speak_the_protocol_is_refused():
  with (
    pytest.raises(microscope.MicroscopeError, match="sent .* of 1 bytes|did not answer"),
    connected(cookie_error=1),
  ):
    pass


def test_nobody_there():
  with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
  with pytest.raises(
    microscope.MicroscopeError, match=f"no Open Beam Interface answers at 127.0.0.1:{port}"
  ):
    open_beam.OpenBeam("127.0.0.1", port, FIELD)


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize(
  "fault, said, known",
  [
    (
      "die",
      "closed the connection|broke the connection|takes no more commands",
      "is blanked: the interface has confirmed it, over a new connection",
    ),
    (
      "gone",
      "closed the connection|broke the connection|takes no more commands",
      "cannot be reached any more.* Blank it by hand",
    ),
    ("silent", "sent .* of 14 bytes in|answered .* was expected", "is blanked: the inter"),
    ("drop", "sent .* of 14 bytes in|answered .* was expected", "is blanked: the inter"),
    ("double", "answered .* was expected: its samples are out of step", "is blanked: the inter"),
    ("scramble", "answered .* was expected: its samples are out of step", "is blanked: the inter"),
  ],
)
def test_failures_in_the_middle_of_a_scan_leave_the_beam_off(fault, said, known, delay):
  with connected(fault=fault, at=7) as (scope, other):
    with pytest.raises(stop_lib.IncompleteScan, match=f"({said}).*{known}") as failed:
      live(scope, delay)
    assert scope._connection.closed  # nothing more is sent
    scope.close()
  assert settled(other).blanked or fault == "gone"
  lit = [pixel for pixel in other.pixels if not pixel.blanked]
  assert all(map(inside, lit))
  # What is kept was measured where it is said to be: the segment that was garbled is not.
  kept = failed.value.scan
  assert kept.segments == 1
  np.testing.assert_array_equal(
    kept.intensities, [peer.sample(pixel.x, pixel.y) for pixel in lit[:4]]
  )


def test_a_segment_that_was_cut_anywhere_leaves_nothing_to_the_next_client():
  with connected() as (scope, other):
    sent = []
    scope._connection.send = sent.append
    scope.submit(DIAGONAL)
    scope._connection.close()
    message = sent[0]
    for cut in range(len(message)):
      settled(other)
      with socket.create_connection(("127.0.0.1", other.port)) as cutting:
        cutting.sendall(message[:cut])
      before = len(other.pixels)
      following = open_beam.OpenBeam("127.0.0.1", other.port, FIELD, 8.0, timeout=2.0)
      assert other.blanked and other.external and other.beam == 1, cut
      # A pixel that was cut is completed by zeros: it may lie outside, for one cycle.
      outside = [p for p in other.pixels[before:] if not p.blanked and not inside(p)]
      assert [pixel.dwell for pixel in outside] in ([], [0]), cut
      values = following.probe(DIAGONAL)
      np.testing.assert_array_equal(
        values, [peer.sample(p.x, p.y) for p in other.pixels if not p.blanked][-4:]
      )
      following.close()


def test_an_answer_that_comes_late_but_in_time_is_taken():
  with connected(timeout=2.0, fault="slow", at=7, pause=0.3) as (scope, other):
    scanned = live(scope)
  assert len(scanned.intensities) == 16
  assert scanned.timings[1].asked_us - scanned.timings[0].asked_us > 2.5e5


def test_an_answer_that_comes_too_late_ends_the_scan_blanked():
  with (
    connected(fault="slow", at=7, pause=0.8) as (scope, other),
    pytest.raises(stop_lib.IncompleteScan, match="sent 0 of 14 bytes in 0.2 s"),
  ):
    live(scope)
  assert settled(other).blanked


def test_a_computer_that_dies_leaves_the_beam_off():
  with connected() as (scope, other):
    scope.submit(DIAGONAL)
    scope._connection.close()  # without a word
    assert settled(other).blanked
    assert [pixel.blanked for pixel in other.pixels] == [False] * 4 + [True]


# At most 16 of these positions of 1.024 ms are under way.
SLOW = {"dwell": 1024.0, "timeout": 5.0, "beam": open_beam.Beam(heartbeat=17e3)}


LONG = np.stack([np.linspace(0, 15, 50), np.linspace(15, 0, 50)], 1)


def measured(pixels):
  """Returns what was measured where the beam was on."""
  return [peer.sample(pixel.x, pixel.y) for pixel in pixels if not pixel.blanked]


def test_a_computer_that_stalls_leaves_the_beam_off_after_a_heartbeat():
  with connected(**SLOW) as (scope, other):
    while not other.external:  # it takes over when it has read what a client says first
      pass
    scope.submit(LONG)
    scope.submit(LONG + 0.1)
    # Nothing is asked for: what is said on another way shows that the rest was not sent.
    scope._connection.send(commands.external_control(False))
    while other.external:
      pass
    assert len(measured(other.pixels)) == 16 and other.blanked
    values = np.concatenate([scope.collect(), scope.collect()])
    assert values.tolist() == measured(other.pixels) and len(values) == 100
    assert scope.lit == 100 * 1024
    dark = [number for number, pixel in enumerate(other.pixels) if pixel.blanked]
    assert np.diff([-1, *dark]).max() == 9  # two packets fit a heartbeat
    scope.close()


def test_a_beam_is_blanked_at_once():
  with connected(**SLOW) as (scope, other):
    scope.submit(LONG)
    scope.submit(LONG)
    scope.withdraw()
    with pytest.raises(microscope.WithdrawnError, match="blanked at once") as cut:
      scope.collect()
    assert cut.value.measured.tolist() == measured(other.pixels)
    assert len(cut.value.measured) == 16 and scope.lit == 16 * 1024
    with pytest.raises(microscope.WithdrawnError) as unsent:
      scope.collect()
    with pytest.raises(microscope.WithdrawnError):
      scope.probe(DIAGONAL)
    assert not len(unsent.value.measured)
    scope.park()
    scope.close()
  assert settled(other).blanked and len(measured(other.pixels)) == 16


def test_what_is_not_sent_when_the_beam_is_blanked_is_not_sent_afterwards():
  with connected(**SLOW) as (scope, other):
    scope.submit(LONG)
    scope.blank()
    scope.submit(DIAGONAL)
    with pytest.raises(microscope.WithdrawnError) as cut:
      scope.collect()
    assert cut.value.measured.tolist() == measured(other.pixels)[:16]
    assert scope.collect().tolist() == measured(other.pixels)[16:]
    scope.close()


@pytest.mark.parametrize("heartbeat", [0.0, -1.0, float("nan")])
def test_a_heartbeat_that_is_none_is_refused(heartbeat):
  with pytest.raises(ValueError, match="heartbeat_ms=.* must be above 0"):
    open_beam.Beam(heartbeat=heartbeat)
