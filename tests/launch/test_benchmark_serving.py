"""python -m launch.benchmark_serving."""

import json

import pytest

from tests.launch import commands


@pytest.mark.slow
def test_a_server_is_measured_without_and_with_batching(exports, tmp_path):
  ended = commands.launch(
    "benchmark_serving",
    f"--model={exports('lstm')}",
    "--clients=1,3",
    "--seconds=0.5",
    "--threads=1",
    f"--output={tmp_path / 'load.json'}",
  )
  assert ended.code == 0, ended.err
  rows = json.loads((tmp_path / "load.json").read_text())["rows"]
  measured = [(row["clients"], row["batching"]) for row in rows]
  assert measured == [(1, "off"), (3, "off"), (1, "on"), (3, "on")]
  assert all(row["scans_per_second"] > 0 for row in rows)
  assert ended.out.count("| off |") == ended.out.count("| on |") == 2


@pytest.mark.parametrize(
  "flags, said",
  [
    ((), "give either --model, or --server and --model_name"),
    (("--model=a/1", "--server=grpc://h:1", "--model_name=a"), "give either --model, or --server"),
    (("--server=grpc://localhost:1",), "give either --model, or --server and --model_name"),
    (("--model=nowhere/1",), "model=nowhere/1 holds no SavedModel: give a folder NAME/VERSION"),
    (("--model=a/1", "--clients=1,x"), "clients=1,x are not positive whole numbers"),
    (("--model=a/1", "--clients=0"), "clients=0 are not positive whole numbers"),
    (("--model=a/1", "--output=table.txt"), "is neither .json nor .md"),
  ],
)
def test_measuring_nothing_is_refused(flags, said):
  ended = commands.launch("benchmark_serving", *flags)
  assert ended.code == 1 and said in ended.err
