"""SavedModels that need none of our code."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.experiment import model
from adaptive_stem_tf.serving import export
from tests import tiny


@pytest.fixture(scope="module", params=["lstm", pytest.param("gru", marks=pytest.mark.slow), "dnc"])
def exported(request, tmp_path_factory):
  """Returns a model and what is loaded from its SavedModel."""
  trained = model.of_learner(tiny.learner(controller=request.param))
  folder = export.export(trained, tmp_path_factory.mktemp(request.param) / "1")
  return trained, tf.saved_model.load(str(folder)), folder


def call(loaded, name, **inputs):
  return loaded.signatures[name](**inputs)


def test_every_signature_takes_any_batch(exported):
  _, loaded, _ = exported
  assert set(loaded.signatures) == {"complete", "start", "step", "scan", "serving_default"}
  for signature in loaded.signatures.values():
    assert all(spec.shape[0] is None for spec in signature.structured_input_signature[1].values())


@pytest.mark.parametrize("batch", [1, 3])
def test_completions_and_scans_are_the_models(exported, batch):
  trained, loaded, _ = exported
  images = tf.constant(tiny.images(batch))
  _, path, partial, completion = trained.scan(images)
  ours = call(loaded, "scan", image=images)
  for name, expected in (("path", path), ("partial_scan", partial), ("completion", completion)):
    np.testing.assert_allclose(ours[name], expected, atol=1e-4, err_msg=name)
  for name in ("complete", "serving_default"):
    np.testing.assert_allclose(call(loaded, name, partial_scan=partial)["completion"], completion, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_scanning_step_by_step_equals_a_whole_scan(exported, batch):
  _, loaded, _ = exported
  images = tiny.images(batch)
  whole = call(loaded, "scan", image=tf.constant(images))["path"].numpy().reshape(batch, tiny.SEGMENTS, tiny.PROBES, 2)
  answer = call(loaded, "start", scan_id=tf.range(batch, dtype=tf.int64))
  for k in range(tiny.SEGMENTS):
    np.testing.assert_allclose(answer["positions"], whole[:, k], atol=1e-4)
    pixels = np.clip(np.floor(whole[:, k]), 0, tiny.SIZE - 1).astype(int)
    measured = np.stack([image[rows, columns, 0] for image, (rows, columns) in zip(images, pixels.transpose(0, 2, 1))])
    state = {name: value for name, value in answer.items() if name.startswith("state_")}
    answer = call(loaded, "step", observation=tf.constant(measured), **state)
    assert (np.abs(answer["angle"]) <= np.float32(np.pi)).all()


def test_the_configuration_travels_along(exported):
  trained, _, folder = exported
  assert config.Experiment.from_json((folder / "assets.extra" / "config.json").read_text()) == trained.experiment


def test_versions_are_positive_integers_and_never_replaced(exported, tmp_path):
  trained, _, folder = exported
  for name in ("model", "0", "-1", "1.5", "v1"):
    with pytest.raises(export.ExportError, match="does not end in a version"):
      export.export(trained, tmp_path / name)
  with pytest.raises(export.ExportError, match="exists: a version is never replaced"):
    export.export(trained, folder)
  assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def stopping(tmp_path_factory):
  """Returns a model that decides one segment late and predicts its error, and what is loaded from its SavedModel."""
  trained = model.of_learner(tiny.learner(decision_delay=1, truncate=True))
  return trained, tf.saved_model.load(str(export.export(trained, tmp_path_factory.mktemp("stopping") / "1")))


def test_with_a_delay_the_state_carries_the_direction_that_is_pending(stopping):
  _, loaded = stopping
  images = tiny.images(2)
  whole = call(loaded, "scan", image=tf.constant(images))["path"].numpy().reshape(2, tiny.SEGMENTS, tiny.PROBES, 2)
  answer = call(loaded, "start", scan_id=tf.range(2, dtype=tf.int64))
  np.testing.assert_array_equal(answer["state_pending"], 1.0)
  angles = []
  for k in range(tiny.SEGMENTS):
    np.testing.assert_allclose(answer["positions"], whole[:, k], atol=1e-4)
    if k > 1:  # decided after segment k - 2
      step = np.sqrt(2) * np.concatenate([np.cos(angles[k - 2]), np.sin(angles[k - 2])], -1)
      np.testing.assert_allclose(whole[:, k, 1] - whole[:, k, 0], step, atol=1e-4)
    pixels = np.clip(np.floor(whole[:, k]), 0, tiny.SIZE - 1).astype(int)
    measured = np.stack([image[rows, columns, 0] for image, (rows, columns) in zip(images, pixels.transpose(0, 2, 1))])
    state = {name: value for name, value in answer.items() if name.startswith("state_")}
    answer = call(loaded, "step", observation=tf.constant(measured), **state)
    angles.append(answer["angle"].numpy())
    assert answer["predicted_error"].shape == [2, 1] and (answer["predicted_error"].numpy() >= 0).all()


def test_models_trained_on_whole_scans_predict_no_error(exported):
  _, loaded, _ = exported
  assert "predicted_error" not in loaded.signatures["step"].structured_outputs
  assert "state_pending" not in loaded.signatures["step"].structured_outputs
