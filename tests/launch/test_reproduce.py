"""python -m launch.reproduce and launch.lr_range, from flags to figures and tables."""

import json
import pathlib
import re

import numpy as np
import pytest
from matplotlib import image

from adaptive_stem_tf.reproduction import supplement
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import runner
from tests import tiny
from tests.launch import commands

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> pathlib.Path:
  """A NumPy file of 20 specimens of 96 px."""
  path = tmp_path_factory.mktemp("crops") / "crops.npy"
  np.save(path, tiny.images(20, 96))
  return path


def reproduce(figure, output, *more, crops=None, scale="smoke"):
  images = [f"--images={crops}"] if crops else []
  return commands.launch(
    "reproduce",
    f"--figure={figure}",
    f"--output_dir={output}",
    f"--scale={scale}",
    f"--threads={tiny.THREADS}",
    *images,
    *more,
  )


def drawn(path):
  """Returns whether a picture shows something: several colours, and mostly background."""
  pixels = image.imread(path)[..., :3]
  return min(pixels.shape[:2]) > 150 and pixels.std() > 0.02


def test_s2a(tmp_path, crops, eagerly):
  ended = reproduce("s2a", tmp_path, "--iterations=2", crops=crops)
  assert ended.code == 0, ended.err
  assert "2 runs, 2 to train." in ended.out
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    "runs",
    "s2a.json",
    "s2a.md",
    "s2a.pdf",
    "s2a.png",
  ]
  assert drawn(tmp_path / "s2a.png")
  result = json.loads((tmp_path / "s2a.json").read_text())
  assert (
    result["iterations"] == 2
    and result["seeds"] == [0]
    and set(result["runs"]) == {"exponential", "lstm"}
  )
  for ran in result["runs"].values():
    assert 0 < ran["values"]["test"][0] < 100 and ran["values"]["test_sd"][0] >= 0
  assert [claim["agreement"] for claim in result["claims"]] == ["unresolved (one seed)"] * 2
  assert (
    workdir_lib.read_experiment(tmp_path / "runs/exponential-seed0").optimisation.schedule
    == "exponential"
  )
  table = (tmp_path / "s2a.md").read_text()
  assert "| Exponential decay |" in table and "10 MSE" in table and "2 iterations" in table
  again = reproduce("s2a", tmp_path, "--iterations=2", crops=crops)
  assert again.code == 0 and "2 runs, 0 to train." in again.out
  assert json.loads((tmp_path / "s2a.json").read_text()) == result


def test_s4_shares_the_run_of_other_figures(tmp_path, crops, eagerly):
  ended = reproduce("s4", tmp_path, "--iterations=2", crops=crops)
  assert ended.code == 0, ended.err
  assert drawn(tmp_path / "s4.png") and (tmp_path / "runs/lstm-seed0").is_dir()
  shared = reproduce("s5", tmp_path, "--iterations=2", crops=crops)
  assert shared.code == 0 and "1 runs, 0 to train." in shared.out
  assert not np.array_equal(image.imread(tmp_path / "s4.png"), image.imread(tmp_path / "s5.png"))


def test_flagfiles_are_written_for_every_seed_and_run_and_nothing_is_trained(tmp_path, crops):
  ended = reproduce(
    "controllers", tmp_path, "--write_flagfiles", "--seeds=0,4", crops=crops, scale="paper"
  )
  assert ended.code == 0, ended.err
  names = {path.name for path in (tmp_path / "runs").iterdir()}
  assert names == {
    f"{line.run}-seed{seed}.cfg"
    for line in supplement.FIGURES["controllers"].lines
    for seed in (0, 4)
  }
  text = (tmp_path / "runs" / "fixed_gru-seed4.cfg").read_text()
  assert f"--path=run:{tmp_path / 'runs' / 'gru-seed4'}\n" in text and "--seed=4\n" in text
  assert "--milestone=500000\n" in text


