"""What a calibration measures: orientation, width, black and white; and the file that keeps it."""

import json

import numpy as np
import pytest
from scipy import ndimage

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import (
  calibration,
  field,
  guard,
  microscope,
  open_beam,
  periodicity,
  registration,
  twin,
)
from adaptive_stem_tf.serving.live.orientation import Orientation, Oriented
from tests.unit.serving.live import peer

SIZE = 96


def specimen(size, blur=5.0, seed=1):
  """Returns smoothed noise: nothing in it is symmetrical."""
  image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), blur)
  return image / image.std()


def surveyed(image, count=576, noise=0.0):
  pixels = calibration.positions(len(image), count)
  noises = noise * np.random.default_rng(0).normal(size=len(pixels))
  values = image[tuple(pixels.T)] + noises
  return registration.Survey(pixels + 0.5, values, len(image))


def warped(image, orientation, scale, shift, size):
  """Returns a picture of a part of an image, as by software that scans it otherwise."""
  middles = np.stack(np.meshgrid(*2 * [np.arange(size) + 0.5 - size / 2], indexing="ij"), -1)
  places = (middles.reshape(-1, 2) - shift) @ orientation.matrix / scale + len(image) / 2 - 0.5
  return ndimage.map_coordinates(image, places.T, order=3).reshape(size, size)


# Orientation


def test_orientations_are_what_they_say():
  image = np.arange(9).reshape(3, 3)
  for turn in range(-1, 4):
    np.testing.assert_array_equal(
      Orientation(False, 90 * turn).view(image, 3), np.rot90(image, turn)
    )
    np.testing.assert_array_equal(
      Orientation(True, 90 * turn).view(image, 3), np.rot90(image[:, ::-1], turn)
    )
  assert not Orientation() and not Orientation(False, 360.0)
  assert Orientation(True) and Orientation(False, 90.0)
  with pytest.raises(ValueError, match="rotation_deg=nan is no angle"):
    Orientation(False, np.nan)


@pytest.mark.parametrize("mirrored, turn", [(False, 90.0), (True, 0.0), (True, -33.0)])
def test_a_microscope_is_given_positions_as_the_reference_shows_them(mirrored, turn):
  lies = Orientation(mirrored, turn)
  room = lies.room(8)
  assert room == (8 if turn % 90 == 0 else 12)  # 8 (cos 33 + sin 33) = 11.07
  image = np.random.default_rng(0).normal(size=(room, room))
  bare = twin.DigitalTwin(image)
  scope = Oriented(guard.Guarded(bare, room, guard.Limits(beam_us=660.0)), lies, 8)
  middles = np.argwhere(np.ones([8, 8])) + 0.5
  read = scope.probe(middles).reshape(8, 8)
  np.testing.assert_array_equal(read, lies.view(image, 8))
  if turn == 90:
    np.testing.assert_array_equal(read, np.rot90(image))
  assert scope.lit == 640 and scope.clock is bare.clock and scope.dwell == bare.dwell
  np.testing.assert_array_equal(scope.dark(3), np.full(3, image.min()))
  with pytest.raises(microscope.MicroscopeError, match="beyond max_beam_us=660"):
    scope.submit(middles)
  if turn % 90 == 0:  # corners belong to the same px
    corners = twin.DigitalTwin(image)
    read_there = Oriented(corners, lies, 8).probe(np.floor(middles)).reshape(8, 8)
    np.testing.assert_array_equal(read_there, read)
  scope.withdraw()
  assert scope.withdrawn and bare.withdrawn
  scope.park()
  scope.close()
  assert bare.blanked and bare.closed


def test_a_turned_field_has_room_in_the_scan():
  corners = np.array([[0, 0], [0, 50], [50, 0], [50, 50.0]])
  for lies in (Orientation(False, 30.0), Orientation(True, 200.0), Orientation(True, 90.0)):
    places = lies.to_scan(corners, 50)
    assert places.min() >= -1e-5 and places.max() <= lies.room(50) + 1e-5
    assert np.ptp(places) > lies.room(50) - 1.5  # and no more than it needs


# Registration


@pytest.mark.parametrize("mirrored, turn", [(False, 180.0), (True, 90.0)])
def test_mirror_and_turn_are_recognised_in_noise(mirrored, turn):
  image, lies = specimen(SIZE), Orientation(mirrored, turn)
  found, other = registration.match(surveyed(image, noise=0.5), lies.view(image, SIZE), 1.0, 1)
  assert found.orientation.mirrored == mirrored
  assert abs((found.orientation.rotation_deg - turn + 180) % 360 - 180) < 4 * found.rotation_sd_deg
  assert abs(found.scale - 1) < 4 * found.scale_sd and found.rotation_sd_deg < 0.5
  assert np.abs(found.shift).max() < 0.5 and found.correlation > 0.8 > other + 0.2


