"""python -m launch.live, from flags to files."""

import contextlib
import json
import pathlib
import sys
import tempfile

import numpy as np
import pytest
import tifffile
from matplotlib import image
from PIL import Image

from adaptive_stem_tf.serving import outputs
from tests import disks
from tests.launch import commands
from tests.launch.live_scans import FILES, live, rows

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


MICROGRAPHS = pathlib.Path(__file__).parents[2].parent / "shared" / "data" / "micrographs"


def test_without_room_nothing_is_scanned(tmp_path, models, micrograph):
  """The dose is not spent on what cannot be kept."""
  with disks.full(1 << 20):
    ended = live(models, f"file:{micrograph}", tmp_path / "out")
  assert ended.code == 1 and f"{tmp_path}/out cannot be written: File too large." in ended.err
  assert not list((tmp_path / "out").iterdir())


def test_a_scan_that_finds_no_room_is_written_elsewhere(tmp_path, models, micrograph, monkeypatch):
  """The disk fills up while it goes on: what was measured cannot be measured again."""
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
  (tmp_path / "temporary").mkdir()
  write, tried = outputs.write_scan, []

  def first_fails(folder, *arguments):
    tried.append(folder)
    with disks.full(2000) if len(tried) == 1 else contextlib.nullcontext():
      return write(folder, *arguments)

  monkeypatch.setattr(outputs, "write_scan", first_fails)
  ended = live(models, f"file:{micrograph}", tmp_path / "out")
  assert ended.code == 1 and "Traceback" not in ended.err
  assert f"{tmp_path}/out cannot be written: File too large." in ended.err
  (place,) = (tmp_path / "temporary").iterdir()
  assert f"The scan is in {place} instead." in ended.err and tried[1] == str(place)
  assert {path.name for path in place.iterdir()} == FILES - {"live.png"}
  assert not list((tmp_path / "out").iterdir())


def test_a_digital_twin_is_scanned(tmp_path, models, micrograph):
  ended = live(
    models,
    f"file:{micrograph}",
    tmp_path,
    "--window=10,4",
    "--dose=400",
    "--lag_us=5",
    "--decision_us=15",
    "--picture",
    "--pixel_size_nm=0.5",
    "--drift_nm_per_s=100,0",
  )
  assert "Engine: TensorFlow (the model has no fast path" in ended.out
  assert ended.code == 0, ended.err
  assert {path.name for path in tmp_path.iterdir()} == FILES
  told = json.loads((tmp_path / "scan.json").read_text())
  assert told["segments"] == 4 and told["probing_positions"] == 16 and told["late"] == 0
  assert told["decision_us"] == {"p50": 15, "p99": 15, "max": 15} and told["beam_waited_us"] == 45
  assert told["twin"]["system"]["drift_row"] == 0.2 and told["twin"]["system"]["lag_us"] == 5
  assert told["instrument"]["backend"] == "file"
  assert told["instrument"]["address"] == str(micrograph)
  assert told["instrument"]["electrons_detected_at_white"] == 400
  assert told["instrument"]["electrons"] is None and told["instrument"]["dwell_us"] == 10
  assert told["twin"]["dose"] == 400 and told["origin_px"] == [10, 4]
  assert set(told["ten_mse"]) == {"filtered", "raw"}
  path, timings = rows(tmp_path / "path.csv"), rows(tmp_path / "timings.csv")
  assert [int(row["probe"]) for row in path] == [0, 1, 2, 3] * 4 and len(timings) == 3
  assert (
    float(path[0]["row_px"]) == 18
    and float(path[0]["column_px"]) == 12
    and float(path[0]["row_nm"]) == 9
  )
  assert 500 < float(path[0]["intensity"]) < 1500
  completion = tifffile.imread(tmp_path / "completion.tif")
  np.testing.assert_array_equal(completion, np.load(tmp_path / "completion.npy").astype(np.float32))
  assert completion.shape == (16, 16) and image.imread(tmp_path / "live.png")[..., :3].std() > 0.05
  assert (
    "3 decisions: p50 15 us, p99 15 us; 0 later than 40 us" in ended.out and "live.png" in ended.out
  )


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_other_files_are_read_and_binned(tmp_path, models, micrograph, suffix):
  values = np.load(micrograph)
  file = tmp_path / f"micrograph.{suffix}"
  if suffix == "tif":
    tifffile.imwrite(file, values.astype(np.uint16))
  else:
    Image.fromarray(np.uint8((values - 700) / 600 * 255)).resize((60, 80)).save(file)
  ended = live(
    models,
    f"file:{file}",
    tmp_path / "out",
    *([] if suffix == "tif" else ["--binning=2"]),
    "--decision_us=1",
    "--normalise=image",
  )
  assert ended.code == 0, ended.err
  assert json.loads((tmp_path / "out" / "scan.json").read_text())["origin_px"] == [12, 7]


