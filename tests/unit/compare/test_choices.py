"""Pitches, doses of equal time, groups of models."""

import dataclasses
import pathlib

import numpy as np
import pytest

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare import choices, groups, plan, scanning
from adaptive_stem_tf.scan import baselines
from tests import tiny

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]
BEAM = microscope_config.Beam(dwell_us=10.0, beam_speed=2.0, settling_us=30.0, flyback_us=300.0)


def made(seeds=(0, 1), **changes):
  experiments = tuple(tiny.experiment(seed=seed) for seed in seeds)
  group = groups.Group(
    "best", tuple(pathlib.Path(f"best-seed{seed}") for seed in seeds), experiments
  )
  return plan.Plan(
    group,
    experiments[0],
    config.RunSettings(),
    pathlib.Path("runs"),
    seeds,
    tuple(plan.SCANS),
    **changes,
  )


def test_the_pitch_of_least_error_is_chosen():
  truth = tiny.images(3, 96)
  wanted = dataclasses.replace(made(), base=config.Experiment())
  wrong = lambda pitch, scanned: scanned.partial[..., :1] * 0 + abs(pitch - 12)
  chosen = choices.pitch("spiral", wanted, truth, wrong)
  assert chosen.chosen == 12.0 and set(chosen.ten_mse) == {
    f"{pitch:g}" for pitch in baselines.PITCHES
  }
  assert chosen.ten_mse["18"] > chosen.ten_mse["14"] > chosen.ten_mse["12"]


def test_slower_scans_get_as_many_whole_segments_as_fit():
  scan = config.ScanGeometry()
  segments = choices.equal_time(("spiral", "raster", "grid"), scan, BEAM, 4000.0)
  assert set(segments) == {"raster", "grid"}
  for name, count in segments.items():
    time = lambda n, name=name: choices._time(name, scan, BEAM, n)
    assert time(count) <= 4000 < time(count + 1)
  assert segments["raster"] == 15  # 300 positions in 4 lines with 3 flybacks take 3.9 ms


def test_a_scan_that_is_too_slow_is_refused():
  with pytest.raises(
    ValueError, match="scan grid takes longer than the 0.50 ms of the adaptive scan even with 60"
  ):
    choices.equal_time(("grid",), config.ScanGeometry(), BEAM, 500.0)


def test_the_baselines_share_the_models_configuration():
  job = made().own("spiral", 1, {"spiral": 14.0})
  assert job.workdir == pathlib.Path("runs/spiral-pitch14-seed1")
  assert tiny.experiment().differences(job.experiment) == {
    "seed": (0, 1),
    "path": ("adaptive", "spiral"),
    "pitch": (12.8, 14.0),
  }
  everything = made().everything(1)
  assert everything.experiment.scan.path == f"mixed:{pathlib.Path('best-seed1').resolve()}"
  assert made(seeds=(5,)).everything(5).experiment.scan.path.endswith("best-seed5")
  assert len(made().candidates(3)) == 2 * len(baselines.PITCHES)
  assert made().candidate("spiral", 10.0, 3).experiment.optimisation.iterations == 3


def test_shorter_scans_live_in_folders_of_their_own():
  job = made(segments={"grid": 3}).own("grid", 0, {})
  assert job.workdir.name == "grid-12-seed0" and job.experiment.scan.segments == 3
  assert scanning.baseline(job.experiment.scan).positions(np.zeros([1, 3, 1])).shape == (1, 12, 2)


def test_lists_keep_their_order_and_refuse_the_unknown():
  assert plan.check("scans", ["grid", "spiral"], list(plan.SCANS)) == ("spiral", "grid")
  assert plan.check("scans", [], ["a", "b"]) == ("a", "b")
  with pytest.raises(ValueError, match="scans=meander is unknown: choose among spiral,"):
    plan.parse_scans(["meander"])


