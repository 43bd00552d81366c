"""Measures how long a decision and a completion take: LiteRT, SavedModel in process, gRPC on
loopback.

  python -m launch.benchmark_latency --model=savedmodels/small/1
  python -m launch.benchmark_latency --flagfile=launch/flagfiles/lstm.cfg
  python -m launch.benchmark_latency --model=savedmodels/FIELDS/1 --field_sizes=512,1024

The first measures a model that was exported with --litert; the second untrained networks
of a configuration's sizes, whose speed is the same. Each is measured with one thread,
pinned to one core (the server of gRPC to another, where there is one), and with all.
A decision begins with intensities in memory and ends with the next segment's positions
in memory. On a busy machine the minimum says more than the percentiles.

The third scans whole fields with a model of launch.train_fields, on all cores: the survey, each
plan and the completion are timed, and all of a scan; LiteRT, too, if the model was exported with
--litert, and how far its answers differ. The column "processor" has the least processor time, of
all threads together. Other work on the cores hardly changes it, while it can double all others:
compare models by it, and restrict the command to one core (taskset) to see what one thread needs.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile

from absl import flags

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.serving import export, extra, field_latency, field_scan, latency, litert
from launch import benchmark_report, processes
from launch import flags as launch_flags

_MODEL = flags.DEFINE_string(
  "model",
  "",
  "exported model NAME/VERSION with assets.extra/litert; empty for untrained "
  "networks of the configuration that the flags below set",
)
_DECISIONS = flags.DEFINE_integer("decisions", 10_000, "decisions timed each way", lower_bound=1)
_COMPLETIONS = flags.DEFINE_integer(
  "completions", 1_000, "completions timed each way", lower_bound=1
)
_FIELD_SIZES = flags.DEFINE_list("field_sizes", ["512", "1024"], "fields: sides of fields, px")
_COVERAGE = flags.DEFINE_float(
  "coverage", 1 / 23, "fields: share of the pixels that is measured", 0.001, 0.5
)
_SCANS = flags.DEFINE_integer("scans", 5, "fields: scans timed of each size", lower_bound=1)
_OUTPUT = flags.DEFINE_string(
  "output", "", "also write the measurements to this file: .json, or .md for a table"
)
_WAYS = {
  "litert": "LiteRT",
  "savedmodel": "SavedModel in process",
  "grpc": "gRPC on loopback (launch.serve)",
}
_ONLY = flags.DEFINE_multi_enum("way", list(_WAYS), list(_WAYS), "which are measured")
_WORKER = flags.DEFINE_enum(
  "worker", "", ["", *_WAYS], "for this command's own use: measure one way and print JSON"
)
_CORES = flags.DEFINE_list("cores", [], "for this command's own use: cores of a worker")


def main() -> None:
  """Prints the measurements."""
  if _WORKER.value:
    print(
      json.dumps(
        _work(_WORKER.value, pathlib.Path(_MODEL.value), [int(core) for core in _CORES.value])
      )
    )
    return
  benchmark_report.check_output(_OUTPUT.value)
  if _MODEL.value and _scans_fields(pathlib.Path(_MODEL.value)):
    # Before TensorFlow is loaded: convolutions take half the time.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    result = _of_fields(pathlib.Path(_MODEL.value))
    benchmark_report.write(result, _table_of_fields(result), _OUTPUT.value)
    return
  with tempfile.TemporaryDirectory() as folder:
    path = (
      pathlib.Path(_MODEL.value)
      if _MODEL.value
      else _untrained(pathlib.Path(folder) / "untrained" / "1")
    )
    if not (path / extra.FOLDER / litert.FOLDER).is_dir():
      raise FileNotFoundError(
        f"{path} has no {extra.FOLDER}/{litert.FOLDER}: export it with --litert."
      )
    result = {
      "machine": latency.machine(),
      "model": _describe(path),
      "rows": [
        row
        for threads in ("one", "all")
        for way in _ONLY.value
        for row in _measure(way, path, threads)
      ],
    }
  benchmark_report.write(result, _table(result), _OUTPUT.value)


def _scans_fields(path):
  """Returns whether a model scans whole fields, by its settings alone."""
  settings = path / "assets.extra" / "config.json"
  return settings.is_file() and "networks" in json.loads(settings.read_text())


def _of_fields(path):
  """Measures a scanner of whole fields."""
  machine, model = latency.machine(), field_scan.ExportedFields(path)
  sides, coverage, scans = map(int, _FIELD_SIZES.value), _COVERAGE.value, _SCANS.value
  result = {
    "machine": machine,
    "model": f"{path.parent.name}/{path.name}: {model.rounds} rounds, coverage {coverage:.4f}",
    "sizes": {side: field_latency.measure(model, side, coverage, scans) for side in sides},
  }
  folder = path / extra.FOLDER / litert.FOLDER
  if folder.is_dir():
    result["litert"] = field_latency.measure_fast(folder, model, coverage, scans)
  return result


def _untrained(path):
  trained = model.fresh(launch_flags.experiment())
  return export.export(
    trained, path, also=lambda folder: litert.convert(trained, folder / litert.FOLDER)
  )


def _measure(way, path, threads):
  """Yields the rows that a new process measures: threads cannot be changed once it computes."""
  cores = sorted(os.sched_getaffinity(0))
  command = processes.command(
    "benchmark_latency",
    f"--worker={way}",
    f"--model={path.resolve()}",
    f"--decisions={_DECISIONS.value}",
    f"--completions={_COMPLETIONS.value}",
  )
  command += [f"--cores={cores[0]},{cores[-1]}"] if threads == "one" else []
  worker = subprocess.run(command, env=processes.environment(), capture_output=True, text=True)
  if worker.returncode:
    raise RuntimeError(f"measuring {way} failed: {worker.stderr.strip()[-400:]}")
  for what, times in json.loads(worker.stdout.splitlines()[-1]).items():
    yield {
      "way": _WAYS[way],
      "threads": "one, pinned" if threads == "one" else f"all ({len(cores)})",
      "what": what,
      **times,
    }


def _work(way, path, cores):
  """Measures one way in this process.

  Args:
    way: one of _WAYS.
    path: of the model.
    cores: the first runs the single thread of this process, the last a server; empty for all cores.
  """
  import tensorflow as tf

  threads = 1 if cores else 0
  server_cores = set(cores[-1:]) or os.sched_getaffinity(0)
  if cores:
    os.sched_setaffinity(0, set(cores[:1]))  # threads made from here on inherit it
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  calls = latency.Calls(_DECISIONS.value, _COMPLETIONS.value)
  if way == "litert":
    from adaptive_stem_tf.serving import edge

    fast = edge.EdgeModel(
      path / extra.FOLDER / litert.FOLDER, threads or len(os.sched_getaffinity(0))
    )
    return latency.measure(fast, fast.geometry, calls)
  if way == "savedmodel":
    from adaptive_stem_tf.serving import local

    loaded = local.LocalModel(path)
    return latency.measure(loaded, loaded.geometry, calls)
  return _over_grpc(path, calls, threads, server_cores)


def _over_grpc(path, calls, threads, cores):
  from adaptive_stem_tf.serving import client

  server = ("--port=0", "--rest_api_port=0", f"--threads={threads}")
  with processes.server(path, *server, cores=cores) as address:
    connection = client.connect(
      address, path.parent.name, int(path.name), settings=client.Settings(timeout=60)
    )
    return latency.measure(connection, connection.geometry, calls)


def _describe(path):
  experiment = config.Experiment.from_json((path / extra.FOLDER / "config.json").read_text())
  controller, scan = experiment.controller, experiment.scan
  name = f"{path.parent.name}/{path.name}" if _MODEL.value else "untrained"
  return (
    f"{name}: {controller.controller} {controller.depth} x {controller.units}, generator of "
    f"{experiment.generator.channels} channels and {experiment.generator.blocks} blocks, "
    f"{scan.image_size} x {scan.image_size} px, {scan.probes} probes a segment"
  )


def _table_of_fields(result):
  lines = [
    *benchmark_report.head(result),
    "| field | way | what | min | median | max | processor |",
    "|---" * 7 + "|",
  ]
  ways = [(side, "SavedModel", times) for side, times in result["sizes"].items()]
  fast = result.get("litert")
  if fast:
    ways.append((fast["side"], "LiteRT", {name: fast[name] for name in ("plan", "complete")}))
  for side, way, times in ways:
    for what, values in times.items():
      cells = " | ".join(f"{values[key]:.0f} ms" for key in ("min", "median", "max", "processor"))
      lines.append(f"| {side} px | {way} | {what} | {cells} |")
  if fast:
    lines += ["", (
      f"LiteRT beside the SavedModel: {fast['other_positions']:.2%} of a round's positions differ "
      f"at most, completions by {fast['difference']:.2g} at most."
    )]  # fmt: skip
  return "\n".join(lines)


def _table(result):
  lines = [
    *benchmark_report.head(result),
    "| | threads | what | calls | min | p50 | p99 | p99.9 |",
    "|---|---|---|---|---|---|---|---|",
  ]
  for row in result["rows"]:
    unit, scale = ("us", 1.0) if row["what"] == "decision" else ("ms", 1e-3)
    cells = " | ".join(f"{scale * row[key]:.1f} {unit}" for key in ("min", "p50", "p99", "p99.9"))
    lines.append(f"| {row['way']} | {row['threads']} | {row['what']} | {row['calls']} | {cells} |")
  return "\n".join(lines)


if __name__ == "__main__":
  launch_flags.define_experiment()
  launch_flags.run(main)
