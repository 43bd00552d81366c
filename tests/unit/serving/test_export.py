"""SavedModels that need none of our code."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from adaptive_stem_tf import config, integrity, writing
from adaptive_stem_tf.serving import contract, export, extra
from tests import exports as exports_lib
from tests import tiny
from tests.unit.serving import scanning

SHIPPED = pathlib.Path(__file__).parents[3] / "savedmodels"


@pytest.fixture(scope="module", params=["lstm", pytest.param("gru", marks=pytest.mark.slow), "dnc"])
def loaded_export(request, exports):
  """Returns a model, what is loaded from its SavedModel, and the folder."""
  folder = exports(request.param)
  return exports_lib.trained(request.param), tf.saved_model.load(str(folder)), folder


def call(loaded, name, **inputs):
  return loaded.signatures[name](**inputs)


def test_every_signature_takes_any_batch(loaded_export):
  _, loaded, _ = loaded_export
  assert set(loaded.signatures) == {"complete", "start", "step", "scan", "serving_default"}
  for signature in loaded.signatures.values():
    assert all(spec.shape[0] is None for spec in signature.structured_input_signature[1].values())


@pytest.mark.parametrize("batch", [1, 3])
def test_completions_and_scans_are_the_models(loaded_export, batch):
  trained, loaded, _ = loaded_export
  images = tf.constant(tiny.images(batch))
  _, path, partial, completion = trained.scan(images)
  ours = call(loaded, "scan", image=images)
  for name, expected in (("path", path), ("partial_scan", partial), ("completion", completion)):
    np.testing.assert_allclose(ours[name], expected, atol=1e-4, err_msg=name)
  for name in ("complete", "serving_default"):
    np.testing.assert_allclose(
      call(loaded, name, partial_scan=partial)["completion"], completion, atol=1e-4
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_scanning_step_by_step_equals_a_whole_scan(loaded_export, batch):
  _, loaded, _ = loaded_export
  images = tiny.images(batch)
  whole = (
    call(loaded, "scan", image=tf.constant(images))["path"]
    .numpy()
    .reshape(batch, tiny.SEGMENTS, tiny.PROBES, 2)
  )
  answer = call(loaded, "start", scan_id=tf.range(batch, dtype=tf.int64))
  for k in range(tiny.SEGMENTS):
    np.testing.assert_allclose(answer["positions"], whole[:, k], atol=1e-4)
    pixels = np.clip(np.floor(whole[:, k]), 0, tiny.SIZE - 1).astype(int)
    measured = np.stack(
      [image[rows, columns, 0] for image, (rows, columns) in zip(images, pixels.transpose(0, 2, 1))]
    )
    state = {name: value for name, value in answer.items() if name.startswith("state_")}
    answer = call(loaded, "step", observation=tf.constant(measured), **state)
    assert (np.abs(answer["angle"]) <= np.float32(np.pi)).all()


@pytest.mark.parametrize(
  "name, wrong",
  [
    ("state_hidden_0", (1, tiny.UNITS)),
    ("state_hidden_0", (tiny.UNITS, 3)),
    ("state_cell_1", (3, 1)),
    ("state_position", (1, 2)),
    ("state_direction", (2,)),
    ("observation", (3, 1)),
    ("observation", (1, tiny.PROBES)),
  ],
)
def test_the_graph_itself_refuses_shapes_that_it_would_broadcast(exported, name, wrong):
  loaded = tf.saved_model.load(str(exported["lstm"][1]))
  answer = call(loaded, "start", scan_id=tf.range(3, dtype=tf.int64))
  inputs = {key: value for key, value in answer.items() if key.startswith("state_")}
  inputs["observation"] = tf.zeros([3, tiny.PROBES])
  # a server checks no shapes
  anything = {key: tf.TensorSpec(None, value.dtype) for key, value in inputs.items()}
  step = tf.function(lambda inputs: call(loaded, "step", **inputs), [anything])
  assert step(inputs)["angle"].shape == [3, 1]
  with pytest.raises(tf.errors.InvalidArgumentError):
    step({**inputs, name: tf.zeros(wrong)})


def test_intensities_that_are_not_finite_are_refused(exported):
  loaded = tf.saved_model.load(str(exported["lstm"][1]))
  for value in (np.nan, np.inf):
    image = np.zeros([2, tiny.SIZE, tiny.SIZE, 1], np.float32)
    image[1, 3, 3] = value
    with pytest.raises(
      tf.errors.InvalidArgumentError, match="image has values that are not finite"
    ):
      call(loaded, "scan", image=tf.constant(image))


@pytest.mark.parametrize("kind", ["lstm", "dnc", "stopping"])
def test_every_state_that_is_not_finite_is_refused(exports, kind):
  loaded = tf.saved_model.load(str(exports(kind)))
  answer = call(loaded, "start", scan_id=tf.range(2, dtype=tf.int64))
  state = {key: value for key, value in answer.items() if key.startswith("state_")}
  observation = tf.zeros([2, tiny.PROBES])
  assert call(loaded, "step", observation=observation, **state)
  for name, part in state.items():
    if not part.dtype.is_floating:
      continue
    for value in (np.nan, np.inf, -np.inf):
      wrong = part.numpy()
      wrong.flat[-1] = value  # of the second scan alone
      with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} is not finite: give"):
        call(loaded, "step", observation=observation, **{**state, name: tf.constant(wrong)})
  with pytest.raises(tf.errors.InvalidArgumentError, match="state_segment is negative"):
    call(loaded, "step", observation=observation, **{**state, "state_segment": [-1, 0]})


def test_the_shipped_scanner_refuses_states_that_are_not_finite():
  loaded = tf.saved_model.load(str(SHIPPED / "adaptive_stem" / "1"))
  answer = call(loaded, "start", scan_id=tf.zeros([1], tf.int64))
  state = {key: value for key, value in answer.items() if key.startswith("state_")}
  observation = tf.zeros([1, 20])
  assert call(loaded, "step", observation=observation, **state)
  state["state_cell_0"] += np.inf
  with pytest.raises(tf.errors.InvalidArgumentError, match="state_cell_0 is not finite"):
    call(loaded, "step", observation=observation, **state)


def test_what_travels_along_describes_the_model(loaded_export):
  trained, loaded, folder = loaded_export
  text = (folder / extra.FOLDER / "config.json").read_text()
  assert config.Experiment.from_json(text) == trained.experiment
  manifest = json.loads((folder / extra.FOLDER / "manifest.json").read_text())
  assert manifest["config_sha256"] == extra.config_hash(trained.experiment)
  assert manifest["config_sha256"] != extra.config_hash(trained.experiment.replace(seed=1))
  assert set(manifest["signatures"]) == set(loaded.signatures)
  for name, signature in loaded.signatures.items():
    described = manifest["signatures"][name]
    assert set(described["takes"]) == set(signature.structured_input_signature[1])
    assert set(described["gives"]) == set(signature.structured_outputs)
  assert manifest["signatures"]["step"]["takes"]["observation"].startswith(
    "float32 [B, 4]: intensities"
  )


def test_warm_up_requests_run_every_signature(loaded_export):
  _, loaded, folder = loaded_export
  path = folder / extra.FOLDER / "tf_serving_warmup_requests"
  seen = set()
  for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == folder.parent.name
    inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
    outputs = call(loaded, request.model_spec.signature_name, **inputs)
    assert all(np.isfinite(value).all() for value in outputs.values())
    seen.add(request.model_spec.signature_name)
  assert seen == set(loaded.signatures)


def test_damage_is_found(exported, tmp_path):
  folder = shutil.copytree(exported["lstm"][1], tmp_path / "1")
  assert integrity.damage(folder) is None
  weights = folder / "variables" / "variables.data-00000-of-00001"
  content = bytearray(weights.read_bytes())
  content[-1] ^= 1
  weights.write_bytes(content)
  assert "variables.data-00000-of-00001 is damaged" in integrity.damage(folder)
  weights.unlink()
  assert "variables.data-00000-of-00001 is missing" in integrity.damage(folder)


def test_an_export_that_fails_leaves_nothing(exported, tmp_path, monkeypatch):
  def fail(*_):
    raise OSError("no space left")

  monkeypatch.setattr(extra, "write", fail)
  monkeypatch.setattr(tf.saved_model, "save", lambda served, folder, signatures: None)
  monkeypatch.setattr(export.ServedModel, "signatures", lambda self: {"complete": None})
  with pytest.raises(writing.WriteError, match="cannot be written: no space left"):
    export.export(exported["lstm"][0], tmp_path / "1")
  assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_for_tensorflow_is_told(exported, tmp_path, monkeypatch):
  def fail(served, folder, signatures):
    (pathlib.Path(folder) / "variables").mkdir(parents=True)
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

  monkeypatch.setattr(tf.saved_model, "save", fail)
  monkeypatch.setattr(export.ServedModel, "signatures", lambda self: {"complete": None})
  with pytest.raises(export.ExportError, match=r"1 cannot be written: No space .* Free some"):
    export.export(exported["lstm"][0], tmp_path / "1")
  assert not list(tmp_path.iterdir())


def test_a_version_written_meanwhile_is_not_replaced(exported, tmp_path, monkeypatch):
  def other_was_faster(*_):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("theirs")

  monkeypatch.setattr(extra, "write", other_was_faster)
  monkeypatch.setattr(tf.saved_model, "save", lambda served, folder, signatures: None)
  monkeypatch.setattr(export.ServedModel, "signatures", lambda self: {"complete": None})
  with pytest.raises(export.ExportError, match="by another process meanwhile"):
    export.export(exported["lstm"][0], tmp_path / "1")
  assert [path.name for path in tmp_path.iterdir()] == ["1"]
  assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


ALONE = """
import sys
import numpy as np
import tensorflow as tf
folder, size = sys.argv[1], int(sys.argv[2])
loaded = tf.saved_model.load(folder)
answer = loaded.signatures["start"](scan_id=tf.range(2, dtype=tf.int64))
state = {name: value for name, value in answer.items() if name.startswith("state_")}
answer = loaded.signatures["step"](observation=tf.zeros(answer["positions"].shape[:2]), **state)
scans = loaded.signatures["scan"](image=tf.zeros([2, size, size, 1]))
again = loaded.signatures["complete"](partial_scan=scans["partial_scan"])
np.testing.assert_allclose(again["completion"], scans["completion"], atol=1e-4)
loaded_names = {name.split(".")[0] for name, module in sys.modules.items() if module}
ours = sorted(loaded_names & {"adaptive_stem_tf", "sonnet"})
print(ours or "alone")
"""


@pytest.mark.parametrize("name", ["lstm", pytest.param("dnc", marks=pytest.mark.slow)])
def test_tensorflow_alone_loads_it(exported, name, tmp_path):
  assert scanning.alone(ALONE, tmp_path, exported[name][1], tiny.SIZE) == "alone"


def saved_model_cli(*arguments):
  """Runs TensorFlow's tool for SavedModels; returns what it printed."""
  tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
  ended = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=300)
  assert ended.returncode == 0, ended.stderr
  return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "dnc"])
