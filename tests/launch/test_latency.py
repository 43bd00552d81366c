"""python -m launch.benchmark_latency and launch.compare_litert."""

import json

import numpy as np
import pytest

from tests import tiny
from tests.launch import commands


@pytest.fixture(scope="module")
def exported(exports):
  """A model with its fast path."""
  return exports("lstm")


@pytest.mark.slow
def test_every_way_is_measured(exported, tmp_path):
  flags = ("--decisions=20", "--completions=5")
  ended = commands.launch(
    "benchmark_latency", f"--model={exported}", *flags, f"--output={tmp_path / 'latency.json'}"
  )
  assert ended.code == 0, ended.err
  result = json.loads((tmp_path / "latency.json").read_text())
  measured = {(row["way"], row["threads"], row["what"]) for row in result["rows"]}
  assert len(measured) == len(result["rows"]) == 3 * 2 * 2
  assert all(0 < row["min"] <= row["p50"] <= row["p99"] <= row["p99.9"] for row in result["rows"])
  assert "lstm/1: lstm 2 x 8" in ended.out and ended.out.count("LiteRT |") == 4


@pytest.mark.slow
def test_untrained_networks_are_measured(tmp_path):
  flags = [
    flag for flag in tiny.flags() if not flag.startswith(("--threads", "--jit", "--noprogress"))
  ]
  ended = commands.launch(
    "benchmark_latency",
    *flags,
    "--way=litert",
    "--decisions=20",
    "--completions=5",
    f"--output={tmp_path / 'latency.md'}",
  )
  assert ended.code == 0, ended.err
  assert (
    "untrained: lstm 2 x 8" in ended.out
    and (tmp_path / "latency.md").read_text().strip() == ended.out.strip()
  )


@pytest.mark.parametrize(
  "flags, said",
  [
    (("--model=nowhere/1",), "has no assets.extra/litert: export it with --litert"),
    (("--model=nowhere/1", "--output=table.txt"), "is neither .json nor .md"),
  ],
)
def test_measuring_nothing_is_refused(flags, said):
  ended = commands.launch("benchmark_latency", *flags)
  assert ended.code == 1 and said in ended.err


def test_the_fast_path_is_compared(exported, tmp_path):
  images = tmp_path / "images.npy"
  np.save(images, tiny.images(20))
  ended = commands.launch(
    "compare_litert",
    f"--model={exported}",
    f"--images={images}",
    "--count=3",
    f"--json={tmp_path / 'out.json'}",
  )
  assert ended.code == 0, ended.err
  assert "3 scans without noise" in ended.out and "identical to the pixel" in ended.out
  assert json.loads((tmp_path / "out.json").read_text())["images"] == 3
  refused = commands.launch("compare_litert", f"--model={tmp_path}")
  assert refused.code == 1 and "give a model that launch.export wrote" in refused.err