@pytest.mark.parametrize(
  "figure, flags, said",
  [
    (
      "s2a",
      ["--images=a.npy", "--dataset=wemd_stem"],
      "images=a.npy and dataset=wemd_stem contradict",
    ),
    (
      "s2a",
      ["--downsampled_images=b.npy", "--images=a.npy"],
      "downsampled_images=b.npy and figure=s2a contradict",
    ),
    ("s2c", ["--downsampled_images=b.npy"], "downsampled_images=b.npy without images"),
    (
      "s2c",
      ["--images=a.npy"],
      "figure=s2c compares crops with downsampled micrographs, and images=a.npy",
    ),
    (
      "s2c",
      ["--dataset=wemd_stem/crops_96"],
      "dataset=wemd_stem/crops_96 names one: give --dataset=wemd_stem",
    ),
    ("s2a", ["--seeds=0,0"], "seeds=0,0 are not different whole numbers"),
    ("s2a", ["--seeds=one"], "seeds=one are not different whole numbers"),
    ("s4", ["--seeds=0,1"], "seeds=0,1 and figure=s4 contradict"),
    ("s2a", ["--only=gru"], "only=gru is no run of figure=s2a: choose among exponential, lstm"),
    ("s3b", ["--only=sweep_adam"], "only=sweep_adam and figure=s3b contradict"),
    ("all", ["--only=lstm"], "only=lstm and figure=all contradict"),
    ("all", ["--images=a.npy"], "figure=s2c compares crops with downsampled micrographs"),
    ("all", ["--draw_only"], "holds no result of a figure"),
    ("s2a", ["--write_flagfiles", "--draw_only"], "write_flagfiles and draw_only contradict"),
    ("s2a", ["--parallel=2", "--draw_only"], "draw_only and parallel=2 contradict"),
    ("s2a", ["--draw_only"], "none of the runs of figure=s2a"),
    ("s2a", ["--images=absent.npy"], "absent.npy is not a file"),
  ],
)
def test_contradictions_are_refused(tmp_path, figure, flags, said):
  ended = reproduce(figure, tmp_path, *flags)
  assert ended.code == 1 and said in ended.err and "Traceback" not in ended.err


def test_a_folder_in_which_another_command_trains_is_refused(tmp_path, crops):
  with runner.lock(tmp_path / "runs"):
    ended = reproduce("s2a", tmp_path, crops=crops)
  assert ended.code == 1 and f"another command trains in {tmp_path / 'runs'}" in ended.err


def test_a_folder_of_another_experiment_is_refused_naming_the_fields(tmp_path, crops, eagerly):
  assert reproduce("s4", tmp_path, "--iterations=1", crops=crops).code == 0
  ended = reproduce("s4", tmp_path, "--iterations=3", crops=crops)
  assert ended.code == 1 and "iterations is 1 there and 3 here" in ended.err


@pytest.mark.slow
def test_lr_range(tmp_path, crops, eagerly):
  arguments = [
    "--flagfile=launch/flagfiles/reproduce/smoke.cfg",
    f"--images={crops}",
    f"--output_dir={tmp_path}",
    f"--threads={tiny.THREADS}",
    "--sweep_iterations=12",
    "--candidate_iterations=1",
    "--optimisers=adam",
  ]
  ended = commands.launch("lr_range", *arguments)
  assert ended.code == 0, ended.err
  found = json.loads((tmp_path / "lr_range.json").read_text())
  rates = [one["rate"] for one in found["candidates"]]
  assert rates == sorted(rates) and len(rates) == 5
  finite = {
    one["rate"]: one["validation_ten_mse"]
    for one in found["candidates"]
    if one["validation_ten_mse"]
  }
  assert found["recommended_rate"] == min(finite, key=finite.get)
  assert f"--generator_rate={found['recommended_rate']:g}" in ended.out
  assert drawn(tmp_path / "sweep.png") and drawn(tmp_path / "candidates.png")


@pytest.mark.parametrize(
  "flags, said",
  [
    (["--generator_rate=0.1"], "generator_rate=0.1 and a learning rate range test disagree"),
    (["--schedule=sweep"], "schedule=sweep and a learning rate range test disagree"),
    (
      ["--optimisers=sgd"],
      "must be among adam, rmsprop and sgd and contain generator_optimiser=adam",
    ),
    (["--optimisers=adam,adamw"], "optimisers=adam,adamw must be among"),
  ],
)
def test_lr_range_refuses_contradictions(tmp_path, flags, said):
  ended = commands.launch(
    "lr_range", f"--output_dir={tmp_path}", f"--threads={tiny.THREADS}", *flags
  )
  assert ended.code == 1 and said in ended.err