def test_saved_model_cli_shows_and_runs_every_signature(exported, name, tmp_path):
  """Every signature, on what the one before it gave: `step` on the state of `start`, `complete` on
  a `scan`.
  """
  folder, images = exported[name][1], tiny.images(2)
  np.save(tmp_path / "image.npy", images)
  np.save(tmp_path / "scan_id.npy", np.arange(2))
  np.save(tmp_path / "observation.npy", images[:, 0, : tiny.PROBES, 0])
  shown, known = (
    saved_model_cli("show", "--dir", folder, "--all"),
    contract.of_protos(extra.read_protos(folder)),
  )
  given = {path.stem: path for path in tmp_path.iterdir()}
  for signature in ("scan", "start", "step", "complete", "serving_default"):
    tensors, outputs = known.pop(signature)
    assert f"signature_def['{signature}']" in shown
    assert {f"inputs['{key}']" for key in tensors} | {
      f"outputs['{key}']" for key in outputs
    } <= set(re.findall(r"(?:in|out)puts\['\w+'\]", shown))
    inputs = ";".join(f"{key}={given[key]}" for key in tensors)
    saved_model_cli(
      "run",
      "--dir",
      folder,
      "--tag_set",
      "serve",
      "--signature_def",
      signature,
      "--inputs",
      inputs,
      "--outdir",
      tmp_path / signature,
    )
    given |= {
      path.stem: path for path in (tmp_path / signature).iterdir() if signature in ("scan", "start")
    }
    made = {path.stem: np.load(path) for path in (tmp_path / signature).iterdir()}
    assert set(made) == set(outputs) and all(np.isfinite(value).all() for value in made.values())
  assert not known
  for signature in ("complete", "serving_default"):
    completion = np.load(tmp_path / signature / "completion.npy")
    np.testing.assert_allclose(completion, np.load(given["completion"]), atol=1e-5)


