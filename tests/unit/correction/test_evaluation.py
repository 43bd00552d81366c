"""What a correction recovers: ways to complete, errors, shares and displacements."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from adaptive_stem_tf import microscope_config, specimens
from adaptive_stem_tf.correction import evaluation as correction_evaluation
from adaptive_stem_tf.correction import figures as correction_figures
from adaptive_stem_tf.correction.evaluation import UNCORRECTED, UNDISTORTED
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.scan import distorted
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

COUNT = 3


@pytest.fixture(scope="module")
def completer(tmp_path_factory):
  """The model whose scans are distorted."""
  return model.load(tiny.completer(tmp_path_factory.mktemp("completer")))[0]


def measure(completer, system, **correctors):
  microscope = correction_evaluation.Microscope(completer, system, microscope_config.Beam())
  return correction_evaluation.measure(microscope, correctors, tiny.images(COUNT))


@pytest.fixture(scope="module")
def bent(completer):
  """Measured by a microscope that lags; a corrector does nothing, another gives half of the
  mask.
  """
  return measure(
    completer,
    tiny.LAGGING,
    nothing=completer.generator,
    half=lambda partial, is_training: partial[..., 1:] / 2,
  )


def test_a_perfect_microscope_distorts_nothing(completer):
  measured = measure(completer, microscope_config.ScanSystem())
  np.testing.assert_array_equal(
    measured.completions[UNCORRECTED], measured.completions[UNDISTORTED]
  )
  np.testing.assert_allclose(measured.fast_raster, 0, atol=1e-9)
  result = correction_evaluation.summarise(measured, None)
  assert result["missed_px_rms"]["mean"] == 0


def test_scans_are_completed_in_every_way(completer, bent):
  assert (
    list(bent.completions) == [UNDISTORTED, UNCORRECTED, "nothing", "half"] == list(bent.errors)
  )
  images = tiny.images(COUNT)
  np.testing.assert_allclose(bent.targets, specimens.low_pass(tf.constant(images), 2.5), atol=1e-6)
  np.testing.assert_allclose(
    bent.completions[UNDISTORTED], completer.scan_all(images).completions, atol=1e-5
  )
  np.testing.assert_array_equal(bent.completions["nothing"], bent.completions[UNCORRECTED])
  np.testing.assert_array_equal(bent.completions["half"], bent.partial[..., 1:] / 2)
  expected = completer.generator(tf.constant(bent.partial), is_training=False)
  np.testing.assert_allclose(bent.completions[UNCORRECTED], expected, atol=1e-5)
  assert np.abs(bent.completions[UNCORRECTED] - bent.completions[UNDISTORTED]).max() > 1e-3
  for way, made in bent.completions.items():
    np.testing.assert_allclose(
      bent.errors[way], 10 * np.mean((made - bent.targets) ** 2, (1, 2, 3)), rtol=1e-5
    )


def test_scans_are_drawn_where_the_microscope_believes_they_are(bent):
  for scan, nominal, intensities in zip(bent.partial, bent.scans.nominal, bent.scans.intensities):
    rows, columns = np.floor(nominal).astype(int).T
    assert (
      scan[..., 1].sum() == len(set(zip(rows, columns))) and (scan[rows, columns, 1] == 1).all()
    )
    assert set(np.unique(scan[rows, columns, 0])) <= set(np.unique(intensities))


def test_a_fast_raster_is_one_image_by_the_same_microscope(bent):
  images = tiny.images(COUNT)
  raster = distorted.distorted_raster(images, tiny.LAGGING, 10.0, 300.0).intensities.reshape(
    images.shape
  )
  seen = specimens.low_pass(tf.constant(raster), 2.5).numpy()
  np.testing.assert_allclose(
    bent.fast_raster, 10 * np.mean((seen - bent.targets) ** 2, (1, 2, 3)), rtol=1e-4
  )
  assert bent.fast_raster.min() > 1e-3


def test_filtered_specimens_are_scanned_where_the_completers_are(tmp_path):
  completer, _ = model.load(tiny.completer(tmp_path, filter_observations=True))
  measured, images = measure(completer, microscope_config.ScanSystem()), tiny.images(COUNT)
  np.testing.assert_allclose(measured.partial, completer.scan_all(images).partial, atol=1e-6)
  np.testing.assert_allclose(measured.fast_raster, 0, atol=1e-9)  # filtered once, as targets are


def test_shares_are_of_mean_errors():
  errors = {
    UNDISTORTED: np.ones(4),
    UNCORRECTED: np.array([3.0, 5.0, 4.0, 4.0]),
    "made": np.array([2.0, 2.0, 2.5, 1.5]),
  }
  share = correction_evaluation.recovered_share(errors, "made", list("abcd"))
  assert share["mean"] == pytest.approx((4 - 2) / (4 - 1)) and share["files"] == 4
  low, high = share["interval_95"]
  assert low < 2 / 3 < high


def test_a_share_of_a_cost_that_may_be_nothing_is_unbounded():
  """Means of 1 lost and 0.63 gained; the quantiles of resampled shares promise limits here."""
  lost = np.array([6.0, -4.0, 3.0, -1.0, 2.0, 0.0])
  errors = {UNDISTORTED: np.zeros(6), UNCORRECTED: lost, "made": lost - 0.63}
  share = correction_evaluation.recovered_share(errors, "made", list("abcdef"))
  assert share["mean"] == pytest.approx(0.63) and share["interval_95"] is None


def test_what_is_gained_and_lost_is_resampled_together(rng):
  lost = rng.uniform(1, 100, 20)
  errors = {UNDISTORTED: np.zeros(20), UNCORRECTED: lost, "made": 0.75 * lost}
  share = correction_evaluation.recovered_share(errors, "made", list("abcdefghij") * 2)
  np.testing.assert_allclose([share["mean"], *share["interval_95"]], 0.25)


def test_there_is_no_share_of_nothing():
  errors = {UNDISTORTED: np.ones(3), UNCORRECTED: np.ones(3), "made": np.zeros(3)}
  assert correction_evaluation.recovered_share(errors, "made", None) is None
  assert (
    correction_evaluation.recovered_share({**errors, UNCORRECTED: np.zeros(3)}, "made", None)
    is None
  )


def smooth(size=64, shift=(0.0, 0.0), seed=0):
  noise = np.random.default_rng(seed).standard_normal([size, size])
  made = ndimage.shift(ndimage.gaussian_filter(noise, 5), shift, mode="nearest")
  return (made / np.abs(made).max())[None, ..., None].astype(np.float32)


@pytest.mark.parametrize("shift", [(2.0, 0.0), (1.0, -1.0)])
def test_displacements_are_found(shift):
  found = correction_evaluation.displacements(smooth(shift=shift), smooth())
  np.testing.assert_allclose(found, np.hypot(*shift), rtol=0.2)


def test_nothing_is_displaced_against_itself_or_where_all_is_flat():
  np.testing.assert_allclose(correction_evaluation.displacements(smooth(), smooth()), 0, atol=1e-3)
  np.testing.assert_array_equal(
    correction_evaluation.displacements(smooth(), np.zeros_like(smooth())), 0
  )


def test_summaries_have_every_way(bent):
  actual = bent.scans.nominal + np.array([3.0, 4.0])
  moved = bent._replace(scans=bent.scans._replace(actual=actual))
  result = correction_evaluation.summarise(moved, ["a", "a", "b"])
  assert result["missed_px_rms"]["mean"] == pytest.approx(5.0)
  assert list(result["ways"]) == list(bent.errors)
  for way, measured in result["ways"].items():
    assert measured["ten_mse"]["mean"] == pytest.approx(bent.errors[way].mean())
    assert measured["residual_px"]["mean"] == pytest.approx(bent.residual[way].mean())
    assert ("minus_uncorrected" in measured) == (way in ("nothing", "half"))
  assert result["ways"]["nothing"]["minus_uncorrected"]["mean"] == 0
  assert bent.residual[UNDISTORTED].max() < 1e-3 < bent.residual[UNCORRECTED].max()


# Pictures.


def test_examples_show_every_way(bent):
  drawn = correction_figures.examples(tiny.images(COUNT), bent, [0, 2])
  assert len(drawn.axes) == 2 * 7
  first = drawn.axes[0]
  lines = {line.get_label(): line.get_xydata() for line in first.lines}
  np.testing.assert_array_equal(lines["actual"], bent.scans.actual[0][:, ::-1])
  np.testing.assert_array_equal(lines["nominal"], bent.scans.nominal[0][:, ::-1])
  assert drawn.axes[3].get_title() == f"undistorted\n10 MSE {bent.errors[UNDISTORTED][0]:.3f}"
  assert drawn.axes[13].get_title() == f"10 MSE {bent.errors['half'][2]:.3f}"
  np.testing.assert_array_equal(
    drawn.axes[12].images[0].get_array(), bent.completions["nothing"][2, ..., 0]
  )


def test_recovery_has_a_bar_for_every_way_of_every_microscope():
  way = lambda mean: {"ten_mse": {"mean": mean, "interval_95": [mean - 0.1, mean + 0.2]}}
  results = {
    "weak": {"ways": {UNDISTORTED: way(1.0), UNCORRECTED: way(2.0), "cyclic": way(1.5)}},
    "strong": {"ways": {UNDISTORTED: way(1.0), UNCORRECTED: way(4.0), "cyclic of weak": way(3.5)}},
  }
  drawn = correction_figures.recovery(results)
  bars = drawn.axes[0].patches
  assert [bar.get_height() for bar in bars] == [1.0, 2.0, 1.5, 1.0, 4.0, 3.5]
  centres = np.array([bar.get_x() + bar.get_width() / 2 for bar in bars])
  np.testing.assert_allclose(centres, [-0.25, 0, 0.25, 0.75, 1, 1.25])
  assert bars[0].get_width() < 0.25  # bars do not overlap
  assert [text.get_text() for text in drawn.legends[0].get_texts()] == [
    UNDISTORTED,
    UNCORRECTED,
    "cyclic",
    "cyclic of weak",
  ]
  assert (
    bars[0].get_facecolor()
    == bars[3].get_facecolor()
    != bars[2].get_facecolor()
    != bars[5].get_facecolor()
  )


def test_learnt_displacements_are_drawn_in_other_colours_than_the_microscopes(bent):
  learnt = {name: np.full([1, 16, 2], value) for name, value in (("one", 0.5), ("two", 0.25))}
  drawn = correction_figures.displacements(bent, learnt)
  for axis, axes in enumerate(drawn.axes):
    lines = {line.get_label(): line for line in axes.lines}
    missed = bent.scans.actual[0] - bent.scans.nominal[0]
    np.testing.assert_allclose(lines["the microscope's"].get_ydata(), missed[:, axis])
    np.testing.assert_array_equal(lines["learnt: two"].get_ydata(), np.full(16, 0.25))
    assert (
      len({lines[name].get_color() for name in ("the microscope's", "learnt: one", "learnt: two")})
      == 3
    )