def finished(folder, **changes):
  """Writes what a finished run leaves."""
  experiment = tiny.experiment(**changes)
  (folder / "checkpoints" / f"step_{experiment.optimisation.iterations:09d}").mkdir(parents=True)
  (folder / "config.json").write_text(experiment.to_json())
  return str(folder)


def test_runs_that_differ_in_their_seeds_are_one_group(tmp_path):
  models = [finished(tmp_path / f"best-seed{seed}", seed=seed) for seed in (0, 1)]
  models.append(f"quiet={finished(tmp_path / 'other', noise_sigma=0.1)}")
  best, quiet = groups.read(models)
  assert (
    best.name == "best" and best.seeds == (0, 1) and quiet.name == "quiet" and quiet.seeds == (0,)
  )


@pytest.mark.parametrize(
  "first, second, said",
  [
    ({"seed": 1}, {"seed": 1}, "repeat a seed"),
    ({}, {"channels": 3}, "differ in channels: baselines must be equal"),
    ({}, {"segments": 5}, "differ in probing positions"),
    ({}, {"iterations": 7, "seed": 1}, "differ in iterations"),
  ],
)
def test_models_that_cannot_be_compared_are_refused(tmp_path, first, second, said):
  models = [
    f"one={finished(tmp_path / 'one', **first)}",
    f"two={finished(tmp_path / 'two', **second)}",
  ]
  models = models if "repeat" not in said else [model.partition("=")[2] for model in models]
  with pytest.raises(ValueError, match=said):
    groups.read(models)


def test_models_of_any_path_are_compared(tmp_path):
  """Paths taken from runs are one group, though each seed has its own."""
  models = [finished(tmp_path / "best-seed0"), f"mine={finished(tmp_path / 'grid', path='grid')}"]
  for seed in (0, 1):
    folder = tmp_path / f"taken-seed{seed}"
    models.append(finished(folder, path=f"run:{tmp_path}/lstm-seed{seed}", seed=seed))
  best, mine, taken = groups.read(models)
  assert (best.adaptive, mine.adaptive, taken.adaptive) == (True, False, False)
  assert (mine.name, taken.name, taken.seeds) == ("mine", "taken", (0, 1))


def test_scans_of_ones_own_are_files(tmp_path, rng):
  file = tmp_path / "mine.npy"
  np.save(file, np.float32(rng.uniform(0, 16, [16, 2])))
  names, files = plan.parse_scans(["mine=" + str(file), "grid", "spiral"])
  assert names == ("spiral", "grid", "mine") and files == {"mine": str(file)}
  wanted = dataclasses.replace(made(), scans=names, files=files)
  scan = wanted.scan("mine", {})
  np.testing.assert_array_equal(
    scanning.baseline(scan).positions(np.zeros([1, 4, 1]))[0], np.load(file)
  )
  assert wanted.label("mine") == "mine" and wanted.label("grid") == "uniform grid"
  first = wanted.own("mine", 0, {}).workdir.name
  np.save(file, np.float32(rng.uniform(0, 16, [16, 2])))
  assert first.startswith("mine-") and wanted.own("mine", 0, {}).workdir.name != first
  assert plan.parse_scans([]) == (tuple(plan.SCANS), {})


@pytest.mark.parametrize(
  "given, said",
  [
    ("my.npy", "scans=my.npy is unknown: choose among spiral, .* with NAME=FILE.npy"),
    ("grid=my.npy", "scans=grid=my.npy needs a name of its own"),
    ("a/b=my.npy", "needs a name of its own, of letters"),
    ("mine=my.npy", "my.npy is not a file; give a NumPy file of positions"),
  ],
)
def test_mistaken_scans_are_refused(given, said):
  with pytest.raises(ValueError, match=said):
    plan.parse_scans([given])


def test_unfinished_models_are_refused(tmp_path):
  finished(tmp_path)
  (tmp_path / "checkpoints" / "step_000000006").rmdir()
  with pytest.raises(ValueError, match="has not finished its 6 iterations: train it to its end"):
    groups.read([str(tmp_path)])
