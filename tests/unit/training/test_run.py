"""The training run: loop, resuming, stopping, failing."""

import os
import signal
import time

import numpy as np
import pytest

from adaptive_stem_tf import config
from adaptive_stem_tf.training import checkpoint, metrics_writer, outcome, run
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]


def make(workdir, experiment=None, **settings):
  chosen = {
    "jit": "none",
    "log_every": 2,
    "checkpoint_every": 2,
    "picture_every": 0,
    "progress": False,
  } | settings
  return run.scanner(experiment or tiny.experiment(), config.Run(**chosen), tiny.splits(), workdir)


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
  experiment = tiny.experiment(**changes)
  straight, stopped = (
    make(tmp_path / "straight", experiment),
    make(tmp_path / "resumed", experiment, picture_every=2),
  )
  assert straight.train()
  assert not stopped.train(at(2, stop))  # noticed when the next row is due
  resumed = make(tmp_path / "resumed", experiment)
  assert resumed.started_at == 4
  equal(resumed, stopped)
  assert resumed.train()
  equal(resumed, straight)
  texts = [(tmp_path / name / "metrics.csv").read_text() for name in ("straight", "resumed")]
  assert texts[0] == texts[1] and len(texts[0].splitlines()) == 4


def test_everything_that_training_changes_is_restored(tmp_path):
  running = make(
    tmp_path, tiny.experiment(prioritised=True, target_generator=True, clip="running_norm")
  )
  assert running.train()
  kept = variables(running)
  for variable in running.learner.variables:
    variable.assign(variable != variable if variable.dtype.is_bool else variable + 1)
  assert running._checkpoints.restore() == 6
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
  """Puts a NaN into the generator before an iteration."""
  step, count = running.learner.step, iter(range(1, 100))

  def broken(draw):
    if next(count) == iteration:
      weight = running.learner.generator.output.w
      weight.assign(np.nan * weight)
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
    outcome.train(break_at(make(tmp_path / "run"), 3))
  assert outcome.diverged_at(tmp_path / "run") == 3 and outcome.is_finished(tmp_path / "run")
  sweep = tiny.experiment(schedule="sweep")
  assert outcome.train(break_at(make(tmp_path / "sweep", sweep), 3))
  assert outcome.diverged_at(tmp_path / "sweep") == 3


def test_a_run_knows_whether_it_is_finished(tmp_path):
  assert not outcome.is_finished(tmp_path)
  assert not outcome.train(make(tmp_path, picture_every=2), at(2, stop))
  assert not outcome.is_finished(tmp_path)
  assert outcome.train(make(tmp_path))
  assert outcome.is_finished(tmp_path) and outcome.diverged_at(tmp_path) is None


def test_another_experiments_workdir_is_refused_naming_the_fields(tmp_path):
  run.open_workdir(tmp_path, tiny.experiment())
  run.open_workdir(tmp_path, tiny.experiment())
  with pytest.raises(
    run.WorkdirError,
    match="seed is 0 there and 3 here; units is 8 there and 9 here. Choose another",
  ):
    run.open_workdir(tmp_path, tiny.experiment(units=9, seed=3))


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"scan": {"segmets": 3}}', '{"scan": {"segments": 1}}']
)
def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(run.WorkdirError, match="config.json cannot be read"):
    run.read_experiment(tmp_path)


def test_a_folder_without_a_run_is_an_error(tmp_path):
  with pytest.raises(run.WorkdirError, match="holds no run: config.json is missing"):
    run.read_experiment(tmp_path)


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


def test_a_milestone_is_kept(tmp_path):
  assert make(tmp_path, keep_checkpoints=1, milestone=3).train()
  assert steps(tmp_path) == ["step_000000003", "step_000000006"]
