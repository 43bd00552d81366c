"""python -m launch.train_fields, from flags to a workdir, and on from there."""

import csv
import json
import os

import numpy as np
import pytest

from adaptive_stem_tf import field_config
from adaptive_stem_tf.micrographs import field_folder, field_set
from adaptive_stem_tf.training import field_model
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import field_data
from tests import exports as exports_lib
from tests.launch import commands
from tests.launch.test_train import same_run

TINY = {
  "simulated_fields": 0, "crop": 64, "generator_crop": 32, "rounds": 2, "generator_channels": 2,
  "policy_channels": 4, "batch_size": 2, "capacity": 6, "replayed": 2, "generator_first": 0.5,
  "actor_from": 0.5, "log_every": 1, "checkpoint_every": 1, "picture_every": 0, "threads": 2,
}  # fmt: skip


@pytest.fixture(name="fields")
def _fields(tmp_path):
  """A set of four training fields of two files, one of them too small, and a test field."""
  random = np.random.default_rng(0)
  sizes = [(96, 80), (70, 96), (96, 96), (40, 96), (96, 96)]
  images = [random.uniform(-1, 1, size).astype(np.float32) for size in sizes]
  files, splits = "ababc", ["train"] * 4 + ["test"]
  entries = [{"file": file, "split": split} for file, split in zip(files, splits)]
  field_set.write(tmp_path / "fields.npz", images, entries)
  return tmp_path / "fields.npz"


def arguments(workdir, fields, **changes):
  flags = [f"--{name}={value}" for name, value in {**TINY, **changes}.items()]
  return [*flags, f"--workdir={workdir}", f"--fields={fields}", "--noprogress"]


def train(workdir, fields, **changes):
  return commands.launch("train_fields", *arguments(workdir, fields, **changes))