def test_all_figures_that_have_runs_are_drawn_and_summed_up(tmp_path, crops, eagerly):
  small = ["--iterations=2", "--seeds=0,1"]
  assert reproduce("s2a", tmp_path, *small, crops=crops).code == 0
  assert reproduce("s3a", tmp_path, "--only=sweep_adam", *small, crops=crops).code == 0
  assert reproduce("s3b", tmp_path, "--write_flagfiles", *small, crops=crops).code == 0
  rates = [path.name for path in (tmp_path / "runs").glob("rate_*.cfg")]
  assert len(rates) == 5 * 2  # known, as the sweep has finished
  of_s2c = f"--downsampled_images={crops}"
  ended = reproduce("all", tmp_path, "--draw_only", of_s2c, *small, crops=crops)
  assert ended.code == 0, ended.err
  # The run with default options belongs to most figures; spirals, and the rates that follow from
  # the sweep, were not trained.
  assert drawn(tmp_path / "s4.png") and drawn(tmp_path / "edge_penalty.png")
  assert not (tmp_path / "s3b.png").exists() and not (tmp_path / "s6.png").exists()
  assert "s3b: none of its runs has finished" in ended.out
  rows = json.loads((tmp_path / "summary.json").read_text())
  assert {row["agreement"] for row in rows} == {"unresolved (2 seeds)", "not run"}
  seeds = {
    name: json.loads((tmp_path / f"{name}.json").read_text())["seeds"] for name in ("s2a", "s4")
  }
  assert seeds == {"s2a": [0, 1], "s4": [0]}  # a sheet shows one run
  said = (tmp_path / "summary.md").read_text()
  # A run counts with the seeds that have finished.
  (tmp_path / "runs" / "exponential-seed1" / "config.json").rename(tmp_path / "hidden")
  ended = reproduce("s2a", tmp_path, "--draw_only", *small, crops=crops)
  assert ended.code == 0, ended.err
  runs = json.loads((tmp_path / "s2a.json").read_text())["runs"]
  assert {name: run["seeds"] for name, run in runs.items()} == {"exponential": [0], "lstm": [0, 1]}
  assert "Not drawn: s3b, s6." in said and "| s2a | a cyclic rate ends lower |" in said


@pytest.mark.slow
def test_every_figure(tmp_path, crops, eagerly):
  ended = reproduce("all", tmp_path, f"--downsampled_images={crops}", crops=crops)
  assert ended.code == 0, ended.err
  trained = [int(count) for count in re.findall(r"(\d+) to train", ended.out)]
  assert [count for count in trained if count] == [trained[0], 5]  # s3b's rates follow from a sweep
  for figure in supplement.FIGURES:
    assert drawn(tmp_path / f"{figure}.png"), figure
    result = json.loads((tmp_path / f"{figure}.json").read_text())
    assert result["runs"] and all(ran["values"] for ran in result["runs"].values()), figure
  fixed = json.loads((tmp_path / "controllers.json").read_text())["runs"]["fixed_lstm"]["values"]
  assert {"test", "train", "test_half", "train_half", "overfitting"} <= set(fixed)
  rows = json.loads((tmp_path / "summary.json").read_text())
  assert len(rows) > 20 and {row["agreement"] for row in rows} == {"unresolved (one seed)"}


@pytest.mark.slow
def test_side_by_side_a_path_waits_for_the_actor_it_follows(tmp_path, crops):
  ended = reproduce(
    "controllers", tmp_path, "--parallel=2", "--only=spiral,fixed_lstm", crops=crops
  )
  assert ended.code == 0, ended.err
  order = [
    line.split()[1] for line in ended.out.splitlines() if "starts" in line or "finished" in line
  ]
  assert order.index("lstm-seed0") < order.index("fixed_lstm-seed0")
  assert set(json.loads((tmp_path / "controllers.json").read_text())["runs"]) == {
    "spiral",
    "fixed_lstm",
  }


@pytest.mark.slow
def test_side_by_side_names_the_runs_that_failed(tmp_path):
  ended = reproduce("s2a", tmp_path, "--parallel=2", "--images=absent.npy")
  assert ended.code == 1 and "these runs failed: " in ended.err
  # in the order in which they ended
  assert "exponential-seed0 (" in ended.err and "lstm-seed0 (" in ended.err
  assert "absent.npy is not a file" in ended.err