def test_versions_are_positive_integers_and_never_replaced(exported, tmp_path, monkeypatch):
  trained, folder = exported["lstm"]
  monkeypatch.setattr(export.ServedModel, "signatures", None)  # refused before any is traced
  for name in ("model", "0", "-1", "1.5", "v1", "007", "\u0661"):
    with pytest.raises(export.ExportError, match="does not end in a version"):
      export.export(trained, tmp_path / name)
  with pytest.raises(export.ExportError, match="exists: a version is never replaced"):
    export.export(trained, folder)
  assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def stopping(exports):
  """Returns a model that decides one segment late and predicts its error, and what is loaded from
  its SavedModel.
  """
  return exports_lib.trained("stopping"), tf.saved_model.load(str(exports("stopping")))


def test_with_a_delay_the_state_carries_the_direction_that_is_pending(stopping):
  _, loaded = stopping
  images = tiny.images(2)
  whole = (
    call(loaded, "scan", image=tf.constant(images))["path"]
    .numpy()
    .reshape(2, tiny.SEGMENTS, tiny.PROBES, 2)
  )
  answer = call(loaded, "start", scan_id=tf.range(2, dtype=tf.int64))
  np.testing.assert_array_equal(answer["state_pending"], 1.0)
  angles = []
  for k in range(tiny.SEGMENTS):
    np.testing.assert_allclose(answer["positions"], whole[:, k], atol=1e-4)
    if k > 1:  # decided after segment k - 2
      step = np.sqrt(2) * np.concatenate([np.cos(angles[k - 2]), np.sin(angles[k - 2])], -1)
      np.testing.assert_allclose(whole[:, k, 1] - whole[:, k, 0], step, atol=1e-4)
    pixels = np.clip(np.floor(whole[:, k]), 0, tiny.SIZE - 1).astype(int)
    measured = np.stack(
      [image[rows, columns, 0] for image, (rows, columns) in zip(images, pixels.transpose(0, 2, 1))]
    )
    state = {name: value for name, value in answer.items() if name.startswith("state_")}
    answer = call(loaded, "step", observation=tf.constant(measured), **state)
    angles.append(answer["angle"].numpy())
    assert (
      answer["predicted_error"].shape == [2, 1] and (answer["predicted_error"].numpy() >= 0).all()
    )


def test_models_trained_on_whole_scans_predict_no_error(exported):
  loaded = tf.saved_model.load(str(exported["lstm"][1]))
  assert "predicted_error" not in loaded.signatures["step"].structured_outputs
  assert "state_pending" not in loaded.signatures["step"].structured_outputs
