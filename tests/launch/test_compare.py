"""python -m launch.compare, from finished runs to tables and pictures."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image
from PIL import Image

from adaptive_stem_tf.compare import animation, plan
from adaptive_stem_tf.evaluation import pictures
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import runner
from tests import tiny
from tests.launch import commands

pytestmark = [
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]
SOURCES = [
  {"file": f"file {number // 2}", "kind": "particle" if number % 4 < 2 else "lattice"}
  for number in range(40)
]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
  """A file of 40 specimens with provenance: 32 train, 8 test."""
  path = tmp_path_factory.mktemp("crops") / "crops.npy"
  np.save(path, tiny.images(40))
  path.with_suffix(".json").write_text(json.dumps(SOURCES))
  return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, crops):
  """Finished runs of two seeds."""
  folder = tmp_path_factory.mktemp("models")
  tf.config.run_functions_eagerly(True)
  for seed in (0, 1):
    ended = commands.train(
      folder / f"best-seed{seed}", crops, iterations=2, seed=seed, validation_fraction=0.25
    )
    assert ended.code == 0, ended.err
  tf.config.run_functions_eagerly(False)
  return f"{folder / 'best-seed0'},{folder / 'best-seed1'}"


@pytest.fixture
def without_pictures(monkeypatch):
  """Draws neither trainings nor scans that unfold: it takes longer than comparing."""
  monkeypatch.setattr(pictures.Refresher, "__call__", lambda *_: None)
  monkeypatch.setattr(animation, "write", lambda *_: None)


def compare(models, crops, output, *more):
  return commands.launch(
    "compare",
    f"--models={models}",
    f"--images={crops}",
    f"--output_dir={output}",
    f"--threads={tiny.THREADS}",
    "--in_process",
    *more,
  )


@pytest.fixture(scope="module")
def compared(tmp_path_factory, models, crops):
  """A comparison of some scans, and its folder."""
  return everything(
    tmp_path_factory.mktemp("compared"), models, crops, "--scans=spiral,spiral_polygon,grid"
  )


def everything(folder, models, crops, *more):
  """Compares with every completion and condition, but draws no pictures of trainings."""
  tf.config.run_functions_eagerly(True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pictures.Refresher, "__call__", lambda *_: None)
    ended = compare(models, crops, folder, "--electrons=50", *more)
  tf.config.run_functions_eagerly(False)
  assert ended.code == 0, ended.err
  return folder, ended


def read(folder):
  return json.loads((folder / "compare.json").read_text())


def test_every_scan_meets_every_completion(compared):
  folder, ended = compared
  assert "8 images, 16 probing positions" in ended.out and "2 generators, 2 to train." in ended.out
  assert "6 generators, 6 to train." in ended.out and "reference" in ended.out
  check(read(folder), {"adaptive", "spiral", "spiral_polygon", "grid"})


@pytest.mark.slow
def test_every_scan(tmp_path, models, crops):
  folder, _ = everything(tmp_path, models, crops)
  check(read(folder), {"adaptive", *plan.SCANS})


def check(result, scans):
  """Checks that all scans were measured with every completion under every condition."""
  assert result["models"]["best"]["seeds"] == [0, 1] and result["generator_iterations"] == 2
  assert set(result["scans"]) == scans
  assert {scan["probing_positions"] for scan in result["scans"].values()} == {16}
  conditions = result["conditions"]
  assert set(conditions) == {"image range", "measured range", "50 electrons per pixel"}
  clean = conditions["image range"]
  assert {
    "own",
    "all",
    "nearest",
    "linear",
    "biharmonic",
    "total_variation",
    "linear + filter",
  } <= set(clean)
  assert set(conditions["measured range"]) == {"own", "all"}
  for completion in clean.values():
    assert set(completion["scans"]) == scans and completion["better_spiral"] in (
      "spiral",
      "spiral_polygon",
    )
  own = clean["own"]["scans"]
  assert (
    len(own["adaptive"]["filtered"]["ten_mse"]["seeds"])
    == len(own["grid"]["filtered"]["ten_mse"]["seeds"])
    == 2
  )
  assert (
    set(result["by_kind"]["own"]) == {"particle", "lattice"} and len(result["by_file"]["own"]) == 4
  )
  noisy = conditions["50 electrons per pixel"]["nearest"]["scans"]["grid"]["filtered"]["ten_mse"][
    "mean"
  ]
  assert noisy > clean["nearest"]["scans"]["grid"]["filtered"]["ten_mse"]["mean"]


def test_numbers_agree_with_launch_evaluate(tmp_path, compared, models, crops):
  result, workdir = read(compared[0]), models.split(",")[1]
  ended = commands.launch(
    "evaluate", f"--workdir={workdir}", f"--images={crops}", f"--output_dir={tmp_path}"
  )
  assert ended.code == 0, ended.err
  evaluated = json.loads((tmp_path / "evaluation.json").read_text())["scans"]["adaptive"]
  ours = result["conditions"]["image range"]["own"]["scans"]["adaptive"]
  for target in ("filtered", "raw"):
    for metric in ("ten_mse", "psnr", "ssim", "ms_ssim"):
      assert ours[target][metric]["seeds"][1] == pytest.approx(
        evaluated[target][metric]["mean"], rel=1e-4
      )


def test_the_baselines_are_trained_like_the_models(compared, models):
  folder, _ = compared
  adaptive = workdir_lib.read_experiment(models.split(",")[0])
  spiral = next(folder.glob("runs/spiral-pitch*-seed0"))
  differing = adaptive.differences(workdir_lib.read_experiment(spiral))
  assert set(differing) <= {"path", "pitch"} and differing["path"] == ("adaptive", "spiral")
  mixed = workdir_lib.read_experiment(folder / "runs/mixed-best-seed1")
  assert set(workdir_lib.read_experiment(models.split(",")[1]).differences(mixed)) == {"path"}
  pool = np.load(folder / "runs/mixed-best-seed1/path.npy")
  assert pool.shape == (24 * 8, 16, 2)  # of the 24 training specimens, turned in 8 ways


def test_pitches_are_chosen_on_validation_crops(compared):
  result = read(compared[0])
  assert result["pitches_chosen"] == "chosen on 8 validation crops with the generator of all scans"
  for name, errors in result["pitch_candidates_ten_mse"].items():
    assert f"{result['pitches'][name]:g}" == min(errors, key=errors.get)


def test_pictures_show_something(compared):
  folder, _ = compared
  for name in ("differences.png", "examples.png"):
    pixels = image.imread(folder / name)[..., :3]
    assert min(pixels.shape[:2]) > 150 and pixels.std() > 0.02, name
  with Image.open(folder / "scan.gif") as animated:
    assert animated.n_frames >= tiny.SEGMENTS  # Pillow joins equal frames
    assert "loop" not in animated.info  # it plays once
  assert (folder / "differences.pdf").read_bytes()[:5] == b"%PDF-"
  with open(folder / "compare.csv", newline="") as file:
    assert len(list(csv.DictReader(file))) > 500


def test_what_is_trained_is_not_trained_again(compared, models, crops, without_pictures):
  folder, _ = compared
  ended = compare(
    models, crops, folder, "--notrain", "--completions=own,all,nearest", "--scans=grid,spiral"
  )
  assert ended.code == 0, ended.err
  assert "2 generators, 0 to train." in ended.out and "4 generators, 0 to train." in ended.out
  assert set(read(folder)["scans"]) == {"adaptive", "spiral", "grid"}


def test_classical_completions_need_no_training(tmp_path, models, crops, without_pictures):
  ended = compare(
    models,
    crops,
    tmp_path,
    "--completions=linear",
    "--scans=spiral,grid,random_points",
    "--split=validation",
    "--polygon_pitch=4",
    "--spiral_pitch=4",
  )
  assert ended.code == 0, ended.err
  result = read(tmp_path)
  assert (
    not (tmp_path / "runs").exists()
    and result["split"] == "validation"
    and result["pitches_chosen"] == "given"
  )
  assert set(result["conditions"]) == {"image range"} and result["scans"]["spiral"]["pitch"] == 4


def test_scans_of_equal_time_have_fewer_positions(tmp_path, models, crops, without_pictures):
  ended = compare(
    models,
    crops,
    tmp_path,
    "--equal_time",
    "--scans=grid,spiral",
    "--completions=own,nearest",
    "--spiral_pitch=4",
    "--dwell_us=10",
    "--beam_speed=5",
    "--settling_us=1",
    "--seeds=0",
  )
  assert ended.code == 0, ended.err
  scans = read(tmp_path)["scans"]
  assert scans["grid"]["probing_positions"] == 12 and scans["spiral"]["probing_positions"] == 16
  assert scans["grid"]["time_us"] <= scans["adaptive"]["time_us"] * 1.0001
  assert workdir_lib.read_experiment(tmp_path / "runs/grid-12-seed0").scan.segments == 3


def test_models_of_fixed_paths_and_scans_of_ones_own_are_compared(
  tmp_path, models, crops, rng, without_pictures
):
  ended = commands.train(
    tmp_path / "zigzag", crops, iterations=2, validation_fraction=0.25, path="zigzag"
  )
  assert ended.code == 0, ended.err
  np.save(tmp_path / "mine.npy", np.float32(rng.uniform(0, 16, [16, 2])))
  ended = compare(
    f"{models.split(',')[0]},straight={tmp_path / 'zigzag'}",
    crops,
    tmp_path / "out",
    f"--scans=grid,mine={tmp_path / 'mine.npy'}",
    "--completions=own,nearest",
  )
  assert ended.code == 0, ended.err
  result = read(tmp_path / "out")
  assert list(result["scans"]) == ["adaptive: best", "run: straight", "grid", "mine"]
  assert [one["adaptive"] for one in result["scans"].values()] == [True, False, False, False]
  own = result["conditions"]["image range"]["own"]
  assert set(own["scans"]) == set(result["scans"]) and own["adaptive"] == "adaptive: best"
  (workdir,) = (tmp_path / "out/runs").glob("mine-*-seed0")
  np.testing.assert_array_equal(np.load(workdir / "path.npy"), np.load(tmp_path / "mine.npy"))
  refused = compare(
    models, crops, tmp_path / "out", f"--scans=mine={tmp_path / 'mine.npy'}", "--equal_time"
  )
  assert refused.code == 1 and "equal_time and scans=mine of files contradict" in refused.err


@pytest.mark.slow
def test_pitches_can_be_chosen_with_generators_of_their_own(tmp_path, models, crops):
  ended = compare(
    models,
    crops,
    tmp_path,
    "--scans=spiral",
    "--completions=own",
    "--seeds=3",
    "--pitch_iterations=1",
    "--generator_iterations=1",
  )
  assert ended.code == 0, ended.err
  assert "8 generators, 8 to train." in ended.out and "1 generators, 1 to train." in ended.out
  result = read(tmp_path)
  assert (
    "with a generator of 1 iterations for each" in result["pitches_chosen"]
    and result["generator_iterations"] == 1
  )
  assert (tmp_path / f"runs/spiral-pitch{result['pitches']['spiral']:g}-seed3").is_dir()


@pytest.mark.parametrize(
  "flags, said",
  [
    (
      ["--scans=meander"],
      "scans=meander is unknown: choose among spiral, spiral_polygon, wide_spiral",
    ),
    (["--completions=magic"], "completions=magic is unknown: choose among own, all, nearest"),
    (["--equal_time", "--completions=all"], "equal_time and completions=all contradict"),
    (["--parallel=2"], "in_process and parallel=2 contradict"),
    (
      ["--spiral_pitch=12", "--polygon_pitch=12", "--pitch_iterations=5"],
      "pitch_iterations=5 and both pitches given",
    ),
    (["--electrons=ten"], "electrons=ten are not numbers above 0"),
    (["--electrons=0"], "electrons=0 are not numbers"),
    (["--seeds=0,0"], "seeds=0,0 are not different whole numbers"),
    (["--training_images=absent.npy"], "absent.npy, which is not there: give --training_images"),
    (["--notrain"], "mixed-best-seed0, mixed-best-seed1 are missing in"),
  ],
)
def test_contradictions_are_refused(tmp_path, models, crops, flags, said):
  ended = compare(models, crops, tmp_path, *flags)
  assert ended.code == 1 and said in ended.err and "Traceback" not in ended.err


def test_a_folder_in_which_another_command_trains_is_refused(tmp_path, models, crops):
  with runner.lock(tmp_path / "runs"):
    ended = compare(models, crops, tmp_path)
  assert ended.code == 1 and f"another command trains in {tmp_path / 'runs'}" in ended.err
