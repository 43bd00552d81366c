"""The training run: loop, resuming, stopping, failing."""

import contextlib
import os
import signal
import time
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.training import checkpoint, metrics_writer, run, start
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import disks, tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]


class Sum(tf.Module):
  """What a run needs of a learner, and no more: it adds up the specimens that it is shown."""

  def __init__(self, experiment):
    super().__init__()
    self.experiment, self.num_specimens = experiment, 8
    self.weight, self.other = tf.Variable(tf.zeros([3])), tf.Variable(tf.zeros([2]))
    self.settled = tf.Variable(0.0)
    self.streamed = None

  def step(self, draw):
    self.weight.assign_add(tf.fill([3], tf.reduce_mean(tf.cast(draw.index, tf.float32))))
    return Scalars(self.weight[0], tf.reduce_sum(self.weight**2))

  def status(self, row):
    return f"{row['generator_loss']:.1f}"

  def settle(self):
    self.settled.assign_add(1.0)


class Scalars(NamedTuple):
  """Of an iteration."""

  generator_loss: tf.Tensor
  critic_loss: tf.Tensor


CHOSEN = {"jit": "none", "log_every": 2, "checkpoint_every": 2, "picture_every": 0}


def scanner(workdir, experiment=None, **settings):
  """Returns the run of a whole scanner."""
  chosen = config.RunSettings(progress=False, **{**CHOSEN, **settings})
  return start.scanner(experiment or tiny.experiment(), chosen, tiny.splits(), workdir)


def make(workdir, experiment=None, **settings):
  """Returns a run that costs nothing."""
  learner = Sum(experiment or tiny.experiment())
  workdir_lib.open_workdir(workdir, learner.experiment)
  return run.Run(learner, config.RunSettings(progress=False, **{**CHOSEN, **settings}), workdir)


def variables(running):
  return [variable.numpy() for variable in running.learner.variables]


def equal(ours, theirs):
  for a, b in zip(variables(ours), variables(theirs), strict=True):
    np.testing.assert_array_equal(a, b)


def iterations(workdir):
  return [int(row["iteration"]) for row in metrics_writer.read_rows(workdir / "metrics.csv")]


def steps(workdir):
  return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def at(iteration, act):
  """Returns a picture callback that acts at one iteration."""
  return lambda running, now: act(running) if now == iteration else None


def stop(*_):
  os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_logs_saves_and_draws_when_due(tmp_path):
  drawn = []
  running = make(tmp_path, tiny.experiment(iterations=7), picture_every=3, checkpoint_every=4)
  assert running.train(lambda _, iteration: drawn.append(iteration))
  assert iterations(tmp_path) == [2, 3, 4, 6, 7]  # every second, and wherever something else is due
  assert drawn == [3, 6, 7]
  assert steps(tmp_path) == ["step_000000004", "step_000000007"]
  assert config.Experiment.from_json((tmp_path / "config.json").read_text()) == tiny.experiment(
    iterations=7
  )


def test_rows_are_means_of_the_iterations_since_the_last(tmp_path):
  single, double = (
    make(tmp_path / str(every), log_every=every, checkpoint_every=100) for every in (1, 2)
  )
  assert single.train() and double.train()
  each, mean = (metrics_writer.read_rows(tmp_path / str(every) / "metrics.csv") for every in (1, 2))
  for k, row in enumerate(mean):
    for name, value in row.items():
      if name != "iteration":
        assert value == pytest.approx(
          (each[2 * k][name] + each[2 * k + 1][name]) / 2, rel=1e-5, abs=1e-12
        ), name


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"controller": "gru", "prioritised": True, "target_actor": True},
    {"optimiser": "rmsprop", "clip": "running_norm", "target_generator": True},
  ],
)
def test_resuming_equals_running_through_bitwise(tmp_path, changes):
  # The replay holds two batches: the third iteration overwrites.
  experiment = tiny.experiment(**{**tiny.SMALLER, "capacity": 8, "iterations": 3, **changes})
  straight, stopped = (
    scanner(tmp_path / "straight", experiment, log_every=1),
    scanner(tmp_path / "resumed", experiment, log_every=1, picture_every=1),
  )
  assert straight.train()
  assert not stopped.train(at(1, stop))  # noticed when the next row is due
  resumed = scanner(tmp_path / "resumed", experiment, log_every=1)
  assert resumed.started_at == 2
  equal(resumed, stopped)
  assert resumed.train()
  equal(resumed, straight)
  texts = [(tmp_path / name / "metrics.csv").read_text() for name in ("straight", "resumed")]
  assert texts[0] == texts[1] and len(texts[0].splitlines()) == 4


