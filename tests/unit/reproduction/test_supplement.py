"""The table of figures, the plan made of it, and when numbers agree."""

import pathlib

import numpy as np
import pytest
from matplotlib import colors

from adaptive_stem_tf import config, input_pipeline, specimens
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.reproduction import figures, lr_range, runs, supplement
from adaptive_stem_tf.reproduction import plan as reproduction_plan
from adaptive_stem_tf.reproduction import results as reproduction_results
from adaptive_stem_tf.training import job as job_lib
from launch import presets

NAMED = (
  "s2a",
  "s2b",
  "s2c",
  "s2d",
  "s2e",
  "s2f",
  "s3a",
  "s3b",
  "controllers",
  "clipping",
  "replay",
  "edge_penalty",
  "s4",
  "s5",
  "s6",
)


def plan(scale="small", seeds=(0,), folder="/runs", **changes):
  base, settings = presets.read(presets.SCALES[scale].flagfile)
  return reproduction_plan.Plan(
    base.replace(**changes),
    settings,
    {"dataset": "simulated_stem/downsampled_96"},
    pathlib.Path(folder),
    seeds,
    100,
    50,
  )


# The table.


def test_every_figure_is_in_the_table():
  assert tuple(supplement.FIGURES) == NAMED


@pytest.mark.parametrize("name", NAMED)
def test_a_figure_names_known_runs_once_and_claims_concern_them(name):
  figure = supplement.FIGURES[name]
  names, labels = [line.run for line in figure.lines], [line.label for line in figure.lines]
  assert names and set(names) <= set(runs.RUNS)
  assert len(set(names)) == len(names) and len(set(labels)) == len(labels)
  for claim in figure.claims:
    assert {claim.first, claim.second} <= set(names) and claim.kind in (
      "lower",
      "not_lower",
      "similar",
    )
  if name != "s3b":
    assert {printed.run for printed in figure.printed} <= set(names)


@pytest.mark.parametrize("scale", presets.SCALES)
@pytest.mark.parametrize("name", runs.RUNS)
def test_every_run_is_a_valid_experiment_that_differs_as_it_says(name, scale):
  made = plan(scale)
  experiment = made.experiment(name, 3)
  changed = set(experiment.differences(made.base.replace(seed=3)))
  said = set(runs.RUNS[name]) - {runs.DOWNSAMPLED}
  assert changed <= said | {"dataset", "iterations", "generator_optimiser"} and experiment.seed == 3
  assert name == "lstm" or changed or name == "narrow"  # no narrower where 128 units are usual


def test_no_two_runs_are_equal_at_the_supplements_sizes():
  fields = [
    tuple(
      sorted((key, str(value)) for key, value in plan("paper").experiment(name, 0).flat().items())
    )
    for name in runs.RUNS
  ]
  assert len(set(fields)) == len(fields)


def test_the_supplements_values():
  of = lambda name: plan("paper").experiment(name, 0)
  assert of("lstm") == config.Experiment()
  assert (of("narrow").controller.units, of("projection").controller.projection) == (128, 64)
  assert of("replayed_doubled_noise").exploration.noise_sigma == pytest.approx(0.4)
  assert [
    of(name).replay.capacity for name in ("no_replay", "replay_quarter", "lstm", "replay_double")
  ] == [0, 25_000, 100_000, 200_000]
  assert of("downsampled_sobel").data.dataset == "simulated_stem/downsampled_96"
  assert of("downsampled_sobel").loss.sobel_weight == 0.1
  assert of("sweep_sgd").optimisation.sweep_from == pytest.approx(10**-6.5)


def test_replays_keep_their_ratios_at_smaller_scales():
  small = [
    plan("small").experiment(name, 0).replay.capacity
    for name in ("replay_quarter", "lstm", "replay_double")
  ]
  assert small == [75, 300, 600]


def test_an_unknown_run_is_refused():
  with pytest.raises(ValueError, match="run 'lstmm' is unknown: choose among lstm"):
    plan().experiment("lstmm", 0)


# The plan.


def test_runs_that_a_scale_makes_equal_share_a_workdir():
  assert plan("small").workdir("narrow", 1) == plan("small").workdir("lstm", 1)
  assert plan("paper").workdir("narrow", 1) != plan("paper").workdir("lstm", 1)


def test_every_figures_jobs_have_workdirs_of_their_own():
  made = plan(seeds=(0, 1))
  for figure in supplement.FIGURES.values():
    jobs = made.jobs([line.run for line in figure.lines])
    by_workdir = {job.workdir: job.experiment for job in jobs}
    assert len(by_workdir) == len(jobs)
    assert {job.experiment.seed for job in jobs} == {0, 1}


def test_a_path_of_an_actor_needs_that_actor_first_and_keeps_half_way():
  first, second = plan(seeds=(2,)).jobs(["fixed_gru"])
  assert first.workdir.name == "gru-seed2" and first.needs is None and first.settings.milestone == 0
  assert second.experiment.scan.path == f"run:{first.workdir}" and second.needs == first.workdir
  assert second.settings.milestone == second.experiment.optimisation.iterations // 2


def test_jobs_come_figure_by_figure_and_once():
  jobs = plan(seeds=(0, 1)).jobs(["lstm", "fixed_gru"], ["lstm", "quartic"])
  assert [job.workdir.name for job in jobs] == [
    *("lstm-seed0", "gru-seed0", "lstm-seed1", "gru-seed1", "quartic-seed0", "quartic-seed1"),
    *("fixed_gru-seed0", "fixed_gru-seed1"),  # what follows the actor of another run comes last
  ]


def test_sweeps_log_every_iteration():
  assert plan().job("sweep_adam", 0).settings.log_every == 1


