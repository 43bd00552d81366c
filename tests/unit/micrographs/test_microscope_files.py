"""Reading microscopes' own formats by RosettaSciIO, or saying that it is needed."""

import builtins
import pathlib

import numpy as np
import pytest

from adaptive_stem_tf.micrographs import microscope_files, readers
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from adaptive_stem_tf.serving import subject

MICROGRAPHS = pathlib.Path(__file__).parents[3].parent / "shared" / "data" / "micrographs"
PIXELS = np.arange(12 * 9, dtype=np.float32).reshape(12, 9)


def signal(data, navigated=0, units="nm", scale=0.5, kind="", title="HAADF"):
  """Returns what RosettaSciIO's readers return of an image or a stack."""
  axes = [
    {"index_in_array": i, "navigate": i < navigated, "units": units, "scale": scale, "size": size}
    for i, size in enumerate(data.shape)
  ]
  return {
    "data": data,
    "axes": axes,
    "metadata": {"General": {"title": title}, "Signal": {"signal_type": kind}},
  }


def taken(*signals, frame=0):
  return microscope_files.of_signals(list(signals), frame)


def test_an_image_with_its_pixel_size():
  read = taken(signal(PIXELS))
  np.testing.assert_array_equal(read.image, PIXELS)
  assert read.pixel_size_nm == 0.5 and not read.notes


def test_what_is_said_of_the_instrument_is_kept():
  assert taken(signal(PIXELS)).acquisition is None
  told = signal(PIXELS)
  told["metadata"]["General"] |= {"date": "2026-03-02", "time_zone": "UTC", "authors": "nobody"}
  told["metadata"]["Acquisition_instrument"] = {"TEM": {"beam_energy": np.float32(200)}}
  kept = {"date": "2026-03-02", "time_zone": "UTC", "TEM": {"beam_energy": 200.0}}
  assert taken(told).acquisition == kept
  stack = signal(np.stack([PIXELS, PIXELS]), navigated=1) | {"metadata": told["metadata"]}
  assert taken(stack).acquisition == kept
  assert subject.of_signal(told).about["instrument"] == {"acquisition": kept}
  assert "instrument" not in subject.of_signal(signal(PIXELS)).about


def test_the_first_image_is_taken_and_said():
  read = taken(
    signal(np.zeros([5, 4, 9]), navigated=2), signal(PIXELS, title="BF"), signal(-PIXELS)
  )
  np.testing.assert_array_equal(read.image, PIXELS)
  assert read.notes == ("first of 2 images (BF)",)


def test_a_frame_of_a_stack():
  read = taken(signal(np.stack([PIXELS, 2 * PIXELS]), navigated=1, units="um"), frame=1)
  np.testing.assert_array_equal(read.image, 2 * PIXELS)
  assert read.pixel_size_nm == 500.0 and read.notes == (
    "a stack of 2 images: frame 1 is taken (counted from 0)",
  )


def test_colour_stored_as_records_is_joined():
  data = np.zeros([12, 9], [("R", "u1"), ("G", "u1"), ("B", "u1")])
  for name in "RGB":
    data[name] = PIXELS
  np.testing.assert_array_equal(taken(signal(data)).image, PIXELS)


@pytest.mark.parametrize(
  "refused",
  [
    signal(np.zeros([4, 4, 8, 8]), navigated=2),
    signal(np.zeros([4, 4, 50]), navigated=2),
    signal(np.zeros([50])),
    signal(PIXELS, kind="electron_diffraction"),
    signal(PIXELS, units="1/nm"),
  ],
)
def test_spectra_and_diffraction_patterns_are_refused(refused):
  with pytest.raises(MicrographError, match="diffraction pattern"):
    taken(refused)


def test_a_file_that_needs_an_extra_says_what_to_install(tmp_path, monkeypatch):
  def absent(name, *_):
    assert name.startswith("rsciio"), name
    raise ImportError(name)

  monkeypatch.setattr(microscope_files.importlib, "import_module", absent)
  (tmp_path / "a.DM4").write_bytes(b"")
  with pytest.raises(
    microscope_files.MissingReaderError, match=r"a.DM4 .*not installed: pip install 'adapt"
  ):
    readers.read(tmp_path / "a.DM4")
  (tmp_path / "a.txt").write_bytes(b"")
  with pytest.raises(MicrographError, match="no type of micrograph"):
    readers.read(tmp_path / "a.txt")


def test_the_extra_is_not_imported_for_other_files(tmp_path, monkeypatch):
  original = builtins.__import__

  def checked(name, *more, **others):
    assert not name.startswith("rsciio")
    return original(name, *more, **others)

  monkeypatch.setattr(builtins, "__import__", checked)
  monkeypatch.setattr(microscope_files.importlib, "import_module", lambda name: pytest.fail(name))
  np.save(tmp_path / "a.npy", PIXELS)
  assert readers.read(tmp_path / "a.npy").image.shape == (12, 9)


def test_a_broken_file_is_a_sentence(tmp_path):
  pytest.importorskip(
    "rsciio", reason="RosettaSciIO is an extra: pip install 'adaptive-stem-tf[microscopy]'."
  )
  (tmp_path / "a.dm4").write_bytes(b"\0\0\0\4")
  with pytest.raises(
    MicrographError, match="a.dm4: it cannot be read .digitalmicrograph: .*is it complete?"
  ):
    readers.read(tmp_path / "a.dm4")


@pytest.mark.parametrize("suffix", ["hspy", "mrc"])
def test_files_written_by_rosettasciio(tmp_path, suffix):
  pytest.importorskip(
    "rsciio", reason="RosettaSciIO is an extra: pip install 'adaptive-stem-tf[microscopy]'."
  )
  path = tmp_path / f"a.{suffix}"
  if suffix == "mrc":
    header = np.zeros(256, "<i4")
    header[:4], header[7:10], header[16:19] = (9, 12, 1, 2), (9, 12, 1), (1, 2, 3)
    header[10:13] = np.array([45.0, 60.0, 5.0], "<f4").view("<i4")  # 5 angstrom a px
    path.write_bytes(header.tobytes() + PIXELS.astype("<f4").tobytes())
  else:
    from rsciio import hspy

    axes = [
      {"name": name, "size": size, "offset": 0.0, "scale": 0.5, "units": "nm", "navigate": False}
      for name, size in (("y", 12), ("x", 9))
    ]
    about = {"General": {"title": ""}, "Signal": {"signal_type": ""}}
    hspy.file_writer(
      str(path),
      {
        "data": PIXELS,
        "axes": axes,
        "metadata": about,
        "original_metadata": {},
        "learning_results": {},
        "models": None,
        "attributes": {"_lazy": False, "ragged": False},
        "tmp_parameters": {},
        "package_info": {},
      },
    )
  read = readers.read(path)
  np.testing.assert_array_equal(np.sort(read.image.ravel()), PIXELS.ravel())
  assert read.image.shape == (12, 9) and read.pixel_size_nm == pytest.approx(0.5)


def test_a_real_dm4():
  pytest.importorskip(
    "rsciio", reason="RosettaSciIO is an extra: pip install 'adaptive-stem-tf[microscopy]'."
  )
  if not MICROGRAPHS.is_dir():
    pytest.skip(f"{MICROGRAPHS} is missing: it holds real micrographs.")
  read = readers.read(MICROGRAPHS / "oxide_survey.dm4")
  assert (
    read.image.shape == (512, 512)
    and read.dtype == "float32"
    and read.pixel_size_nm == pytest.approx(0.05859375)
  )
