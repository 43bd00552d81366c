"""SavedModels that correct distorted scans."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import integrity
from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.networks import generator
from adaptive_stem_tf.serving import corrector, export, extra
from adaptive_stem_tf.serving.local import ModelError
from adaptive_stem_tf.serving.scanner import Scanner
from tests import tiny
from tests.unit.serving import scanning


def make(folder, experiment):
  """Returns a corrector with random weights, and the folder it was exported to."""
  network, rng = generator.Generator(experiment.generator), np.random.default_rng(0)
  network(tf.zeros([1, tiny.SIZE, tiny.SIZE, 2]), is_training=False)
  for weight in network.trainable_variables:
    weight.assign_add(rng.normal(0, 0.2, weight.shape))
  return network, corrector.write(network, experiment, folder / "1", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A corrector and the folder of its SavedModel."""
  return make(tmp_path_factory.mktemp("corrector"), tiny.correction())


@pytest.fixture
def partial(rng):
  """Partial scans [3, S, S, 2]."""
  mask = rng.random([3, tiny.SIZE, tiny.SIZE, 1]) < 0.2
  return np.float32(np.concatenate([mask * rng.uniform(-1, 1, mask.shape), mask], -1))


@pytest.mark.parametrize("batch", [1, 3])
def test_it_corrects_as_the_network_does(made, partial, batch):
  network, folder = made
  expected = network(tf.constant(partial[:batch]), is_training=False)
  assert np.std(expected) > 0.01
  loaded = corrector.Corrector(folder, tiny.SIZE)
  np.testing.assert_allclose(loaded.complete(partial[:batch]), expected, rtol=1e-4, atol=1e-5)


def test_its_signature_takes_any_batch_and_is_the_default(made, partial):
  loaded = tf.saved_model.load(str(made[1]))
  assert set(loaded.signatures) == {"correct", "serving_default"}
  ours, default = (
    loaded.signatures[name](partial_scan=tf.constant(partial))["corrected"]
    for name in ("correct", "serving_default")
  )
  np.testing.assert_array_equal(ours, default)
  assert loaded.signatures["correct"].structured_input_signature[1]["partial_scan"].shape[0] is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_intensities_that_are_not_finite_are_refused(made, partial, value):
  partial[1, 3, 3, 0] = value
  with pytest.raises(
    tf.errors.InvalidArgumentError, match="partial_scan has values that are not finite"
  ):
    corrector.Corrector(made[1], tiny.SIZE).complete(partial)


def test_what_travels_along_describes_it(made):
  _, folder = made
  assert (
    Correction.from_json((folder / extra.FOLDER / "config.json").read_text()) == tiny.correction()
  )
  manifest = json.loads((folder / extra.FOLDER / "manifest.json").read_text())
  assert manifest["iteration"] == 3 and set(manifest["signatures"]) == {
    "correct",
    "serving_default",
  }
  described = manifest["signatures"]["correct"]
  assert "corrects the distortion" in described["does"]
  assert described["gives"]["corrected"].startswith("float32 [B, 16, 16, 1]: intensities")
  assert integrity.damage(folder) is None


def test_a_version_is_never_replaced(made):
  with pytest.raises(export.ExportError, match="a version is never replaced in place"):
    corrector.write(made[0], tiny.correction(), made[1])


def test_scans_of_another_size_are_refused(made):
  with pytest.raises(
    ModelError,
    match="corrector=.* corrects scans of 16 px and the model scans 32 px: give one that",
  ):
    corrector.Corrector(made[1], 32)


def test_what_corrects_nothing_is_refused(adaptive, made, tmp_path):
  with pytest.raises(
    ModelError, match="corrector=.* has no signature correct: give what .*launch.train_distortion"
  ):
    corrector.Corrector(adaptive[1], tiny.SIZE)
  with pytest.raises(
    ModelError, match="corrector=.*none does not exist: give a folder NAME/VERSION"
  ):
    corrector.Corrector(tmp_path / "none", tiny.SIZE)
  with pytest.raises(
    ModelError, match="corrector=.* holds no saved_model.pb: give a version of it, such as .*/1"
  ):
    corrector.Corrector(made[1].parent, tiny.SIZE)


def test_a_corrector_is_no_scanner(made):
  with pytest.raises(ModelError, match="has no signature start, step, complete, scan"):
    Scanner(made[1])


def test_a_scanner_completes_by_it(adaptive, scanner, made):
  network, folder = made
  windows, known = 150 + 50 * tiny.images(3)[..., 0], Normalisation("known", 100.0, 200.0)
  plain, corrected = scanner.scan(windows, known), Scanner(adaptive[1], folder).scan(windows, known)
  for name in ("positions", "intensities", "partial"):
    np.testing.assert_array_equal(getattr(corrected, name), getattr(plain, name))
  measured = plain.partial[..., 1:]
  seen = np.concatenate(
    [np.clip((plain.partial[..., :1] - 150) / 50, -1, 1) * measured, measured], -1
  )
  expected = 150 + 50 * network(tf.constant(seen, tf.float32), is_training=False).numpy()[..., 0]
  np.testing.assert_allclose(corrected.completions, expected, rtol=1e-4, atol=0.01)
  assert np.abs(corrected.completions - plain.completions).max() > 1


def test_a_scanner_refuses_one_of_another_size(adaptive, tmp_path):
  experiment = tiny.correction(image_size=32)
  network = generator.Generator(experiment.generator)
  network(tf.zeros([1, 32, 32, 2]), is_training=False)
  with pytest.raises(ModelError, match="corrects scans of 32 px and the model scans 16 px"):
    Scanner(adaptive[1], corrector.write(network, experiment, tmp_path / "1"))


ALONE = """
import sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
partial = tf.constant(np.load(sys.argv[2]))
np.save(sys.argv[3], loaded.signatures["correct"](partial_scan=partial)["corrected"])
loaded_names = {name.split(".")[0] for name, module in sys.modules.items() if module}
ours = sorted(loaded_names & {"adaptive_stem_tf", "sonnet"})
print(ours or "alone")
"""


@pytest.mark.slow
def test_tensorflow_alone_loads_it(made, partial, tmp_path):
  network, folder = made
  np.save(tmp_path / "partial.npy", partial)
  moved = shutil.copytree(folder, tmp_path / "moved" / "7")
  assert (
    scanning.alone(ALONE, tmp_path, moved, tmp_path / "partial.npy", tmp_path / "corrected.npy")
    == "alone"
  )
  np.testing.assert_allclose(
    np.load(tmp_path / "corrected.npy"),
    network(tf.constant(partial), is_training=False),
    rtol=1e-4,
    atol=1e-5,
  )