@pytest.mark.parametrize("name", ["quartic", "fixed_dnc", "no_alrc", "rate_2.50e-03", "sweep_sgd"])
def test_a_flagfile_makes_the_same_run(tmp_path, name):
  job = plan(folder=tmp_path, images="/data/a.npy").job(name, 1)
  assert presets.read(job_lib.write_flagfile(job)) == (job.experiment, job.settings)


def test_a_presets_line_that_is_no_field_is_refused(tmp_path):
  (tmp_path / "wrong.cfg").write_text("--unitz=3\n")
  with pytest.raises(ValueError, match="'--unitz=3' is not --name=value of a field"):
    presets.read(tmp_path / "wrong.cfg")


def test_s3b_follows_from_the_sweep():
  figure = supplement.rates_figure(lr_range.candidates(2.5e-2))
  rates = [plan().experiment(line.run, 0).optimisation for line in figure.lines]
  assert [o.generator_rate for o in rates] == pytest.approx(
    [2.5e-4, 7.91e-4, 2.5e-3, 7.91e-3, 2.5e-2]
  )
  assert {o.iterations for o in rates} == {50}
  aside = [plan().experiment(line.run, 0).data.validation_fraction for line in figure.lines]
  assert aside == [0.15] * 5
  given = plan(validation_fraction=0.3).experiment(figure.lines[0].run, 0)
  assert given.data.validation_fraction == 0.3
  assert all(
    {claim.first, claim.second} <= {line.run for line in figure.lines} for claim in figure.claims
  )


# Curves.


def test_curve_metrics_by_hand():
  losses = np.concatenate([np.full(10, 4.0), np.full(40, 2.0), np.full(40, 1.0), np.full(10, 3.0)])
  curve = reproduction_results.Curve(np.arange(1, 101), losses)
  metrics = reproduction_results.curve_metrics(curve, 100, 5)
  assert metrics == pytest.approx({"initial": 4.0, "early": 2.4, "late": 3.0, "instability": 3.0})


def test_no_two_curves_look_alike():
  curve = reproduction_results.Curve(np.arange(1, 101), np.geomspace(4, 1, 100))
  metrics = {"test": 0.5, "test_sd": 0.2}
  one = reproduction_results.Measured(curve, {}, metrics, None, None, 0)
  for key in ("clipping", "controllers"):
    lines = supplement.FIGURES[key].lines
    canvas = figures.curves("", {line.run: (line.run, [one]) for line in lines}, 100, 5)
    with style.look():  # colours are numbers in its cycle
      looks = {
        (colors.to_hex(line.get_color()), line.get_linestyle()) for line in canvas.axes[0].lines
      }
    assert len(looks) == len(lines) > 7


def test_rows_count_by_the_iterations_they_stand_for():
  curve = reproduction_results.Curve(np.array([1, 10]), np.array([11.0, 1.0]))
  assert reproduction_results.curve_metrics(curve, 20, 1)["early"] == pytest.approx(2.0)


def test_images_are_spread_evenly():
  images = np.arange(10).reshape(10, 1, 1, 1)
  assert reproduction_results.spread(images, 4).ravel().tolist() == [0, 3, 6, 9]
  assert reproduction_results.spread(images, 40).ravel().tolist() == list(range(10))


# What is chosen is chosen on the validation split.


def test_the_best_rate_is_chosen_on_the_validation_split():
  def of(seed, **metrics):
    return reproduction_results.Measured(None, {}, metrics, None, None, seed)

  measured = {
    "rate_1.00e-03": [of(0, test=0.1, validation=0.3), of(4, test=0.1, validation=0.2)],
    "rate_2.00e-03": [of(0, test=0.2, validation=0.2), of(4, test=0.2, validation=0.3)],
    "rate_3.00e-03": [of(0, test=0.05), of(4, test=np.inf, validation=np.nan), of(5, validation=0)],
  }
  assert reproduction_results.best_rates(measured) == {0: 2e-3, 4: 1e-3}


def test_validation_errors_are_measured_where_specimens_are_set_aside(tmp_path, monkeypatch):
  monkeypatch.setattr(reproduction_results.model, "load", lambda *_: (None, 0))
  mean = lambda _, images: {"mean": float(images.mean()), "standard_deviation": 0.0}
  monkeypatch.setattr(reproduction_results, "_error", mean)
  parts = [np.full([4, 1, 1, 1], value) for value in (1.0, 2.0, 3.0)]
  splits = input_pipeline.Splits(*parts, specimens.Repairs(0, 0))
  for number, validation in enumerate((splits.validation, splits.validation[:0])):
    (tmp_path / str(number)).mkdir()
    errors = reproduction_results.measure_errors(
      tmp_path / str(number), config.Experiment(), splits._replace(validation=validation), 3
    )
    assert (errors["end"]["train"]["mean"], errors["end"]["test"]["mean"]) == (1.0, 3.0)
    held = reproduction_results._error_metrics(errors)
    assert held.get("validation") == (None if number else 2.0)
    assert held["overfitting"] == 2.0  # test minus training


def test_fixed_paths_are_also_measured_half_way(tmp_path, monkeypatch):
  monkeypatch.setattr(reproduction_results.model, "load", lambda _, step: (step, step))
  of_step = lambda step, _: {"mean": float(step), "standard_deviation": 0.0}
  monkeypatch.setattr(reproduction_results, "_error", of_step)
  images = np.zeros([2, 1, 1, 1])
  splits = input_pipeline.Splits(images, images[:0], images, specimens.Repairs(0, 0))
  experiment = config.Experiment().replace(path="spiral", iterations=10)
  errors = reproduction_results.measure_errors(tmp_path, experiment, splits, 0)
  assert (errors["half"]["test"]["mean"], errors["end"]["test"]["mean"]) == (5.0, 10.0)
