"""Reading micrographs from files of every kind that is read without RosettaSciIO."""

import pathlib
import threading
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from adaptive_stem_tf.micrographs import decoding, micrograph, microscope_files, readers
from adaptive_stem_tf.micrographs.micrograph import MicrographError
from adaptive_stem_tf.serving import signals

MICROGRAPHS = pathlib.Path(__file__).parents[3].parent / "shared" / "data" / "micrographs"
PIXELS = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9)


def colour(*channels):
  return np.stack(channels, -1)


def test_npy(tmp_path):
  path = tmp_path / "image.npy"
  np.save(path, PIXELS)
  read = readers.read(path)
  np.testing.assert_array_equal(read.image, PIXELS)
  assert (
    read.image.dtype == np.float32
    and read.dtype == "uint8"
    and read.pixel_size_nm is None
    and not read.notes
  )


@pytest.mark.parametrize(
  "dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.float32, np.float64]
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_of_any_depth(tmp_path, dtype, compression):
  stored = (PIXELS.astype(dtype) * (1 if np.dtype(dtype).itemsize == 1 else 100)).astype(dtype)
  tifffile.imwrite(tmp_path / "image.tif", stored, compression=compression)
  read = readers.read(tmp_path / "image.tif")
  np.testing.assert_array_equal(read.image, stored.astype(np.float32))
  assert read.dtype == np.dtype(dtype).name


# 2: differences; 3: of floats
@pytest.mark.parametrize(
  "mode, compression, predictor",
  [
    ("L", "tiff_lzw", 1),
    ("I;16", "tiff_lzw", 1),
    ("F", "tiff_lzw", 1),
    ("F", "tiff_adobe_deflate", 1),
    ("I;16", "tiff_lzw", 2),
    ("F", "tiff_lzw", 3),
    ("F", "tiff_adobe_deflate", 3),
  ],
)
def test_tiff_compressions_that_tifffile_leaves_to_another_package(
  tmp_path, mode, compression, predictor
):
  stored = PIXELS.astype({"L": np.uint8, "I;16": np.uint16, "F": np.float32}[mode])
  Image.fromarray(stored).save(
    tmp_path / "image.tiff", compression=compression, tiffinfo={317: predictor}
  )
  np.testing.assert_array_equal(readers.read(tmp_path / "image.tiff").image, stored)


@pytest.mark.parametrize(
  "unit, nm", [("nm", 0.25), ("um", 250.0), ("\\u00B5m", 250.0), ("pixel", None)]
)
def test_imagej_says_the_size_of_a_pixel(tmp_path, unit, nm):
  tifffile.imwrite(
    tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4.0, 4.0), metadata={"unit": unit}
  )
  assert readers.read(tmp_path / "a.tif").pixel_size_nm == (
    None if nm is None else pytest.approx(nm)
  )


def test_ome_says_the_size_of_a_pixel(tmp_path):
  tifffile.imwrite(
    tmp_path / "a.ome.tif",
    PIXELS,
    metadata={
      "axes": "YX",
      "PhysicalSizeX": 0.5,
      "PhysicalSizeY": 0.5,
      "PhysicalSizeXUnit": "Å",
      "PhysicalSizeYUnit": "Å",
    },
  )
  assert readers.read(tmp_path / "a.ome.tif").pixel_size_nm == pytest.approx(0.05)


@pytest.mark.parametrize("per_cm, nm", [(2e7, 0.5), (72 / 2.54, None)])
def test_resolution_tags_are_a_microscopes_or_a_printers(tmp_path, per_cm, nm):
  tifffile.imwrite(
    tmp_path / "a.tif", PIXELS, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
  )
  assert readers.read(tmp_path / "a.tif").pixel_size_nm == (
    None if nm is None else pytest.approx(nm)
  )


def test_pixels_that_are_not_square_have_no_size(tmp_path):
  tifffile.imwrite(
    tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4.0, 5.0), metadata={"unit": "nm"}
  )
  read = readers.read(tmp_path / "a.tif")
  assert read.pixel_size_nm is None and "not square" in read.notes[0]


