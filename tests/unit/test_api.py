"""What notebooks use: models, scans of arrays, files and signals, what scans show and write."""

import json
import sys
import types

import numpy as np
import pytest
import tifffile

import adaptive_stem_tf as stem
from adaptive_stem_tf.serving import local

SHAPE = (64, 80)


@pytest.fixture(scope="module")
def model():
  return stem.load()


@pytest.fixture(scope="module")
def image():
  rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
  return np.float32(50 + 10 * np.sin(rows / 9) + 10 * np.cos(columns / 7))


@pytest.fixture(scope="module")
def scan(model, image):
  return model.scan(image, coverage=0.1, pixel_size_nm=0.5)


def axis(name, scale, units="nm", navigate=False):
  return types.SimpleNamespace(
    name=name, scale=scale, offset=1.0, units=units, navigate=navigate, size=0
  )


class Signal:
  """Has of a HyperSpy signal what is looked at; its axes are listed as (x, y)."""

  def __init__(self, data, x, y, kind=""):
    self.data = data
    self.axes_manager = types.SimpleNamespace(navigation_axes=(), signal_axes=(x, y))
    self.metadata = types.SimpleNamespace(as_dictionary=lambda: {"Signal": {"signal_type": kind}})


def test_the_module_offers_its_interface():
  assert {"load", "Model", "Scan"} <= set(dir(stem))
  with pytest.raises(AttributeError, match="no attribute 'laod'"):
    stem.laod  # noqa: B018


def test_what_was_measured_is_what_is_there(scan, image):
  assert len(scan.positions) == len(scan.rounds) == 512 == scan.mask.sum()
  assert scan.coverage == pytest.approx(0.1)
  np.testing.assert_allclose(scan.intensities, image[tuple(scan.positions.T)], rtol=1e-6)
  assert scan.mask[tuple(scan.positions.T)].all() and scan.rounds.max() == 4
  np.testing.assert_array_equal(scan.truth, image)


def test_a_completion_is_near_the_image_and_says_how_near(scan, image):
  assert np.abs(scan.completion - image).mean() < 1 and scan.completion.std() > 5
  assert scan.uncertainty.shape == SHAPE and (scan.uncertainty > 0).all()
  assert scan.errors["completion"]["psnr_filtered_db"] > 30
  assert 0.9 < scan.errors["completion"]["ssim_filtered"] < 1
  assert "64 x 80 px: 512 positions (10.00%)" in repr(scan)


def test_invented_details_are_warned_of(model, scan, tmp_path):
  rows, columns = np.mgrid[:192, :192]
  lattice = model.scan(np.float32(np.sin(0.9 * rows) * np.sin(0.9 * columns)), coverage=0.0434)
  assert "are invented" in lattice.warning and lattice.warning in repr(lattice)
  assert not scan.warning
  said = json.loads((lattice.save(tmp_path / "scan") / "scan.json").read_text())
  assert said["warning"] == lattice.warning and said["sampling"]["unresolved_share"] > 0.75
  titles = [axes.get_title() for axes in lattice.plot().axes]
  assert any("hatched" in title for title in titles)
  assert not any("hatched" in axes.get_title() for axes in scan.plot().axes)


def test_files_and_arrays_are_scanned_alike(model, scan, image, tmp_path):
  tifffile.imwrite(tmp_path / "image.tif", image)
  for path in (tmp_path / "image.tif", str(tmp_path / "image.tif")):
    again = model.scan(path, coverage=0.1)
    np.testing.assert_array_equal(again.completion, scan.completion)
    assert again.pixel_size_nm is None


def test_the_calibration_of_signals_is_kept(model, image, scan, tmp_path):
  signal = Signal(image, axis("x", 20.0, "pm"), axis("y", 20.0, "pm"))
  scanned = model.scan(signal, coverage=0.1)
  assert scanned.pixel_size_nm == pytest.approx(0.02)
  np.testing.assert_array_equal(scanned.completion, scan.completion)
  given = scan.to_signal()
  given["metadata"]["Acquisition_instrument"] = {"TEM": {"beam_energy": 300.0}}
  again = model.scan(given, coverage=0.1)
  assert again.pixel_size_nm == 0.5 and again.truth.shape == SHAPE
  hspy = pytest.importorskip("rsciio.hspy", reason="RosettaSciIO is not installed")
  (signal,) = hspy.file_reader(str(again.save(tmp_path / "scan.hspy")))
  instrument = signal["original_metadata"]["adaptive_stem"]["instrument"]
  assert instrument["acquisition"] == {"TEM": {"beam_energy": 300.0}}


