"""The learning rate range test: what counts as unstable, candidates, recommendation, and a sweep
that goes too far.
"""

import numpy as np
import pytest

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import figures
from adaptive_stem_tf.reproduction import lr_range, results
from adaptive_stem_tf.training import metrics_writer, run, start
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import tiny

N = 1000
SETTINGS = config.Optimisation(iterations=N, schedule="sweep", sweep_from=1e-6, sweep_to=1.0)
AT = np.arange(1, N + 1)


def rows(losses):
  return [{"iteration": i + 1, "generator_loss": loss} for i, loss in enumerate(losses)]


def test_rates_rise_exponentially_over_the_sweep():
  assert lr_range.rate_at(1, SETTINGS) == pytest.approx(1e-6)
  assert lr_range.rate_at(501, SETTINGS) == pytest.approx(1e-3)
  assert lr_range.rate_at(N + 1, SETTINGS) == pytest.approx(1.0)


def test_a_curve_that_only_falls_is_stable():
  sweep = lr_range.read_sweep(rows(np.linspace(5, 1, N)), SETTINGS, None)
  assert sweep.unstable is None and sweep.not_finite is None


def test_a_noisy_plateau_is_stable_but_its_unaveraged_loss_would_not_be():
  losses = 1 + 0.9 * (-1.0) ** AT
  assert (losses > 1.5 * losses.min()).any()
  assert lr_range.read_sweep(rows(losses), SETTINGS, None).unstable is None


def test_unstable_is_where_the_average_exceeds_one_and_a_half_times_its_lowest():
  losses = np.where(AT <= 600, 2.0, 4.0)
  width = lr_range.boxcar_width(N)
  assert width == 10
  sweep = lr_range.read_sweep(rows(losses), SETTINGS, None)
  # The average of 10 iterations, k of them doubled, is 2 + 0.2 k: above 3 for k = 6.
  assert sweep.unstable == pytest.approx(lr_range.rate_at(606, SETTINGS))
  # exactly 1.5 times is tolerated
  assert lr_range.first_unstable(AT, np.where(AT <= 600, 2.0, 3.0), width) is None
  assert lr_range.first_unstable(AT, np.where(AT <= 600, 2.0, 3.01), width) == 600


def test_the_lowest_is_of_earlier_iterations_not_of_all():
  assert lr_range.first_unstable(AT, np.linspace(5, 0.1, N), 10) is None
  rising = np.concatenate([np.linspace(4, 2, 500), np.linspace(2, 4, 500)])
  assert lr_range.first_unstable(AT, rising, 10) == int(
    np.argmax((np.arange(N) >= 500) & (rising > 3))
  )


def test_nothing_is_judged_before_a_whole_boxcar():
  losses = np.ones(N)
  losses[0], losses[1:9] = 0.1, 5.0
  smooth = figures.boxcar(losses, np.ones(N), 10)
  assert smooth[1] > 1.5 * smooth[0]
  assert lr_range.first_unstable(AT, smooth, 10) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_unstable(value):
  smooth = np.ones(N)
  smooth[700:] = value
  assert lr_range.first_unstable(AT, smooth, 10) == 700


def test_a_sweep_cut_short_was_unstable_at_its_end_at_the_latest():
  sweep = lr_range.read_sweep(rows(np.ones(400)), SETTINGS, 401)
  assert sweep.unstable == sweep.not_finite == pytest.approx(lr_range.rate_at(401, SETTINGS))
  earlier = lr_range.read_sweep(rows(np.where(AT[:400] <= 300, 1, 100)), SETTINGS, 401)
  assert (
    earlier.unstable == pytest.approx(lr_range.rate_at(301, SETTINGS))
    and earlier.unstable < earlier.not_finite
  )


def test_candidates_are_half_decades_around_a_tenth():
  assert lr_range.candidates(2.5e-2) == pytest.approx([2.5e-4, 7.91e-4, 2.5e-3, 7.91e-3, 2.5e-2])


def test_the_lowest_finite_error_is_recommended():
  assert lr_range.recommend({1e-3: 0.4, 1e-2: 0.2, 1e-1: np.nan, 1.0: np.inf}) == 1e-2
  with pytest.raises(ValueError, match="none of the rates 0.1, 1 trained to a finite error"):
    lr_range.recommend({0.1: np.inf, 1.0: np.nan})


def running(workdir, settings=None, **changes):
  settings = settings or config.RunSettings(
    threads=tiny.THREADS, jit="none", log_every=1, progress=False
  )
  return start.scanner(tiny.experiment(**changes), settings, tiny.splits(), workdir)


def test_a_sweep_that_is_not_finite_ends_normally_and_keeps_its_curve(tmp_path, eagerly):
  changes = {**lr_range.changes("sgd", 8), "sweep_from": 1e-6, "sweep_to": 1e30}
  assert run.train(running(tmp_path, **changes))
  kept = metrics_writer.read_rows(tmp_path / "metrics.csv")
  assert workdir_lib.diverged_at(tmp_path) == len(kept) + 1 <= 8 and workdir_lib.is_finished(
    tmp_path
  )
  assert [row["iteration"] for row in kept] == list(range(1, len(kept) + 1)) and len(kept) >= 1
  # 36 decades in 8 iterations
  assert kept[1]["generator_rate"] == pytest.approx(1e-6 * 10**4.5, rel=1e-3)


def test_another_run_that_is_not_finite_raises(tmp_path, eagerly):
  with pytest.raises(run.NotFiniteError) as error:
    run.train(running(tmp_path, generator_rate=1e30, generator_optimiser="sgd", iterations=8))
  assert workdir_lib.diverged_at(tmp_path) == error.value.iteration
  assert f"iteration {error.value.iteration} " in str(error.value)
  measured = results.measure(tmp_path, None, 0, 1)
  assert measured.metrics["test"] == measured.metrics["instability"] == np.inf


def test_a_milestone_is_kept_beside_the_newest(tmp_path, eagerly):
  settings = config.RunSettings(
    threads=tiny.THREADS,
    jit="none",
    log_every=4,
    checkpoint_every=1,
    keep_checkpoints=1,
    milestone=3,
    progress=False,
  )
  unfinished = workdir_lib.is_finished(tmp_path)
  assert run.train(running(tmp_path, settings, iterations=6)) and not unfinished
  kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
  assert kept == ["step_000000003", "step_000000006"]
  assert workdir_lib.is_finished(tmp_path) and workdir_lib.diverged_at(tmp_path) is None