@pytest.mark.parametrize(
  "name, stored",
  [
    ("a.png", PIXELS),
    ("a.png", PIXELS.astype(np.uint16) * 500),
    ("a.png", colour(PIXELS, PIXELS, PIXELS)),
    ("a.jpg", np.full([16, 16], 77, np.uint8)),
    ("a.JPEG", colour(*[np.full([16, 16], 77, np.uint8)] * 3)),
    ("a.tif", colour(PIXELS, PIXELS, PIXELS + 1)),
    ("a.npy", colour(PIXELS, PIXELS, PIXELS)),
  ],
)
def test_pictures_are_read_grey_and_colour_whose_channels_agree_is_averaged(tmp_path, name, stored):
  if name.endswith("tif"):
    tifffile.imwrite(tmp_path / name, stored, photometric="rgb")
  elif name.endswith("npy"):
    np.save(tmp_path / name, stored)
  else:
    Image.fromarray(stored).save(tmp_path / name)
  read = readers.read(tmp_path / name)
  np.testing.assert_allclose(read.image, stored if stored.ndim == 2 else stored.mean(2), rtol=1e-6)
  assert ("colour" in " ".join(read.notes)) == (
    stored.ndim == 3
  ) and read.dtype == stored.dtype.name


def test_palettes_and_opaque_alpha_are_read_and_transparency_is_refused(tmp_path):
  Image.fromarray(PIXELS).convert("P").save(tmp_path / "palette.png")
  Image.fromarray(colour(PIXELS, PIXELS, PIXELS, np.full_like(PIXELS, 255))).save(
    tmp_path / "opaque.png"
  )
  for name in ("palette.png", "opaque.png"):
    np.testing.assert_array_equal(readers.read(tmp_path / name).image, PIXELS)
  Image.fromarray(colour(PIXELS, PIXELS, PIXELS, PIXELS)).save(tmp_path / "clear.png")
  with pytest.raises(MicrographError, match="clear.png: it is partly transparent"):
    readers.read(tmp_path / "clear.png")


@pytest.mark.parametrize("difference, refused", [(2, False), (3, True)])
def test_channels_may_differ_by_one_percent(tmp_path, difference, refused):
  Image.fromarray(colour(PIXELS, PIXELS + np.uint8(difference), PIXELS)).save(tmp_path / "a.png")
  if refused:
    with pytest.raises(
      MicrographError, match=r"a.png: it is in colour \(channels differ by up to 3 of 255\)"
    ):
      readers.read(tmp_path / "a.png")
  else:
    assert readers.read(tmp_path / "a.png").image.shape == (12, 9)


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_one_frame_of_a_stack_is_taken_and_said(tmp_path, name):
  stack = np.stack([PIXELS, PIXELS[::-1], 2 * PIXELS])
  np.save(tmp_path / name, stack) if name.endswith("npy") else tifffile.imwrite(
    tmp_path / name, stack, photometric="minisblack"
  )
  for frame in range(3):
    read = readers.read(tmp_path / name, frame)
    np.testing.assert_array_equal(read.image, stack[frame])
    assert read.notes == (f"a stack of 3 images: frame {frame} is taken (counted from 0)",)
  with pytest.raises(MicrographError, match="frame=3 was asked for, and it has 3"):
    readers.read(tmp_path / name, 3)


def test_a_stack_of_crops_as_we_write_them_has_frames(tmp_path):
  np.save(tmp_path / "crops.npy", np.stack([PIXELS, PIXELS + 1])[..., None])
  np.testing.assert_array_equal(readers.read(tmp_path / "crops.npy", 1).image, PIXELS + 1)


def test_a_single_image_has_no_other_frame(tmp_path):
  np.save(tmp_path / "a.npy", PIXELS)
  with pytest.raises(MicrographError, match="frame=1 was asked for, and it is a single image"):
    readers.read(tmp_path / "a.npy", 1)


