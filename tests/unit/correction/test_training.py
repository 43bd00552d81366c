"""The run that trains a distortion correction: whose scans, kept how, started from what."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, microscope_config, specimens
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.scan import environment
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

SETTINGS = config.RunSettings(jit="none", progress=False)


@pytest.fixture(scope="module")
def completer(tmp_path_factory):
  """The workdir of a run whose scans are corrected."""
  return tiny.completer(tmp_path_factory.mktemp("runs") / "completer", seed=3)


def start(completer, workdir, splits=None, **changes):
  given = {"lag_us": 10.0, "batch_size": 4, **tiny.CYCLE_FIELDS, **changes}
  return correction_training.start(
    correction_training.configure(str(completer), **given),
    SETTINGS,
    splits or tiny.splits(),
    workdir,
  )


def values(module):
  return [variable.numpy() for variable in module.variables]


def same(ours, theirs):
  return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


# Its configuration.


def test_specimens_scan_and_generator_are_the_completers(completer, monkeypatch):
  held = workdir_lib.read_experiment(completer)
  monkeypatch.chdir(completer.parent)
  made = correction_training.configure("completer", lag_us=5.0, iterations=7, filter_sigma=1.0)
  assert (made.scan, made.generator, made.seed) == (held.scan, held.generator, 3)
  # changes win
  assert (
    made.data
    == correction_training.Correction().replace(**{**vars(held.data), "filter_sigma": 1.0}).data
  )
  assert made.cycle.completer == str(completer.resolve())
  assert made.system == microscope_config.ScanSystem(lag_us=5.0)
  # its own, not the completer's
  assert made.optimisation.iterations == 7 and made.optimisation.batch_size == 8


def test_a_completer_is_needed_that_can_be_corrected(tmp_path):
  with pytest.raises(ValueError, match="completer is missing: give the workdir of a run"):
    correction_training.configure("")
  with pytest.raises(
    workdir_lib.WorkdirError, match="nowhere holds no run: config.json is missing"
  ):
    correction_training.configure(str(tmp_path / "nowhere"))
  for changes, words in (
    ({"completion": "nearest"}, "completion='nearest' has nothing to learn"),
    ({"normalise": "measured"}, "normalise='measured': corrections learn from"),
  ):
    (tmp_path / "config.json").write_text(tiny.experiment(**changes).to_json())
    with pytest.raises(ValueError, match=words):
      correction_training.configure(str(tmp_path))


def test_a_history_smaller_than_a_batch_is_refused():
  with pytest.raises(ValueError, match="history=3 and batch_size=4 disagree"):
    tiny.correction(history=3)
  assert tiny.correction(history=0).cycle.history == 0


# Its specimens and scans.


@pytest.mark.parametrize("count", [2, 7, 8])
def test_no_specimen_is_scanned_and_rastered(count):
  scanned, rasters = correction_training.halves(np.arange(count))
  assert (
    sorted([*scanned, *rasters]) == list(range(count)) and len(scanned) - len(rasters) == count % 2
  )


def test_one_specimen_is_too_few_and_leaves_nothing(completer, tmp_path):
  one = tiny.images(1)
  with pytest.raises(ValueError, match="1 specimens cannot be halved"):
    start(
      completer, tmp_path / "run", input_pipeline.Splits(one, one, one, specimens.Repairs(0, 0))
    )
  assert not (tmp_path / "run").exists()


def test_every_crop_is_scanned_under_every_transform(completer):
  scanner, crops = model.load(completer)[0], tiny.images(3)
  nominal, intensities, displacements = correction_training.scan_crops(
    scanner, crops, microscope_config.ScanSystem(), 10.0
  )
  assert nominal.shape == displacements.shape == (3, 8, 16, 2) and not displacements.any()
  for which in range(8):
    shown = specimens.transform(tf.constant(crops), tf.fill([3], which))
    np.testing.assert_allclose(
      intensities[:, which], environment.read(shown, tf.constant(nominal[:, which])), atol=1e-6
    )
  bent = correction_training.scan_crops(scanner, crops, tiny.LAGGING, 10.0)
  assert np.abs(bent[2]).max() > 0.5 and np.abs(bent[1] - intensities).max() > 0.01
  np.testing.assert_array_equal(bent[0], nominal)


def test_scans_are_of_filtered_specimens_where_the_completers_are(completer, tmp_path):
  crops = tiny.images(2)
  scanner, _ = model.load(tiny.completer(tmp_path, filter_observations=True))
  seen, expected = (
    correction_training.scan_crops(one, images, microscope_config.ScanSystem(), 10.0)[1]
    for one, images in (
      (scanner, crops),
      (model.load(completer)[0], specimens.low_pass(tf.constant(crops), 2.5).numpy()),
    )
  )
  np.testing.assert_allclose(seen, expected, atol=1e-6)
  assert (
    np.abs(
      seen
      - correction_training.scan_crops(
        model.load(completer)[0], crops, microscope_config.ScanSystem(), 10.0
      )[1]
    ).max()
    > 0.01
  )


def test_scans_are_kept_and_those_kept_are_learnt_from(completer, tmp_path, monkeypatch):
  first = start(completer, tmp_path)
  assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "scans.npz"}
  with np.load(tmp_path / "scans.npz") as kept:
    parts = dict(kept)
  for name, value in parts.items():
    np.testing.assert_array_equal(value, getattr(first.learner.scans, name))
  monkeypatch.setattr(correction_training, "scan_crops", lambda *_: pytest.fail("scanned again"))
  again = start(completer, tmp_path)
  np.testing.assert_array_equal(again.learner.scans.intensities, parts["intensities"])
  np.testing.assert_array_equal(again.learner.scans.scanned, tiny.splits().train[::2])
  np.testing.assert_array_equal(again.learner.scans.rasters, tiny.splits().train[1::2])


def test_a_correction_is_not_resumed_on_other_scans_or_specimens(completer, tmp_path):
  start(completer, tmp_path)
  with np.load(tmp_path / "scans.npz") as kept:
    parts = dict(kept)
  for name, value in parts.items():
    np.savez(tmp_path / "scans.npz", **{**parts, name: value + 1})
    with pytest.raises(workdir_lib.WorkdirError, match=f"{name} of the same shape"):
      start(completer, tmp_path)
  np.savez(tmp_path / "scans.npz", **parts)
  start(completer, tmp_path)
  other = tiny.splits()._replace(train=tiny.splits().train[::-1])
  with pytest.raises(workdir_lib.WorkdirError, match="specimens of the same shape"):
    start(completer, tmp_path, other)


def test_another_correction_in_the_workdir_is_refused(completer, tmp_path):
  start(completer, tmp_path)
  with pytest.raises(workdir_lib.WorkdirError, match="lag_us is 10.0 there and 3.0 here"):
    start(completer, tmp_path, lag_us=3.0)


# What it starts from, and ends with.


def test_the_corrector_starts_as_the_completers_generator_if_asked(completer, tmp_path):
  generator = values(model.load(completer)[0].generator)
  warm, cold = (
    start(completer, tmp_path / str(asked), warm_start=asked, seed=9) for asked in (True, False)
  )
  assert same(values(warm.learner.corrector), generator)
  assert not same(values(cold.learner.corrector), generator)


def test_a_resumed_corrector_goes_on_from_its_own_weights(completer, tmp_path):
  first = start(completer, tmp_path)
  for variable in (*first.learner.corrector.variables, *first.learner.distorter.variables):
    variable.assign_add(tf.ones_like(variable))
  kept = values(first.learner.corrector)
  first._checkpoints.save(5)
  again = start(completer, tmp_path)
  assert again.started_at == 5 and same(values(again.learner.corrector), kept)
  corrector, experiment, iteration = correction_training.load(tmp_path)
  assert iteration == 5 and same(values(corrector), kept) and experiment == first.learner.experiment
  nominal = first.learner.scans.nominal[:2, 0]
  learnt = correction_training.learnt_displacements(tmp_path, nominal.numpy())
  mask = tf.zeros([2, tiny.SIZE, tiny.SIZE, 1])
  np.testing.assert_allclose(
    learnt, first.learner.distorter.displacements(mask, nominal, False), atol=1e-6
  )
  assert np.abs(learnt).max() > 0.1


@pytest.mark.parametrize("changes", [{"paired": True}, {"distorter": "residual"}])
def test_some_learn_no_displacements(completer, tmp_path, changes):
  (tmp_path / "config.json").write_text(tiny.correction(**changes).to_json())
  assert correction_training.learnt_displacements(tmp_path, np.zeros([1, 16, 2])) is None


def test_corrections_are_told_from_other_runs(completer, tmp_path):
  assert not correction_training.is_correction(completer) and not correction_training.is_correction(
    tmp_path
  )
  (tmp_path / "config.json").write_text("[")
  assert not correction_training.is_correction(tmp_path)
  (tmp_path / "config.json").write_text(tiny.correction().to_json())
  assert correction_training.is_correction(tmp_path)
  with pytest.raises(workdir_lib.WorkdirError, match="cannot be read: unknown fields"):
    correction_training.load(completer)
  with pytest.raises(workdir_lib.WorkdirError, match="holds no run"):
    correction_training.load(tmp_path / "none")