def test_everything_that_training_changes_is_restored(tmp_path):
  running = scanner(
    tmp_path,
    tiny.experiment(iterations=2, prioritised=True, target_generator=True, clip="running_norm"),
  )
  assert running.train()
  kept = variables(running)
  for variable in running.learner.variables:
    variable.assign(variable != variable if variable.dtype.is_bool else variable + 1)
  assert running._checkpoints.restore() == 2
  for variable, value in zip(running.learner.variables, kept, strict=True):
    np.testing.assert_array_equal(variable, value, err_msg=variable.name)
  held = {variable.ref() for variable in running.learner.variables}
  learner = running.learner
  for variable in (
    *learner.loss_moments,
    *learner.generator_moments,
    learner.loss_mean,
    learner.iteration,
    learner.replay.priority,
    learner.actor_clipper.running_norm,
    learner.generator_optimiser.step,
    *learner.generator_optimiser.m,
    *learner.critic_optimiser.v,
    learner.replay.added,
  ):
    assert variable.ref() in held


def test_sigterm_and_ctrl_c_save_and_stop(tmp_path):
  for number in (signal.SIGTERM, signal.SIGINT):
    workdir, before = tmp_path / str(number), signal.getsignal(number)
    running = make(workdir, picture_every=2, checkpoint_every=100)
    assert not running.train(at(2, lambda _, number=number: os.kill(os.getpid(), number)))
    assert iterations(workdir) == [2, 4]  # when the next row is due
    assert running.learner.settled == 0  # it is not the end
    assert steps(workdir) == ["step_000000004"]
    assert signal.getsignal(number) is before