def test_pixels_that_are_not_finite_become_nan_and_are_counted(tmp_path):
  stored = PIXELS.astype(np.float64)
  stored[0, 0], stored[1, 1], stored[2, 2] = np.nan, np.inf, 1e300
  np.save(tmp_path / "a.npy", stored)
  read = readers.read(tmp_path / "a.npy")
  assert np.argwhere(np.isnan(read.image)).tolist() == [[0, 0], [1, 1], [2, 2]]
  assert read.notes == ("3 pixels are NaN or infinite",)


def test_a_small_contrast_on_a_great_offset_survives_float32(tmp_path):
  stored = PIXELS.astype(np.uint32) + 4_000_000_000
  tifffile.imwrite(tmp_path / "a.tif", stored)
  read = readers.read(tmp_path / "a.tif")
  np.testing.assert_array_equal(read.image, PIXELS)
  assert read.notes == ("4e+09 subtracted from every intensity",)


@pytest.mark.parametrize(
  "stored, words",
  [
    (np.zeros([4, 4, 8, 8]), "shape .4, 4, 8, 8., a scan of diffraction patterns perhaps"),
    (np.zeros([5]), "shape .5.: a micrograph is an image"),
    (np.zeros([1, 9]), "shape .1, 9."),
    (np.full([4, 4], np.nan), "none of its pixels is finite"),
    (PIXELS + 1j, "holds complex128"),
    (np.array([["a"]]), "holds <U1"),
  ],
)
def test_arrays_that_are_no_micrograph_are_refused(tmp_path, stored, words):
  np.save(tmp_path / "a.npy", stored)
  with pytest.raises(MicrographError, match=f"a.npy: .*{words}"):
    readers.read(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png", "a.jpg"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None])
def test_broken_files_are_sentences(tmp_path, name, content):
  if content is None:  # the first half
    np.save(tmp_path / "a.npy", PIXELS) if name.endswith("npy") else Image.fromarray(PIXELS).save(
      tmp_path / name
    )
    content = (tmp_path / name).read_bytes()
    content = content[: len(content) // 2]
  (tmp_path / name).write_bytes(content)
  with pytest.raises(MicrographError, match=f"{name} cannot be read .*: is the file complete?"):
    readers.read(tmp_path / name)


def test_missing_files_folders_and_unknown_types(tmp_path):
  with pytest.raises(FileNotFoundError, match="none.tif does not exist"):
    readers.read(tmp_path / "none.tif")
  with pytest.raises(MicrographError, match="is a folder"):
    readers.read(tmp_path)
  (tmp_path / "notes.txt").write_text("hello")
  with pytest.raises(
    MicrographError, match="notes.txt: .txt is no type of micrograph that is known"
  ):
    readers.read(tmp_path / "notes.txt")


@pytest.mark.parametrize("unit", ["1/nm", "nm^-1", "mrad"])
def test_diffraction_patterns_are_refused(unit):
  with pytest.raises(MicrographError, match="it is a diffraction pattern"):
    micrograph.nanometres(1.0, 1.0, unit)


@pytest.mark.parametrize(
  "unit, nm",
  [("nm", 3.0), ("pm", 3e-3), ("Å", 0.3), ("µm", 3e3), ("m", 3e9), ("", None), ("px", None)],
)
def test_units(unit, nm):
  assert micrograph.nanometres(3.0, 3.0, unit) == (None if nm is None else pytest.approx(nm), ())


def test_real_files():
  if not MICROGRAPHS.is_dir():
    pytest.skip(f"{MICROGRAPHS} is missing: it holds real micrographs.")
  kinds = {
    "dysco3_uint8.png": "uint8",
    "pd_catalyst_uint8.jpg": "uint8",
    "pt_porphyrin_uint16.tif": "uint16",
    "pt_single_atoms_uint32.tif": "uint32",
    "wemd_truth_1_float32.tif": "float32",
  }
  for name, dtype in kinds.items():
    read = readers.read(MICROGRAPHS / name)
    assert read.dtype == dtype and np.isfinite(read.image).all() and np.ptp(read.image) > 0.5


def npy_header(shape: str, descr: str = "<f4") -> bytes:
  """Returns a .npy that has nothing but a header."""
  text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
  return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
  "content, said",
  [
    (npy_header("(1000000, 1000000)"), r"shape \[1000000, 1000000\], 4000.0 GB decoded"),
    (npy_header("(100, 100)"), "promises an array of shape .* 40000 bytes, and fewer follow"),
    (npy_header("(2, 2)") + bytes(17), "16 bytes, and more follow"),
    (npy_header("(2, 2)", "|O") + bytes(32), "Python objects, which may run code"),
    (npy_header("(4, -4)") + bytes(64), r"shape \[4, -4\]: it is damaged"),
  ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_headers_are_not_believed(tmp_path, content, said, suffix):
  file = tmp_path / f"image.{suffix}"
  if suffix == "npz":
    with zipfile.ZipFile(file, "w") as archive:
      archive.writestr("image.npy", content)
  else:
    file.write_bytes(content)
  with pytest.raises(MicrographError, match=said):
    readers.read(file)


@pytest.mark.parametrize("suffix", ["npy", "npz", "png", "tif", "hspy"])
def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path, suffix, monkeypatch):
  image = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
  file = tmp_path / f"image.{suffix}"
  if suffix == "npy":
    np.save(file, image)
  elif suffix == "npz":
    np.savez_compressed(file, image)
  elif suffix == "tif":
    tifffile.imwrite(file, image, compression="zlib")
  elif suffix == "hspy":
    pytest.importorskip("rsciio")
    signals.write_hspy(file, signals.of_image(image, "image", None, {}))
  else:
    Image.fromarray(image).save(file)
  np.testing.assert_array_equal(readers.read(file).image, image)
  monkeypatch.setattr(decoding, "MOST_BYTES", 1999)
  with pytest.raises(MicrographError, match="decoded, and at most 0.0 GB are read"):
    readers.read(file)


def test_a_field_of_16384_px_is_not_too_large(tmp_path, monkeypatch):
  decoding.check([16384, 16384], 8)
  # Pillow refuses a picture of more than twice as many pixels as its limit, here as of 16,384 px.
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
  Image.fromarray(np.ones([30, 30], np.uint8)).save(tmp_path / "image.png")
  assert readers.read(tmp_path / "image.png").image.shape == (30, 30)
  assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_that_read_pictures_leave_pillows_limit_as_it_was(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
  Image.fromarray(np.ones([30, 30], np.uint8)).save(tmp_path / "image.png")
  opened = {name: threading.Event() for name in ("first", "second")}
  check = decoding.check

  def wait_for_the_other(shape, itemsize):
    """The first reader ends while the second has its picture open."""
    if threading.current_thread().name == "first":
      opened["first"].set()
      assert opened["second"].wait(30)
    else:
      opened["second"].set()
      readers_of["first"].join(30)
      assert Image.MAX_IMAGE_PIXELS is None  # still lifted for this one
    check(shape, itemsize)

  monkeypatch.setattr(decoding, "check", wait_for_the_other)
  images = {}

  def read():
    images[threading.current_thread().name] = readers.read(tmp_path / "image.png").image

  readers_of = {name: threading.Thread(target=read, name=name) for name in opened}
  readers_of["first"].start()
  assert opened["first"].wait(30)
  readers_of["second"].start()
  for reader in readers_of.values():
    reader.join(30)
  assert sorted(images) == ["first", "second"]
  assert Image.MAX_IMAGE_PIXELS == 1000


def test_an_old_library_that_runs_code_is_not_used(tmp_path, monkeypatch):
  library = pytest.importorskip("rsciio")
  monkeypatch.setattr(library, "__version__", "0.10.2")
  (tmp_path / "image.prz").write_bytes(b"")
  with pytest.raises(microscope_files.MissingReaderError, match="may run code.*rosettasciio>=0.11"):
    readers.read(tmp_path / "image.prz")
