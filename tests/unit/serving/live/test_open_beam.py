"""The Open Beam Interface: bytes, and scans of a loopback peer."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_stem_tf.serving.live import field, open_beam
from adaptive_stem_tf.serving.live import open_beam_commands as commands
from tests.unit.serving.live import peer
from tests.unit.serving.live.interface import DIAGONAL, FIELD, connected, live, settled


def test_commands_are_encoded_as_published():
  assert commands.synchronize(0x1234, open_beam.SIXTEEN_BIT) == bytes.fromhex("00 1234")
  assert commands.synchronize(0xFFFE, open_beam.EIGHT_BIT) == bytes.fromhex("02 fffe")
  assert commands.flush() == b"\x20"
  assert commands.external_control(True) == b"\x31" and commands.external_control(False) == b"\x30"
  assert commands.select_electrons() == b"\x41"
  assert [
    commands.blank(enable, inline) for enable in (False, True) for inline in (False, True)
  ] == [b"\x50", b"\x52", b"\x51", b"\x53"]
  # A row is y and a column is x; x comes first.
  assert commands.vectors(np.array([[4, 0x3FFF], [0x102, 5]]), 7) == bytes.fromhex(
    "e1 3fff 0004 0006  e1 0005 0102 0006"
  )


@pytest.mark.parametrize(
  "dwell, cycles", [(0.125, 1), (0.3, 2), (8.0, 64), (10.0, 64), (15.9, 64), (16.0, 128)]
)
def test_dwell_times_are_powers_of_two_no_longer_than_asked(dwell, cycles):
  assert commands.cycles_of(dwell) == cycles
  with connected(dwell=dwell) as (scope, other):
    scope.probe(DIAGONAL)
    assert scope.dwell == cycles / 8
    # The gateware dwells a cycle more than it is sent.
    assert [pixel.dwell + 1 for pixel in other.pixels if not pixel.blanked] == [cycles] * 4


def test_pixels_become_codes():
  np.testing.assert_array_equal(FIELD.first, [6144, 6144])
  np.testing.assert_array_equal(FIELD.last, [10239, 10239])
  np.testing.assert_array_equal(
    FIELD.codes([[0, 0], [8, 4], [15, 16]]), [[6144, 6144], [8192, 7168], [9984, 10239]]
  )
  # 48 nm up is 6144 codes, 32 nm to the right 4096
  aside = field.Field(16, 2.0, 128.0, (-48.0, 32.0))
  np.testing.assert_array_equal(aside.codes([[0, 0], [8, 8]]), [[0, 10240], [2048, 12288]])


@given(
  st.integers(1, 200),
  st.floats(0.01, 10),
  st.floats(1, 50),
  st.floats(-0.4, 0.4),
  st.floats(-0.4, 0.4),
  st.lists(
    st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), min_size=1, max_size=8
  ),
)
def test_no_code_is_ever_outside_the_field(size, pixel, spread, row, column, positions):
  full = size * pixel * spread
  try:
    made = field.Field(size, pixel, full, (row * full, column * full))
  except ValueError:
    return
  codes = made.codes(np.array(positions))
  assert (codes >= made.first).all() and (codes <= made.last).all()
  assert codes.min() >= 0 and codes.max() < 16384
  # The field is as wide as was asked for, to a code.
  assert np.abs(made.last - made.first + 1 - size * made.codes_per_px).max() <= 1
  inside = np.clip(positions, 0, size)
  middle = 8192 + np.array([row, column]) * 16384
  assert np.abs(codes - (middle + (inside - size / 2) * made.codes_per_px)).max() <= 1.5


@pytest.mark.parametrize(
  "values, said",
  [
    ((16, 2.0, 31.0), "is not inside the range of 31 nm"),
    ((16, 2.0, 128.0, (0.0, 49.0)), "is not inside"),
    ((16, 0.001, 128.0), "could not be told apart"),
    ((16, 0.0, 128.0), "must be above 0"),
    ((16, 2.0, float("nan")), "must be above 0"),
  ],
)
def test_fields_that_do_not_fit_are_refused(values, said):
  with pytest.raises(ValueError, match=said):
    field.Field(*values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_is_sent_for_a_position_that_is_not_finite(value):
  with connected() as (scope, other):
    scope.probe(DIAGONAL)
    before = len(other.pixels)
    with pytest.raises(ValueError, match="a position is not finite"):
      scope.submit(np.array([[1.0, value]]))
    scope.probe(DIAGONAL)
    assert len(other.pixels) == 2 * before


def test_a_segment_is_measured_where_it_should_be():
  with connected(dwell=12.5) as (scope, other):  # as it is: 8 us
    intensities = scope.probe(DIAGONAL)
    ys, xs = 6144 + 256 * np.arange(4), 6144 + 512 * np.arange(4)
    assert [pixel[:3] for pixel in other.pixels[:4]] == [(x, y, 63) for x, y in zip(xs, ys)]
    np.testing.assert_array_equal(
      intensities, [peer.sample(int(x), int(y)) for x, y in zip(xs, ys)]
    )
    assert [pixel.blanked for pixel in other.pixels] == [False] * 4 + [True]
    assert other.pixels[4][:2] == other.pixels[3][:2]  # blanked on the spot
    assert other.external and other.beam == 1 and not other.raster
    scope.close()
  assert settled(other).blanked and other.external


def test_eight_bit_samples():
  with connected(output=open_beam.EIGHT_BIT) as (scope, other):
    intensities = scope.probe(DIAGONAL)
    np.testing.assert_array_equal(
      intensities, [peer.sample(p.x, p.y) >> 8 for p in other.pixels[:4]]
    )
    scope.close()


def test_segments_are_queued_and_come_in_order():
  with connected() as (scope, other):
    first, second = scope.probe(DIAGONAL), scope.probe(DIAGONAL + 5)
    scope.submit(DIAGONAL)
    scope.submit(DIAGONAL + 5)
    np.testing.assert_array_equal(scope.collect(), first)
    np.testing.assert_array_equal(scope.collect(), second)
    scope.close()
  assert settled(other).blanked


def test_what_a_former_client_left_is_skipped():
  left = struct.pack(">5H", 1, 2, 0xFFFF, 7, 8) + b"\x01"
  with connected(greeting=left) as (scope, other):
    np.testing.assert_array_equal(
      scope.probe(DIAGONAL), [peer.sample(p.x, p.y) for p in other.pixels[:4]]
    )


@pytest.mark.parametrize("dwell", [0.05, 8193.0])
def test_dwell_times_that_cannot_be_encoded_are_refused(dwell):
  with pytest.raises(ValueError, match="dwell_us=.* is out of range"):
    open_beam.OpenBeam("127.0.0.1", 1, FIELD, dwell)


@pytest.mark.parametrize("delay", [0, 1])
def test_a_whole_scan(delay):
  with connected(timeout=2.0) as (scope, other):
    scanned = live(scope, delay)
    scope.close()
  assert settled(other).blanked and len(scanned.intensities) == 16
  lit = [pixel for pixel in other.pixels if not pixel.blanked]
  codes = FIELD.codes(scanned.positions)
  np.testing.assert_array_equal([(pixel.y, pixel.x) for pixel in lit], codes)
  np.testing.assert_array_equal(
    scanned.intensities, [peer.sample(pixel.x, pixel.y) for pixel in lit]
  )


def test_long_segments_go_in_packets_that_are_blanked_each_by_itself():
  positions = np.stack([np.linspace(0, 15, 450), np.linspace(15, 0, 450)], 1)
  with connected(timeout=5.0) as (scope, other):
    send, lengths = scope._connection.send, []
    scope._connection.send = lambda message: (lengths.append(len(message)), send(message))
    values = scope.probe(positions)
    assert len(lengths) == 3 and max(lengths) <= 1448  # what Ethernet carries
    codes = FIELD.codes(positions)
    np.testing.assert_array_equal(values, [peer.sample(x, y) for y, x in codes])
    dark = [number for number, pixel in enumerate(other.pixels) if pixel.blanked]
    assert dark == [200, 401, 452]
    scope.close()


def test_a_beam_settles_blanked_and_rises_before_it_is_measured():
  beam = open_beam.Beam(settle=100.0, rise=2.0)
  with connected(beam=beam) as (scope, other):
    values = scope.probe(DIAGONAL)
    pixels = other.pixels
    assert [pixel.blanked for pixel in pixels] == [True] + [False] * 5 + [True]
    assert [pixel.dwell + 1 for pixel in pixels[:3]] == [800, 16, 64]
    assert pixels[0][:2] == pixels[1][:2] == pixels[2][:2]
    np.testing.assert_array_equal(values, [peer.sample(p.x, p.y) for p in pixels[2:6]])
    # What is told of the dose is what the gateware did.
    assert scope.lit == sum((p.dwell + 1) / 8 for p in pixels if not p.blanked) == 4 * 8 + 2
    scope.close()
  for wrong in ({"settle": -1.0}, {"rise": 9e3}):
    with pytest.raises(ValueError, match="is out of range"):
      open_beam.Beam(**wrong)


def test_a_beam_without_a_blanker_is_parked_between_segments():
  corner = (6144, 6144)
  with connected(beam=open_beam.Beam(blanker=False)) as (scope, other):
    assert [pixel[:2] for pixel in other.pixels] == [corner]
    np.testing.assert_array_equal(
      scope.probe(DIAGONAL), [peer.sample(p.x, p.y) for p in other.pixels[2:6]]
    )
    assert other.pixels[-1][:2] == corner
    scope.blank()
    assert np.isfinite(scope.probe(DIAGONAL)).all()
    scope.close()
  assert settled(other).pixels[-1][:2] == corner
