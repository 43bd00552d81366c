"""python -m launch.live_crops, from flags to files."""

import json

import numpy as np
import pytest
from matplotlib import image

from tests.launch import commands

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")


def test_crops_are_scanned_under_every_condition(tmp_path, models, images_file):
  ended = commands.launch(
    "live_crops",
    f"--models={models['plain']},{models['stopping']}",
    f"--images={images_file}",
    f"--output_dir={tmp_path}",
    "--doses=0,50",
    "--lags_us=0",
    "--noprogress",
  )
  assert ended.code == 0, ended.err
  told = json.loads((tmp_path / "live_crops.json").read_text())
  assert (
    told["count"] == 4
    and [(row["dose"], row["lag"]) for row in told["rows"]] == [(0, 0)] * 2 + [(50, 0)] * 2
  )
  first, second = told["rows"][:2]
  assert first["beam_waited_us"] == 3 * 40 and second["beam_waited_us"] == 0  # in segments of 40 us
  difference = np.mean(np.subtract(second["per_image"], first["per_image"]))
  assert (
    second["minus_first_model"]["mean"] == pytest.approx(difference)
    and "minus_first_model" not in first
  )
  assert told["rows"][3]["minus_first_condition"]["mean"] == pytest.approx(
    np.mean(np.subtract(told["rows"][3]["per_image"], second["per_image"]))
  )
  assert (
    image.imread(tmp_path / "live_crops.png")[..., :3].std() > 0.02
    and "10 MSE, filtered" in ended.out
  )


def test_numbers_of_crops_are_checked(tmp_path, models, images_file):
  ended = commands.launch(
    "live_crops",
    f"--models={models['plain']}",
    f"--images={images_file}",
    f"--output_dir={tmp_path}",
    "--doses=many",
  )
  assert ended.code == 1 and "doses=many are no numbers" in ended.err
