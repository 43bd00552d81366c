"""What a trained run is used for."""

import shutil

import numpy as np
import pytest

from adaptive_stem_tf import config, integrity, specimens
from adaptive_stem_tf.evaluation import model, pictures
from adaptive_stem_tf.scan import baselines
from adaptive_stem_tf.training import checkpoint, start
from tests import exports as exports_lib
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]


def trained(workdir, **changes):
  settings = config.RunSettings(
    jit="none", progress=False, log_every=1, checkpoint_every=1, picture_every=0
  )
  running = start.scanner(
    tiny.experiment(iterations=2, **changes), settings, tiny.splits(), workdir
  )
  assert running.train()
  return running


def same(ours, theirs):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("path", ["adaptive", "spiral", "random_walk"])
def test_a_loaded_run_scans_as_the_learner_that_was_saved(tmp_path, path):
  running = trained(tmp_path, path=path)
  loaded, iteration = model.load(tmp_path)
  assert iteration == 2
  scans = loaded.scan_all(tiny.images(3))
  same(scans, model.of_learner(running.learner).scan_all(tiny.images(3)))
  if path == "spiral":
    scan = loaded.experiment.scan
    np.testing.assert_array_equal(scans.positions[1], baselines.spiral(scan, scan.pitch))


def test_a_run_that_may_stop_early_is_loaded_with_its_head(tmp_path):
  running = trained(tmp_path, truncate=True, decision_delay=1)
  loaded, _ = model.load(tmp_path)
  for ours, theirs in zip(
    loaded.actor.error_head.variables, running.learner.actor.error_head.variables, strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["lstm", "dnc", "stopping"])
def test_an_exported_model_has_the_networks_that_were_exported(exports, kind):
  wanted = exports_lib.trained(kind)
  made, iteration = model.load_exported(exports(kind))
  assert iteration == exports_lib.ITERATION
  assert made.experiment == wanted.experiment
  for ours, theirs in ((made.actor, wanted.actor), (made.generator, wanted.generator)):
    for one, other in zip(ours.variables, theirs.variables, strict=True):
      np.testing.assert_array_equal(one, other, err_msg=one.name)
  same(made.scan_all(tiny.images(3)), wanted.scan_all(tiny.images(3)))


def test_what_is_no_exported_scanner_is_refused(exports, tmp_path):
  with pytest.raises(ValueError, match="is no exported scanner .*: name one"):
    model.load_exported(exports(exports_lib.FIELDS))
  with pytest.raises(ValueError, match="is no exported scanner .*: name one"):
    model.load_exported(tmp_path)
  folder = tmp_path / "1"
  (folder / integrity.FOLDER).mkdir(parents=True)
  fixed = tiny.experiment(path="spiral").to_json()
  (folder / integrity.FOLDER / integrity.CONFIG).write_text(fixed)
  with pytest.raises(ValueError, match=r"scans along a fixed path \(spiral\).*name the run"):
    model.load_exported(folder)


def test_a_damaged_export_is_refused(exports, tmp_path):
  shutil.copytree(exports("lstm"), tmp_path / "1")
  weights = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
  weights.write_bytes(weights.read_bytes()[:-1] + b"x")
  with pytest.raises(integrity.DamagedModelError, match="variables.data"):
    model.load_exported(tmp_path / "1")


def test_an_earlier_checkpoint_can_be_loaded(tmp_path):
  trained(tmp_path)
  newest, _ = model.load(tmp_path)
  earlier, iteration = model.load(tmp_path, 1)
  assert iteration == 1
  assert (earlier.generator.output.w.numpy() != newest.generator.output.w.numpy()).any()
  with pytest.raises(checkpoint.CheckpointError, match="no checkpoint of iteration 3"):
    model.load(tmp_path, 3)


def test_filtered_observations_are_filtered_when_deployed(tmp_path):
  running = trained(tmp_path, filter_observations=True)
  images = tiny.images(3)
  made = model.load(tmp_path)[0].scan_all(images)
  smooth = specimens.low_pass(images, running.learner.experiment.data.filter_sigma)
  np.testing.assert_allclose(made.partial[..., :1], smooth * made.partial[..., 1:], atol=1e-6)


def test_pictures_are_refreshed(tmp_path):
  running, drawn = trained(tmp_path), []
  running.show = lambda *shown: drawn.append(shown)
  (tmp_path / "metrics.csv").unlink()  # which a long run has no time to read again
  pictures.Refresher(tiny.images(3))(running, 2)
  assert {
    (tmp_path / name).read_bytes()[:4] for name in ("learning_curves.png", "examples.png")
  } == {b"\x89PNG"}
  assert [shown[0] for shown in drawn] == [2, 2] and all(shown[2].std() > 0 for shown in drawn)
