"""Scans with the scan device of Nion Swift."""

import numpy as np
import pytest

from adaptive_stem_tf.serving.live import microscope, nion_swift
from tests.unit.serving.live import swift_device

FIELD = nion_swift.SwiftField(64, 2.0, (10.0, -20.0))
LINE = np.array([30.0, 20.0]) + np.arange(20)[:, None] * np.array([0.9, -0.4])


def scope(other, field=FIELD, dwell=10.0, **handling):
  given = nion_swift.Instrument(other.device, dict, other.controller)
  return nion_swift.NionSwift(given, field, dwell, nion_swift.Handling(**handling))


def places(positions):
  return positions[:, 0] + 1000 * positions[:, 1]


@pytest.mark.parametrize("lines, frames", [((), [20]), ((3, 1), [3] * 6 + [1] * 2)])
def test_a_segment_is_line_scans_that_measure_where_they_are_asked(lines, frames):
  other = swift_device.instrument()
  with scope(other, lines=lines) as swift:
    np.testing.assert_allclose(swift.probe(LINE), places(LINE), rtol=1e-9)
  assert [frame["subscan_pixel_size"] for frame in other.device.frames] == [(1, n) for n in frames]
  assert all(
    frame["fov_nm"] == 128 and frame["center_nm"] == (10, -20) and frame["pixel_time_us"] == 10
    for frame in other.device.frames
  )


def test_positions_that_are_no_line_are_frames_of_one_px(rng):
  other = swift_device.instrument()
  bent = np.concatenate([LINE[:5], LINE[5:9][::-1], rng.uniform(0, 64, [4, 2]), [[3.0, 3.0]] * 2])
  with scope(other) as swift:
    np.testing.assert_allclose(swift.probe(bent), places(bent), rtol=1e-9)
    assert swift.probe(np.empty([0, 2])).shape == (0,)
  assert [frame["subscan_pixel_size"][1] for frame in other.device.frames][:2] == [5, 4]


def test_float32_paths_are_lines():
  path = np.float32([700.0, 20.0]) + np.arange(20, dtype=np.float32)[:, None] * np.float32(
    [0.7123, 0.31]
  )
  assert nion_swift.straight_runs(np.asarray(path, np.float64)) == [slice(0, 20)]


def test_no_position_outside_the_field_or_that_is_not_finite_is_scanned():
  other = swift_device.instrument()
  with scope(other) as swift:
    outside = np.array([[-5.0, 70.0], [3.0, 64.5]])
    np.testing.assert_allclose(swift.probe(outside), places(np.array([[0.0, 64.0], [3.0, 64.0]])))
    with pytest.raises(ValueError, match="not finite"):
      swift.probe(np.array([[1.0, np.nan]]))
  assert len(other.device.frames) == 1


def test_the_beam_is_on_for_segments_only_and_counted():
  other = swift_device.instrument()
  blanked = lambda: other.controller.controls["C_Blank"]
  swift = scope(other)
  assert blanked() == 1 and other.device.parked == [(0.0, 0.0)]
  swift.probe(LINE)
  swift.submit(LINE)
  assert blanked() == 1 and other.device.lit == [True]  # a segment that waits lights nothing
  swift.collect()
  assert other.device.lit == [True, True] and blanked() == 1 and swift.lit >= 400
  swift.close()
  swift.close()
  assert blanked() == 1 and len(other.device.parked) == 2
  with pytest.raises(microscope.MicroscopeError, match="given back"):
    swift.probe(LINE)


def test_the_device_is_left_as_it_was():
  other = swift_device.instrument()
  with scope(other, channel=2) as swift:
    swift.probe(LINE)
    assert other.device.channels_enabled == (False, False, True)
  assert other.device.channels_enabled == (False, True, False)
  assert other.device.current_frame_parameters == {"of": "somebody"}


def test_without_a_blanker_the_beam_is_parked():
  other = swift_device.instrument()
  with scope(other, blanker=None) as swift:
    swift.probe(LINE)
    assert other.controller.controls["C_Blank"] == 0 and len(other.device.parked) >= 2


@pytest.mark.parametrize(
  "fault, said",
  [
    ("bad", "calls a frame bad"),
    ("late", "0.05 s late with a frame"),
    ("breaks", "failed .RuntimeError: no such frame"),
    ("shape", r"answered with \[1, 1\] px where \[1, 2\]"),
  ],
)
def test_failures_are_sentences_and_leave_the_beam_off(fault, said):
  other = swift_device.instrument(fault=fault)
  swift = scope(other, timeout=0.05)
  swift.probe(LINE[:2])
  with pytest.raises(microscope.MicroscopeError, match=said):
    swift.probe(LINE[:2])
  assert other.controller.controls["C_Blank"] == 1
  assert other.device.cancelled == (fault in ("bad", "late"))


def test_a_beam_that_may_be_on_is_said():
  with pytest.raises(microscope.MicroscopeError, match="does not confirm that its control C_Blank"):
    scope(swift_device.instrument(confirms=False))


def test_a_device_that_is_busy_is_left_alone():
  other = swift_device.instrument()
  other.device.is_scanning = True
  with pytest.raises(microscope.MicroscopeError, match="scanning something else: stop its view"):
    scope(other)
  assert other.controller.controls["C_Blank"] == 0 and not other.device.parked


@pytest.mark.parametrize(
  "field, said",
  [
    ((64, 0.0), "pixel_size_nm=0 must be above 0"),
    ((64, np.inf), "pixel_size_nm=inf must be above 0"),
    ((64, 16.0), "1024 nm wide.*not inside the 1000 nm"),
    ((64, 2.0, (0.0, 437.0)), "not inside the 1000 nm"),
  ],
)
def test_fields_that_cannot_be_scanned_are_refused(field, said):
  other = swift_device.instrument()
  with pytest.raises(ValueError, match=said):
    scope(other, nion_swift.SwiftField(*field))
  assert not other.device.frames


@pytest.mark.parametrize("lines, kept", [((3, 1), 3), ((), 0)])
def test_a_segment_is_cut_in_the_middle_of_a_frame(lines, kept):
  other = swift_device.instrument()
  read, swift = other.device.read_partial, scope(other, lines=lines)

  def withdrawn(number, skip):
    if len(other.device.frames) == (2 if kept else 1):
      swift.withdraw()
    return read(number, skip)

  other.device.read_partial = withdrawn
  swift.submit(LINE)
  swift.submit(LINE)
  with pytest.raises(microscope.WithdrawnError) as cut:
    swift.collect()
  np.testing.assert_allclose(cut.value.measured, places(LINE[:kept]), rtol=1e-9)
  assert other.device.cancelled and other.controller.controls["C_Blank"] == 1
  frames = len(other.device.frames)
  with pytest.raises(microscope.WithdrawnError):
    swift.probe(LINE)
  assert len(other.device.frames) == frames and other.device.lit == [True] * frames
  swift.close()


def test_a_beam_that_is_not_blanked_at_once_is_said():
  other = swift_device.instrument()
  swift = scope(other)
  swift.submit(LINE)
  swift.withdraw()
  other.controller.confirms = False
  with pytest.raises(microscope.MicroscopeError, match="does not confirm .* blank it by hand"):
    swift.collect()