def test_signals_that_are_no_images_are_refused(model, image):
  with pytest.raises(ValueError, match="no image"):
    model.scan(Signal(image, axis("x", 1.0), axis("y", 1.0), "electron_diffraction"))
  with pytest.raises(ValueError, match="diffraction pattern"):
    model.scan(Signal(image, axis("x", 1.0, "1/nm"), axis("y", 1.0, "1/nm")))
  with pytest.raises(ValueError, match="no `data` and `axes`"):
    model.scan({"image": image})


def test_pixels_that_are_not_finite_are_mended_and_named(model, image):
  broken = image.copy()
  broken[3, 4] = np.nan
  scanned = model.scan(broken, coverage=0.1)
  assert np.isfinite(scanned.completion).all() and scanned.truth[3, 4] == np.nanmin(broken)
  assert any("not finite" in note for note in scanned.notes)


def test_options_change_the_scan(model, image, scan):
  noisy = model.scan(image, coverage=0.1, electrons_per_pixel=20)
  # The survey is the same, what is measured there is not.
  survey = scan.rounds == 0
  np.testing.assert_array_equal(noisy.positions[survey], scan.positions[survey])
  assert np.abs(noisy.intensities - image[tuple(noisy.positions.T)]).mean() > 1
  even = model.scan(image, coverage=0.1, rounds=0)
  assert even.rounds.max() == 0 and len(even.positions) == 512
  other = model.scan(image, coverage=0.1, seed=3, rounds=0)
  assert not np.array_equal(other.positions, even.positions)
  measured = model.scan(image, coverage=0.1, normalise="measured")
  assert not np.array_equal(measured.completion, scan.completion)


@pytest.mark.parametrize(
  "changed, words",
  [
    ({"coverage": 2.0}, "the budget is 10240 positions"),
    ({"rounds": 17}, "rounds=17 is out of range: choose 0 to 16"),
    ({"normalise": "best"}, "best"),
    ({"x": np.ones([64, 64])}, "the field is constant"),
    ({"x": np.ones([64])}, "shape"),
    ({"x": "nowhere.tif"}, "nowhere.tif does not exist"),
  ],
)
def test_mistakes_are_sentences(model, image, changed, words):
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    model.scan(**{"x": image, **changed})


def test_a_folder_without_a_model_is_refused(tmp_path):
  with pytest.raises(local.ModelError, match="model="):
    stem.load(tmp_path)


def test_notebooks_show_the_picture(scan):
  assert scan._repr_png_().startswith(b"\x89PNG")
  titles = [axes.get_title() for axes in scan.plot().axes]
  assert "uncertainty" in titles
  for name, words in (("completion", "completion"), ("plain", "plain: local linear, filtered")):
    psnr, ssim = (scan.errors[name][key] for key in ("psnr_filtered_db", "ssim_filtered"))
    assert f"{words}\nPSNR {psnr:.1f} dB, SSIM {ssim:.3f}" in titles


def test_the_plain_completion_is_the_interpolation_filtered(model, scan, image):
  again = model._exported.call(
    "complete",
    partial_field=np.where(scan.mask, image / 20 - 2.5, 0)[None, ..., None].astype(np.float32),
    mask=scan.mask[None, ..., None].astype(np.float32),
  )
  plain = 20 * (again["interpolation"][0, ..., 0] + 2.5)
  np.testing.assert_allclose(scan.plain, plain, atol=0.05)
  assert not np.array_equal(scan.plain, scan.completion)


def test_a_policy_decides_the_rounds(model, image):
  seen = []

  def upper_half(known):
    seen.append(known)
    return np.float32(np.arange(SHAPE[0])[:, None] < 32) * np.ones(SHAPE)

  scan = model.scan(image, coverage=0.1, rounds=2, policy=upper_half)
  assert len(scan.positions) == 512 == scan.mask.sum() and scan.metadata["policy"] == "upper_half"
  assert scan.positions[scan.rounds > 0][:, 0].max() < 32 < scan.positions[scan.rounds == 0].max()
  assert [(known.round, known.rounds) for known in seen] == [(1, 2), (2, 2)]
  survey = seen[0]
  assert survey.mask.sum() == 128 and np.isnan(survey.intensities[~survey.mask]).all()
  assert survey.coverage == pytest.approx(0.1) and np.abs(survey.plain).max() < 1.5
  even = model.scan(image, coverage=0.1, rounds=2, policy=stem.policies.even)
  assert len(set(map(tuple, even.positions))) == 512 and even.metadata["policy"] == "even"