def test_late_decisions_are_counted(tmp_path, models, micrograph):
  for rule, waited in (("repeat", 3 * 40), ("wait", 3 * 50)):
    ended = live(models, f"file:{micrograph}", tmp_path, "--decision_us=50", f"--late={rule}")
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "scan.json").read_text())
    assert ("the scan was not adaptive" in (told["warning"] or "")) == (rule == "repeat")
    assert ("Warning: 3 of 3 decisions were late" in ended.out) == (rule == "repeat")
    assert told["late"] == 3 and told["late_rule"] == rule and told["beam_waited_us"] == waited
    assert [row["late"] for row in rows(tmp_path / "timings.csv")] == ["True"] * 3


def test_a_scan_stops_early_with_a_model_that_can(tmp_path, models, micrograph):
  arguments = [f"file:{micrograph}", tmp_path, "--decision_us=10", "--stop_below=1000"]
  ended = live(models, *arguments, model="stopping")
  assert ended.code == 0, ended.err
  told = json.loads((tmp_path / "scan.json").read_text())
  # one was in flight
  assert told["stopped_early"] and told["segments"] == 2 and told["beam_waited_us"] == 0
  assert "2 segments of 4, stopped early" in ended.out
  refused = live(models, *arguments)
  assert refused.code == 1 and "stop_below=1000 and model=" in refused.err
  assert "the critic predicts the loss after all segments" in refused.err


def test_engines_scan_alike(tmp_path, models, micrograph):
  paths = {}
  for engine in ("tensorflow", "litert", "auto"):
    ended = live(
      models,
      f"file:{micrograph}",
      tmp_path / engine,
      "--decision_us=10",
      f"--engine={engine}",
      model="stopping",
    )
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / engine / "scan.json").read_text())
    used = "litert" if engine == "auto" else engine
    assert ended.out.splitlines()[0] == f"Engine: {'LiteRT' if used == 'litert' else 'TensorFlow'}."
    assert told["engine"] == used and told["segments"] == 4 and told["decisions"] == 2
    paths[engine] = [
      (float(row["row_px"]), float(row["column_px"]))
      for row in rows(tmp_path / engine / "path.csv")
    ]
  np.testing.assert_allclose(paths["litert"], paths["tensorflow"], atol=1e-3)
  completions = [np.load(tmp_path / engine / "completion.npy") for engine in paths]
  np.testing.assert_allclose(*completions[:2], rtol=1e-4)
  np.testing.assert_array_equal(*completions[1:])


def test_in_real_time(tmp_path, models, micrograph):
  ended = live(
    models, f"file:{micrograph}", tmp_path, "--real_time", "--dwell_us=20000", model="stopping"
  )
  assert ended.code == 0, ended.err
  told = json.loads((tmp_path / "scan.json").read_text())
  assert told["late"] == 0 and 0 < told["decision_us"]["p50"] < 80000


