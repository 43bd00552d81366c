"""Our system against recordings of the published one; see tests/check_goldens.py."""

import os
import pathlib

import pytest

from tests import check_goldens

FOLDER = pathlib.Path(
  os.environ.get(
    "ADAPTIVE_STEM_GOLDENS", pathlib.Path(__file__).parents[2].parent / "shared" / "goldens"
  )
)
SEED = 7  # of the recorded weights, from the recordings' README


@pytest.mark.parametrize(
  "file",
  [pytest.param(name, marks=[pytest.mark.slow] * (name == "dnc")) for name in check_goldens.FILES],
)
def test_every_recorded_quantity_is_reproduced(file):
  if not (FOLDER / f"{file}.npz").is_file():
    pytest.skip(
      f"{FOLDER} holds no {file}.npz: set ADAPTIVE_STEM_GOLDENS to the folder of recordings."
    )
  checks = check_goldens.compare(FOLDER, file, SEED)
  assert len(checks) > 20
  failed = [
    line
    for line, check in zip(check_goldens.report(file, checks), checks, strict=True)
    if not check.passed
  ]
  assert not failed, "\n".join(failed)