def test_the_actor_as_a_policy_measures_what_the_model_does(model):
  rows, columns = np.ogrid[:64, :96]  # a size that is not padded, as the actor alone would see
  image = np.exp(-((rows - 30) ** 2 + (columns - 50) ** 2) / 300) + 0.1 * np.sin(rows / 4)
  one = {name: np.ones(1, np.int32) for name in ("budget", "rounds", "seed")}
  sides = {name: np.array([side], np.int32) for name, side in (("rows", 64), ("columns", 96))}
  carried = [model._exported.call("survey", **sides, **one)["state_recurrent"]]

  def actor(known):
    cells = {name: np.asarray(value) for name, value in known.cells._asdict().items()}
    answer = model._exported.call("decide", **cells, state_recurrent=carried[-1])
    carried.append(answer["state_recurrent"])
    return np.exp(answer["log_weights"][0, ..., 0])

  own, other = (model.scan(image, coverage=0.08, seed=5, policy=who) for who in (None, actor))
  np.testing.assert_array_equal(other.positions, own.positions)
  np.testing.assert_array_equal(other.completion, own.completion)
  assert len(carried) == 5


def test_a_policy_that_returns_no_weights_is_refused(model, image):
  with pytest.raises(ValueError, match="<lambda> returned weights of shape"):
    model.scan(image, policy=lambda known: known.mask[:9])


@pytest.mark.parametrize("progress, lines", [(True, 1), (False, 0), (None, 0)])
def test_a_bar_shows_the_rounds(model, image, progress, lines, capfd):
  model.scan(image, coverage=0.1, rounds=1, progress=progress)
  assert ("rounds: 100%" in capfd.readouterr().err) == bool(lines)


def test_other_software_reads_what_is_saved(scan, tmp_path):
  needed = "RosettaSciIO is not installed: pip install 'adaptive-stem-tf[microscopy]'"
  tiff, hspy = (pytest.importorskip(f"rsciio.{kind}", reason=needed) for kind in ("tiff", "hspy"))
  (image,) = tiff.file_reader(str(scan.save(tmp_path / "scan.tif")))
  about = json.loads(image["original_metadata"]["IJMetadata"]["Info"])
  assert about == json.loads(json.dumps(scan.metadata))
  (signal,) = hspy.file_reader(str(scan.save(tmp_path / "scan.hspy")))
  about = signal["original_metadata"]["adaptive_stem"]
  assert about["software"].startswith("adaptive-stem-tf ") and about["model"] and about["command"]
  assert about["coverage"] == pytest.approx(0.1) and about["probing_positions"] == 512
  assert about["errors"]["completion"] == pytest.approx(scan.errors["completion"])
  assert signal["metadata"]["General"]["title"] == "completion"
  for one in (image, signal):
    np.testing.assert_array_equal(one["data"], scan.completion)
    assert [axis["units"] for axis in one["axes"]] == ["nm", "nm"]
    assert [axis["scale"] for axis in one["axes"]] == [0.5, 0.5]
    assert [axis["offset"] for axis in one["axes"]] == [0.0, 0.0]


def test_every_image_becomes_a_signal(scan):
  for name in ("completion", "uncertainty", "plain"):
    np.testing.assert_array_equal(scan.to_signal(name)["data"], getattr(scan, name))
  with pytest.raises(ValueError, match="image='mask' is no image of a scan: choose completion"):
    scan.to_signal("mask")


def test_a_file_that_needs_an_extra_says_what_to_install(scan, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "rsciio.hspy", None)
  with pytest.raises(RuntimeError, match=r"is written by RosettaSciIO, .*pip install"):
    scan.save(tmp_path / "scan.hspy")


def test_what_is_saved_is_what_was_scanned(scan, tmp_path):
  with tifffile.TiffFile(scan.save(tmp_path / "new" / "scan.tif")) as file:
    np.testing.assert_array_equal(file.asarray(), scan.completion)
    assert file.imagej_metadata["unit"] == "nm"
  with np.load(scan.save(tmp_path / "scan.npz")) as arrays:
    for name in ("completion", "uncertainty", "positions", "rounds", "mask"):
      np.testing.assert_array_equal(arrays[name], getattr(scan, name))
    assert arrays["pixel_size_nm"] == 0.5
  assert scan.save(tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")
  assert (scan.save(tmp_path / "folder") / "path.csv").is_file()
  with pytest.raises(ValueError, match=r"ends in \.gif: choose"):
    scan.save(tmp_path / "scan.gif")