def test_angle_scale_and_shift_are_measured():
  whole = specimen(220, 6.0, seed=3)
  image = whole[62:158, 62:158]
  reference = warped(whole, Orientation(True, -37.0), 1.6, np.array([10.0, 4.0]), 170)
  found, _ = registration.match(surveyed(image), reference, 1.5, 1)
  assert found.orientation.mirrored and abs(found.orientation.rotation_deg + 37) < 0.3
  assert abs(found.scale / 1.6 - 1) < 0.005
  np.testing.assert_allclose(found.shift, [10, 4], atol=0.5)


def test_a_lattice_does_not_say_how_it_lies():
  wave = np.cos(2 * np.pi * np.arange(SIZE) / 12)
  lattice = wave[:, None] + wave
  with pytest.raises(registration.UnrecognisedError, match="two orientations fit alike .*symmetry"):
    registration.match(surveyed(lattice), np.rot90(lattice), 1.0, 1)


def test_another_place_is_not_recognised():
  noise = np.random.default_rng(0).normal(size=(SIZE, SIZE))
  with pytest.raises(registration.UnrecognisedError, match="does not show what was scanned"):
    registration.match(surveyed(specimen(SIZE)), noise, 1.0, 1)


def test_a_fit_that_went_astray_is_none():
  image = specimen(SIZE)
  guess = registration._Guess(0.0, 1.0, np.array([0.8 * SIZE, 0.0]))  # a fifth overlaps
  assert registration._refined(surveyed(image), image, False, guess).correlation == 0


# Spacing


def test_a_scale_far_from_what_is_expected_is_not_recognised(monkeypatch):
  """However well such a fit correlates: the search begins within two steps of a tenth."""
  image, lies = specimen(SIZE), Orientation(False, 0.0)
  for scale, recognised in ((1.1, True), (1.5, False), (1 / 1.5, False)):
    fit = registration.Match(lies, scale, (0.0, 0.0), 0.99, 0.01, 0.001)
    monkeypatch.setattr(registration, "_refined", lambda *_, fit=fit: fit)
    if recognised:
      assert registration.match(surveyed(image), image, 1.0, 2)[0] == fit
    else:
      with pytest.raises(registration.UnrecognisedError, match="does not show what was scanned"):
        registration.match(surveyed(image), image, 1.0, 2)


@pytest.mark.parametrize("period, angle", [(4.3, 20.0), (17.0, 80.0)])
def test_a_spacing_is_measured_below_the_distance_of_positions_too(period, angle):
  direction = [np.cos(np.radians(angle)), np.sin(np.radians(angle))]
  rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
  stripes = np.cos(2 * np.pi * (rows * direction[0] + columns * direction[1]) / period) > 0.2
  for expected in (0.8 * period, 1.25 * period):
    found = periodicity.spacing(surveyed(stripes.astype(float), noise=0.3), expected)
    assert abs(found.px / period - 1) < min(0.01, 5 * found.sd + 0.002)
    assert abs(found.angle_deg - angle) < 1


def test_no_spacing_is_measured_in_noise():
  flat = surveyed(np.zeros([SIZE, SIZE]), noise=1.0)
  with pytest.raises(registration.UnrecognisedError, match="no lines with a spacing of about 8 px"):
    periodicity.spacing(flat, 8.0)
  with pytest.raises(registration.UnrecognisedError, match="2.5 to 24 px can be measured"):
    periodicity.spacing(flat, 40.0)


# Black and white, and the beam