@pytest.mark.parametrize(
  "microscope, flags, said",
  [
    ("beam", [], "microscope=beam is unknown: give file:FILE"),
    ("file:none.tif", [], "none.tif does not exist"),
    ("file:FILE", ["--timeout_s=1"], "timeout_s=1.0 and microscope=file:"),
    ("obi:localhost:1", ["--dose=1"], "dose=1.0 and microscope=obi:localhost:1 disagree"),
    ("obi:localhost", ["--pixel_size_nm=1", "--full_field_nm=100"], "obi:localhost names no peer"),
    ("obi:localhost:1", ["--pixel_size_nm=1"], "obi: needs --pixel_size_nm"),
    (
      "obi:localhost:1",
      ["--pixel_size_nm=9", "--full_field_nm=100"],
      "is not inside the range of 100 nm",
    ),
    (
      "obi:localhost:1",
      ["--pixel_size_nm=1", "--full_field_nm=100"],
      "no Open Beam Interface answers",
    ),
    ("swift:usim", ["--pixel_size_nm=1"], "pip install nionswift-usim (extra `nionswift`)"),
    ("swift:usim", [], "swift: needs --pixel_size_nm"),
    ("swift:usim", ["--blanker=none"], "--blanker is for obi: only"),
    ("swift:superscan", [], "swift:superscan is unknown: give swift:usim"),
    ("file:FILE", ["--current_pa=1"], "--current_pa is for obi: and swift: only"),
    ("file:FILE", ["--field_centre_nm=1,2"], "--field_centre_nm is for obi: and swift: only"),
    ("file:FILE", ["--window=30,4"], "window=30,4 leaves the image of 40 x 30 px"),
    ("file:FILE", ["--window=30"], "window=30 is no place"),
    ("file:FILE", ["--binning=2"], "give a larger one, or less --binning"),
    ("file:FILE", ["--drift_nm_per_s=1,1"], "drift_nm_per_s=1,1 needs the size of a px"),
    ("file:FILE", ["--drift_nm_per_s=1,1", "--drift_px_per_ms=0,1"], "disagree: give one of them"),
    (
      "file:FILE",
      ["--drift_row=2", "--drift_px_per_ms=0,1"],
      "0,1 and drift_row=2 disagree: give one of them",
    ),
    (
      "file:FILE",
      ["--resonance_us=3", "--damping=0"],
      "damping=0.0 is out of range: it must be above 0",
    ),
    ("file:FILE", ["--real_time", "--decision_us=5"], "real_time=True and decision_us=5 disagree"),
    ("file:FILE", ["--normalise=dark"], "normalise='dark' is unknown"),
    ("file:FILE", ["--normalise=5,5"], "normalise=5,5 is no range"),
    (
      "obi:localhost:1",
      ["--normalise=image"],
      "normalise=image and microscope=obi:localhost:1 disagree",
    ),
    (
      "file:FILE",
      ["--engine=litert"],
      "litert/start.npz is missing: launch.export --litert writes it",
    ),
    ("file:FILE", ["--dwell_us=0"], "dwell=0 is out of range"),
    ("file:FILE", ["--browser_port=0"], "browser_port=0 and browser=False disagree"),
  ],
)
def test_mistakes_are_sentences(tmp_path, models, micrograph, monkeypatch, microscope, flags, said):
  monkeypatch.setitem(sys.modules, "nion.usim_device", None)  # as where it is not installed
  ended = live(
    models,
    microscope.replace("FILE", str(micrograph)) if microscope == "file:FILE" else microscope,
    tmp_path,
    *flags,
  )
  assert ended.code == 1 and said in ended.err and "Traceback" not in ended.err


def test_files_that_are_no_micrographs_are_refused(tmp_path, models):
  for name, content in (("text.tif", b"no picture"), ("cube.npy", None), ("model.xyz", b"1")):
    if content is None:
      np.save(tmp_path / name, np.zeros([2, 2, 20, 20]))
    else:
      (tmp_path / name).write_bytes(content)
    ended = live(models, f"file:{tmp_path / name}", tmp_path / "out")
    assert ended.code == 1 and name in ended.err and "Traceback" not in ended.err


def test_helpshort_teaches():
  out = commands.launch("live", "--helpshort").out
  for flag in (
    "--model",
    "--microscope",
    "--dose",
    "--lag_us",
    "--full_field_nm",
    "--late",
    "--stop_below",
    "--[no]show",
  ):
    assert flag in out
  assert "--decision_delay=1" in out


@pytest.mark.skipif(not MICROGRAPHS.is_dir(), reason="no micrographs in ../shared/data/micrographs")
def test_real_micrographs_are_scanned(tmp_path, models):
  for path in sorted(MICROGRAPHS.iterdir()):
    if path.suffix == ".dm4":
      pytest.importorskip("rsciio")
    ended = live(
      models, f"file:{path}", tmp_path / path.stem, "--dose=200", "--lag_us=10", "--decision_us=10"
    )
    assert ended.code == 0, (path, ended.err)
    assert json.loads((tmp_path / path.stem / "scan.json").read_text())["segments"] == 4