def rows(workdir):
  with open(workdir / "metrics.csv", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def test_a_streamed_run_is_stopped_resumed_in_memory_as_if_it_had_not_been_and_refused_on_others(
  eagerly, tmp_path, fields
):
  """Stopped after the generator has learnt alone, before all that all learn is done."""
  run, straight = tmp_path / "run", tmp_path / "straight"
  with commands.terminated(3):
    ended = train(run, fields, iterations=4, images_in="stream")
  assert ended.code == 0, ended.err
  assert "3 fields of 2 files (1 smaller than 64 px are left out)" in ended.out
  assert "Stopped and saved" in ended.out
  logged = rows(run)
  assert [int(row["iteration"]) for row in logged] == [1, 2, 3]
  assert float(logged[0]["critic_loss"]) == 0 < float(logged[2]["critic_loss"])
  assert json.loads((run / "config.json").read_text())["scan"]["rounds"] == 2
  again = train(run, fields)
  assert f"Resuming {run} at iteration 3." in again.out and "Finished" in again.out
  assert "launch.compare_fields" in again.out
  assert train(straight, fields, iterations=4).code == 0
  same_run(run, straight, 4)
  other = fields.with_name("other.npz")
  loaded = field_set.load(fields)
  field_set.write(other, [-field for field in loaded.fields], loaded.entries)
  refused = train(run, other)
  assert refused.code == 1 and "fields is" in refused.err


def test_decisions_are_learnt_anew_with_the_generator_of_an_exported_model(
  eagerly, exports, tmp_path, fields
):
  """It has the model's sizes and rounds; its generator stays, its actor learns from the model's."""
  model, run = exports(exports_lib.FIELDS), tmp_path / "run"
  decisions = {"generator_rate": 0, "generator_first": 0, "actor_from": 0, "start_from": model}
  sizes = {name: TINY[name] for name in ("generator_channels", "policy_channels", "rounds")}
  wrong = train(run, fields, iterations=2, **decisions, generator_channels=5)
  assert wrong.code == 1 and "leave --generator_channels out" in wrong.err
  flags = [flag for flag in arguments(run, fields, iterations=2, **decisions)
           if flag.split("=")[0].removeprefix("--") not in sizes]  # fmt: skip
  ended = commands.launch("train_fields", *flags)
  assert ended.code == 0, ended.err
  assert f"Starting from the generator and the actor of {model}" in ended.out
  started, trained = exports_lib.trained_fields(), field_model.restore(run).model
  assert trained.experiment.flat()["rounds"] == started.rounds
  same = lambda name: all(
    np.array_equal(one, other)
    for one, other in zip(getattr(trained, name).variables, getattr(started, name).variables)
  )
  assert same("generator") and not same("actor")
  change = max(
    np.abs(one - other).max()
    for one, other in zip(trained.actor.variables, started.actor.variables, strict=True)
  )
  assert change < 0.02  # two small steps away from the model's
  # Called again, it goes on from its own networks.
  again = commands.launch("train_fields", f"--workdir={run}", "--noprogress")
  assert again.code == 0 and "Starting" not in again.out and "Resuming" in again.out, again.err


@pytest.mark.slow
def test_a_run_in_memory_is_resumed_from_files_as_if_nothing_had_been(eagerly, tmp_path, fields):
  """Beside simulated fields; those of a folder are not written again."""
  folder, iterations = tmp_path / "set", {"iterations": 4, "simulated_fields": 2}
  field_folder.write(folder, field_set.read(fields))
  run, straight = tmp_path / "run", tmp_path / "straight"
  with commands.terminated(1):
    assert train(run, folder, **iterations).code == 0
  again = train(run, folder, images_in="stream", **iterations)
  assert f"Resuming {run} at iteration 1." in again.out, again.err
  assert (run / "simulated_fields.npy").exists() and not (run / "fields").exists()
  assert train(straight, folder, **iterations).code == 0
  same_run(run, straight, 4)


@pytest.mark.slow
def test_kill_9_and_resume_equals_running_through(eagerly, tmp_path, fields):
  killed, straight = tmp_path / "killed", tmp_path / "straight"
  iterations, metrics = 4, killed / "metrics.csv"
  commands.kill_9("train_fields", arguments(killed, fields, iterations=iterations), metrics, 3)
  assert 3 <= len(rows(killed)) < iterations
  for workdir in (killed, straight):
    ended = train(workdir, fields, iterations=iterations)
    assert ended.code == 0, ended.err
    assert ("Resuming" in ended.out) == (workdir == killed)
  same_run(killed, straight, iterations)


def test_the_benchmark_measures_both_phases(eagerly, tmp_path):
  sizes = {name: TINY[name] for name in TINY if not name.endswith("_every")}
  flags = [f"--{name}={value}" for name, value in {**sizes, "simulated_fields": 3}.items()]
  (tmp_path / "fields.cfg").write_text("\n".join(flags))
  ended = commands.launch(
    "benchmark", f"--flagfile={tmp_path / 'fields.cfg'}", "--repeats=1", "--noprogress",
    f"--json={tmp_path / 'speed.json'}",
  )  # fmt: skip
  assert ended.code == 0, ended.err
  found = json.loads((tmp_path / "speed.json").read_text())
  assert list(found["seconds_per_iteration"]) == ["generator alone", "all networks"]
  assert "8 crops of 32 px" in ended.out and "2 crops of 64 px, 2 rounds" in ended.out
  assert found["checkpoint"]["megabytes"] > 0 and found["retraces"] == 0


def test_nothing_to_train_on_is_a_sentence(tmp_path, fields):
  ended = train(tmp_path / "run", fields, crop=128)
  assert ended.code == 1 and "leave no field of at least 128 px" in ended.err


def test_each_micrograph_is_drawn_as_often_as_any_other():
  simulated = np.zeros([6, 8, 8, 1], np.float16)
  measured = [np.full([8, 8, 1], value, np.float16) for value in (1, 2, 3)]
  fields = field_data.TrainingFields(simulated, measured, ["a", "a", "b"], 0.6)
  values = [float(field.max()) for field in fields.repeated()]
  assert values.count(0) == 6 and values.count(1) + values.count(2) == values.count(3) == 2


def test_fields_are_the_same_in_memory_and_in_files(tmp_path, fields, capsys, monkeypatch):
  data = field_config.FieldData(fields=str(fields), simulated_fields=2)
  in_memory, said = field_data.load(data, 64), capsys.readouterr().out
  streamed = field_data.load(data, 64, tmp_path / "run")
  assert capsys.readouterr().out == said and "3 fields of 2 files" in said
  expected, found = in_memory.repeated(), streamed.repeated()
  assert [field.shape for field in found] == [field.shape for field in expected]
  for one, other in zip(expected, found, strict=True):
    window = one[3:67, 5:69]
    assert window.dtype == other[3:67, 5:69].dtype == np.float16
    np.testing.assert_array_equal(window, other[3:67, 5:69])
  assert isinstance(streamed.simulated, np.memmap)
  assert not any(isinstance(field, np.ndarray) for field in streamed.measured)
  # Whoever began in memory goes on from files, and the other way round.
  for first, second in ((in_memory, streamed), (streamed, in_memory)):
    workdir_lib.keep_inputs(tmp_path / "run", **first.digestible())
    workdir_lib.keep_inputs(tmp_path / "run", **second.digestible())
  # What is there is not written again.
  monkeypatch.setattr(field_folder, "write", None)
  monkeypatch.setattr(field_data.specimen_store, "write", None)
  assert field_data.load(data, 64, tmp_path / "run").digestible()


def test_fields_of_a_folder_stay_where_they_are(tmp_path, fields):
  field_folder.write(tmp_path / "set", field_set.read(fields))
  data = field_config.FieldData(fields=str(tmp_path / "set"), simulated_fields=0)
  in_memory, streamed = field_data.load(data, 64), field_data.load(data, 64, tmp_path / "run")
  assert not (tmp_path / "run").exists()
  for one, other in zip(in_memory.measured, streamed.measured, strict=True):
    np.testing.assert_array_equal(one, other[:, :])
  assert in_memory.sources == streamed.sources == ["a", "b", "a"]
  workdir_lib.keep_inputs(tmp_path / "run", **in_memory.digestible())
  workdir_lib.keep_inputs(tmp_path / "run", **streamed.digestible())
  # They are read anew when they change, and only then.
  reading, read = field_folder.StoredField.read, []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      field_folder.StoredField, "read", lambda field: read.append(field) or reading(field)
    )
    workdir_lib.keep_inputs(tmp_path / "run", **streamed.digestible())
    assert not read
    file = tmp_path / "set" / "field_000002.npy"
    np.save(file, -np.load(file))
    os.utime(file, ns=(0, 0))
    with pytest.raises(workdir_lib.WorkdirError, match="fields of the same shape"):
      workdir_lib.keep_inputs(tmp_path / "run", **streamed.digestible())
  assert len(read) == 3