@pytest.fixture
def python_ctrl_c():
  """Python's own handler of Ctrl-C: a background job is started with SIGINT ignored."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def test_the_second_ctrl_c_acts_at_once(python_ctrl_c):
  with run.StopRequest() as request:
    os.kill(os.getpid(), signal.SIGINT)
    assert request.requested
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(5)


def test_a_finished_run_stays_as_it_is(tmp_path):
  assert make(tmp_path).train()
  before = (tmp_path / "metrics.csv").read_text(), steps(tmp_path)
  assert make(tmp_path).train()
  assert ((tmp_path / "metrics.csv").read_text(), steps(tmp_path)) == before


def break_at(running, iteration):
  """Puts NaN into the weights before an iteration."""
  step, count = running.learner.step, iter(range(1, 100))

  def broken(draw):
    if next(count) == iteration:
      running.learner.weight.assign(tf.fill([3], np.nan))
    return step(draw)

  running.learner.step = broken
  return running


def test_a_nan_stops_the_run_naming_where_and_leaves_good_checkpoints(tmp_path):
  running = break_at(make(tmp_path), 5)
  with pytest.raises(
    run.NotFiniteError,
    match="generator_loss.* of iteration 5 is not finite.*the last is of iteration 4",
  ) as error:
    running.train()
  assert error.value.iteration == 5
  assert steps(tmp_path) == ["step_000000002", "step_000000004"]
  assert iterations(tmp_path) == [2, 4]
  resumed = make(tmp_path)
  assert resumed.started_at == 4 and all(np.isfinite(value).all() for value in variables(resumed))
  assert resumed.train()


def test_a_nan_before_the_first_checkpoint_says_so(tmp_path):
  with pytest.raises(run.NotFiniteError, match="of iteration 1 is not finite.*none was saved yet"):
    break_at(make(tmp_path), 1).train()
  assert not (tmp_path / "checkpoints").exists()


def test_divergence_is_noted_and_ends_a_sweep_normally(tmp_path):
  with pytest.raises(run.NotFiniteError):
    run.train(break_at(make(tmp_path / "run"), 3))
  assert workdir_lib.diverged_at(tmp_path / "run") == 3 and workdir_lib.is_finished(
    tmp_path / "run"
  )
  sweep = tiny.experiment(schedule="sweep")
  assert run.train(break_at(make(tmp_path / "sweep", sweep), 3))
  assert workdir_lib.diverged_at(tmp_path / "sweep") == 3


def test_a_run_knows_whether_it_is_finished(tmp_path):
  assert not workdir_lib.is_finished(tmp_path)
  assert not run.train(make(tmp_path, picture_every=2), at(2, stop))
  assert not workdir_lib.is_finished(tmp_path)
  assert run.train(make(tmp_path))
  assert workdir_lib.is_finished(tmp_path) and workdir_lib.diverged_at(tmp_path) is None


def test_another_experiments_workdir_is_refused_naming_the_fields(tmp_path):
  workdir_lib.open_workdir(tmp_path, tiny.experiment())
  workdir_lib.open_workdir(tmp_path, tiny.experiment())
  with pytest.raises(
    workdir_lib.WorkdirError,
    match="seed is 0 there and 3 here; units is 8 there and 9 here. Choose another",
  ):
    workdir_lib.open_workdir(tmp_path, tiny.experiment(units=9, seed=3))


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"scan": {"segmets": 3}}', '{"scan": {"segments": 1}}']
)
def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(workdir_lib.WorkdirError, match="config.json cannot be read"):
    workdir_lib.read_experiment(tmp_path)


def test_a_folder_without_a_run_is_an_error(tmp_path):
  with pytest.raises(workdir_lib.WorkdirError, match="holds no run: config.json is missing"):
    workdir_lib.read_experiment(tmp_path)


def test_a_checkpoint_that_cannot_be_written_does_not_end_training(tmp_path, monkeypatch, caplog):
  running = make(tmp_path)
  save = running._checkpoints.save

  def fail_once(step):
    if step == 2:
      raise checkpoint.CheckpointError("the disk is full")
    return save(step)

  monkeypatch.setattr(running._checkpoints, "save", fail_once)
  with caplog.at_level("WARNING"):
    assert running.train()
  assert "the disk is full" in caplog.text
  assert steps(tmp_path) == ["step_000000004", "step_000000006"]


def test_no_checkpoint_is_written_whose_rows_are_not(tmp_path, caplog):
  """Whoever resumed there would miss them. Space comes back, and training has gone on."""
  running = make(tmp_path)
  write = running._writer.write

  def written(iteration, row):
    with disks.full() if iteration < 6 else contextlib.nullcontext():
      write(iteration, row)

  running._writer.write = written
  with caplog.at_level("WARNING"):
    assert running.train()
  assert "checkpoint of iteration 4 was not written: metrics.csv" in caplog.text
  assert steps(tmp_path) == ["step_000000006"] and iterations(tmp_path) == [2, 4, 6]


def test_a_disk_that_stays_full_ends_training_with_a_sentence(tmp_path):
  with disks.full(), pytest.raises(writing.WriteError, match="config.json cannot be written"):
    make(tmp_path / "not_begun")
  running = make(tmp_path / "begun")
  with disks.full(), pytest.raises(RuntimeError, match="Free some space"):
    running.train()


def test_networks_are_made_ready_before_the_checkpoints_of_a_milestone_and_of_the_end(tmp_path):
  running = make(tmp_path, milestone=3, keep_checkpoints=4)
  assert running.train()
  for step, times in ((2, 0), (3, 1), (4, 1), (6, 2)):
    saved = tf.train.Checkpoint(learner=running.learner)
    saved.read(str(tmp_path / "checkpoints" / f"step_{step:09d}" / "state"))
    assert running.learner.settled == times, step


def test_a_milestone_is_kept(tmp_path):
  assert make(tmp_path, keep_checkpoints=1, milestone=3).train()
  assert steps(tmp_path) == ["step_000000003", "step_000000006"]


def fail(*_):
  raise OSError("no space left on the device")


def test_pictures_that_do_not_fit_are_told_in_a_sentence(tmp_path, caplog):
  def draw(*_):
    with disks.full():
      writing.text(tmp_path / "picture", "of training")

  assert make(tmp_path, picture_every=3).train(draw)
  assert "without the pictures of iteration 3: " in caplog.text and "Free some" in caplog.text
  assert "Traceback" not in caplog.text


def test_pictures_that_fail_cost_neither_training_nor_checkpoints(tmp_path, caplog):
  running = make(tmp_path, picture_every=3, checkpoint_every=100)
  assert running.train(fail)
  assert steps(tmp_path) == ["step_000000006"]
  assert iterations(tmp_path) == [2, 3, 4, 6]
  assert "pictures of iteration 3 failed" in caplog.text and "no space left" in caplog.text


def test_a_run_that_was_killed_before_its_last_pictures_draws_them(tmp_path):
  def killed(running, iteration):
    raise SystemExit(9)  # no error of a picture: the process ends

  experiment, drawn = tiny.experiment(iterations=2), []
  with pytest.raises(SystemExit):
    make(tmp_path, experiment, picture_every=2).train(killed)
  again = make(tmp_path, experiment, picture_every=2)
  assert again.started_at == 2
  assert again.train(lambda _, iteration: drawn.append(iteration)) and drawn == [2]


def test_what_a_run_stops_at_is_saved_before_its_picture(tmp_path):
  running, seen = make(tmp_path, picture_every=2, checkpoint_every=100), []
  assert running.train(lambda *_: seen.append(running._checkpoints.steps()))
  assert seen == [[], [], [6]]


def spoil_after(running, iteration):
  """Makes a weight infinite once an iteration is over: its own metrics are finite."""
  step, count = running.learner.step, iter(range(1, 100))

  def spoilt(draw):
    metrics = step(draw)
    if next(count) == iteration:
      running.learner.other.assign([1.0, np.inf])
    return metrics

  running.learner.step = spoilt
  return running


@pytest.mark.parametrize("last", [False, True])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, last):
  iteration = 6 if last else 4
  with pytest.raises(run.NotFiniteError, match=f"of iteration {iteration} is not finite") as error:
    spoil_after(make(tmp_path), iteration).train()
  assert error.value.iteration == iteration
  assert f"step_{iteration:09d}" not in steps(tmp_path)
  resumed = make(tmp_path)
  assert resumed.started_at == iteration - 2
  assert all(np.isfinite(value).all() for value in variables(resumed))


def test_a_divergence_that_is_trained_past_is_forgotten(tmp_path):
  with pytest.raises(run.NotFiniteError):
    run.train(break_at(make(tmp_path), 5))
  assert workdir_lib.diverged_at(tmp_path) == 5
  assert run.train(make(tmp_path))
  assert workdir_lib.diverged_at(tmp_path) is None and workdir_lib.is_finished(tmp_path)