def test_a_survey_is_even_sparse_and_on_no_grid():
  pixels = calibration.positions(100, 120)
  assert len({tuple(cell) for cell in pixels // 10}) == len(pixels) == 100  # one in each
  assert len(np.unique(pixels[:, 0])) > 50
  for wrong in (9, SIZE**2 + 2 * SIZE + 1):
    with pytest.raises(calibration.CalibrationError, match=f"positions={wrong} must be 16 to 9216"):
      calibration.positions(SIZE, wrong)


def test_a_twin_is_measured_within_its_limits():
  image = 1000 + 100 * specimen(SIZE)
  stop = stop_lib.Stop()
  bare = twin.DigitalTwin(image)
  scope = guard.Guarded(bare, SIZE, guard.Limits(beam_us=2560.0, pixel_us=10.0))
  measured = calibration.measure(scope, SIZE, 256, stop)
  black, white, about = calibration.black_and_white(measured)
  assert black == image.min() and about["black_from"] == "the detector, beam blanked"
  assert np.quantile(image, 0.98) < white <= image.max() and about["warning"] is None
  assert bare.lit == 2560 and bare.blanked
  bare = twin.DigitalTwin(image)
  scope = guard.Guarded(bare, SIZE, guard.Limits(beam_us=2550.0))
  with pytest.raises(microscope.MicroscopeError, match="beyond max_beam_us=2550: it is not sent"):
    calibration.measure(scope, SIZE, 256, stop)
  assert bare.lit == 0 and bare.blanked
  stop.request("Ctrl-C")
  with pytest.raises(stop_lib.NotBegunError, match="stopped by Ctrl-C"):
    calibration.measure(twin.DigitalTwin(image), SIZE, 256, stop)


def contrast(values, dark=None):
  values = np.asarray(values, np.float64)
  survey = registration.Survey(np.zeros([len(values), 2]), values, SIZE)
  return calibration.black_and_white(calibration.Measured(dark, survey))


def test_a_few_hot_pixels_are_not_white_and_saturation_is_told():
  many = np.linspace(10, 20, 1000)
  black, white, about = contrast([*many, 1000.0, 900.0])
  assert 10 <= black < 10.1 and 19.9 < white <= 20
  assert about["black_from"] == "the darkest of the survey" and about["brightest"] == 1000
  assert about["warning"] is None
  _, white, about = contrast([*many, *[25.0] * 50])
  assert white == 25 and "4.8% of the positions read 25" in about["warning"]


@pytest.mark.parametrize(
  "values, dark, said",
  [
    (np.full(50, 7.0), None, "reads 7 where it is darkest and 7 where it is brightest"),
    (np.arange(50.0), np.full(9, 60.0), "reads 60 while the beam is blanked and 4"),
  ],
)
def test_a_detector_that_sees_nothing_is_told(values, dark, said):
  with pytest.raises(calibration.CalibrationError, match=said):
    contrast(values, dark)


def test_an_open_beam_interface_is_read_with_its_beam_blanked():
  other = peer.Peer(dark=640)
  where = field.Field(32, 1.0, 64.0)
  with open_beam.OpenBeam("127.0.0.1", other.port, where, 1000.0) as scope:
    scope.probe(np.array([[3.0, 4.0]]))
    before = len(other.pixels)
    read = scope.dark(120)  # more than a packet of a heartbeat has
    assert scope.lit == scope.dwell
    dark = other.pixels[before:]
    np.testing.assert_array_equal(read, np.full(120, 640.0))
    assert len(dark) > 120 and all(pixel.blanked for pixel in dark)
    scope.probe(np.array([[3.0, 4.0]]))  # it goes on
    assert not all(pixel.blanked for pixel in other.pixels[before + len(dark) :])
  other.close()
  other = peer.Peer()
  beam = open_beam.Beam(blanker=False)
  with open_beam.OpenBeam("127.0.0.1", other.port, where, beam=beam) as scope:
    assert scope.dark(9) is None
  other.close()


# The file


def test_a_calibration_is_kept(tmp_path):
  made = calibration.Calibration(
    "obi:here:1", 3.0, 9.5, True, 12.5, full_field_nm=77.0, measured={"utc": "then"}
  )
  made.write(tmp_path / "calibration.json")
  assert calibration.read(tmp_path / "calibration.json") == made
  assert made.orientation == Orientation(True, 12.5)
  written = json.loads((tmp_path / "calibration.json").read_text())
  assert written["software"].startswith("adaptive-stem-tf ") and written["length_scale"] is None


@pytest.mark.parametrize(
  "change, said",
  [
    ({"black": 10}, "black=10 and white=9 are no range"),
    ({"white": None}, "white should not be there, or so"),
    ({"white": True}, "white should not be there, or so"),
    ({"black": float("nan")}, "black=nan and white=9 are no range"),
    ({"rotation_deg": float("inf")}, "rotation_deg=inf is no angle"),
    ({"mirrored": 1}, "mirrored should not be there, or so"),
    ({"full_field_nm": -1}, "full_field_nm=-1 must be above 0"),
    ({"flip": True}, "flip should not be there, or so"),
    (None, "it lacks black, microscope, white"),
    ("[]", "is no calibration"),
    ('{"black": ', "is no calibration: .* calibrate again"),
  ],
)
def test_damaged_calibrations_are_told(tmp_path, change, said):
  file = tmp_path / "calibration.json"
  whole = {"microscope": "file:x", "black": 1, "white": 9}
  if isinstance(change, str):
    file.write_text(change)
  else:
    file.write_text(json.dumps({} if change is None else whole | change))
  with pytest.raises(calibration.CalibrationError, match=said):
    calibration.read(file)
