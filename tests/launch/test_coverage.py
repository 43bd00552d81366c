"""Scans of other coverages than 1/23: trained, evaluated and compared."""

import json

import numpy as np
import pytest

from adaptive_stem_tf.compare import animation
from adaptive_stem_tf.evaluation import pictures
from tests import tiny
from tests.launch import commands

pytestmark = [
  pytest.mark.slow,
  pytest.mark.usefixtures("eagerly"),
  pytest.mark.filterwarnings("ignore:Even though the"),
]
NETWORKS = {"channels": 2, "blocks": 1, "units": 8, "batch_size": 2, "capacity": 2, "iterations": 1}


@pytest.mark.parametrize(
  "size, segments, probes, share",
  [(96, 46, 20, 1 / 10), (96, 23, 10, 1 / 40), (192, 40, 40, 1 / 23)],
)
def test_other_coverages(tmp_path, monkeypatch, size, segments, probes, share):
  for drawer, name in (
    (pictures.Refresher, "__call__"),
    (animation, "write"),
  ):  # slow, and tested in test_compare
    monkeypatch.setattr(drawer, name, lambda *_: None)
  crops, run = tmp_path / "crops.npy", tmp_path / "run"
  np.save(crops, tiny.images(8, size))
  fields = {**NETWORKS, "image_size": size, "segments": segments, "probes": probes}
  ended = commands.train(run, crops, **fields)
  assert ended.code == 0, ended.err
  ended = commands.launch("evaluate", f"--workdir={run}", f"--output_dir={tmp_path / 'evaluation'}")
  assert ended.code == 0, ended.err
  evaluated = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
  assert evaluated["probing_positions_per_pixel"] == pytest.approx(share, rel=0.03)
  ended = commands.launch(
    "compare",
    f"--models={run}",
    f"--images={crops}",
    f"--output_dir={tmp_path / 'out'}",
    "--in_process",
    f"--threads={tiny.THREADS}",
    "--completions=own,linear",
    "--scans=spiral,grid,random_points",
    "--spiral_pitch=12",
    "--generator_iterations=1",
  )
  assert ended.code == 0, ended.err
  result = json.loads((tmp_path / "out" / "compare.json").read_text())
  assert {scan["probing_positions"] for scan in result["scans"].values()} == {segments * probes}
  assert result["multi_scale_ssim_scales"] == (4 if size == 96 else 5)
  for scan in result["conditions"]["image range"]["own"]["scans"].values():
    assert np.isfinite(scan["filtered"]["ms_ssim"]["mean"])
