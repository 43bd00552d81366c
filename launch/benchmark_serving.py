"""Measures how many scans a server decides for many clients at once, and how long they wait.

  python -m launch.benchmark_serving --model=savedmodels/adaptive_stem/1 --clients=1,4,16,64
  python -m launch.benchmark_serving --server=grpc://localhost:8500 --model_name=adaptive_stem

Each client scans again and again: it starts a scan, asks for every segment with what it
measured of the one before, and has the scan completed. Moving and dwelling take no time, so a
client stands for as many microscopes as a scan takes longer there.

The first form starts launch.serve beside itself, without and with --enable_batching; server and
clients share the cores, and the last column says how many of them the clients took. The second
asks a server that runs already: TensorFlow Serving, or one on another machine.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

from absl import flags

from adaptive_stem_tf.serving import client, latency, load
from launch import benchmark_report, processes
from launch import flags as launch_flags

_MODEL = flags.DEFINE_string("model", "", "exported model NAME/VERSION, for a server of its own")
_SERVER = flags.DEFINE_string(
  "server", "", "grpc://HOST:PORT or http://HOST:PORT of a server that runs, instead of --model"
)
_NAME = flags.DEFINE_string("model_name", "", "with --server: name of the model")
_CLIENTS = flags.DEFINE_list("clients", ["1", "4", "16", "64"], "clients that scan at once")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "how long scans are counted, s", lower_bound=0.1)
_THREADS = flags.DEFINE_integer(
  "threads", 0, "with --model: the server's threads for arithmetic; 0 takes all cores", 0
)
_OUTPUT = flags.DEFINE_string(
  "output", "", "also write the measurements to this file: .json, or .md for a table"
)
_TIMEOUT = 60.0  # s, for one answer


def main() -> None:
  """Prints the measurements."""
  launch_flags.need("tensorflow_serving")
  benchmark_report.check_output(_OUTPUT.value)
  counts = _counts()
  if bool(_MODEL.value) == bool(_SERVER.value and _NAME.value):
    raise ValueError("give either --model, or --server and --model_name.")
  described = _MODEL.value or f"{_NAME.value} at {_SERVER.value}"
  rows: list[dict[str, Any]] = []
  for batching in ("off", "on") if _MODEL.value else ("as the server is",):
    with _served(batching) as (address, name):
      rows += [_row(address, name, count, batching) for count in counts]
  result = {"machine": latency.machine(), "model": described, "rows": rows}
  benchmark_report.write(result, _table(result), _OUTPUT.value)


def _counts():
  """Returns the numbers of clients.

  Raises:
    ValueError: if one is no positive integer.
  """
  try:
    counts = [int(text) for text in _CLIENTS.value]
  except ValueError:
    counts = []
  if not counts or min(counts) < 1:
    raise ValueError(
      f"clients={','.join(_CLIENTS.value)} are not positive whole numbers: give some as in 1,4,16."
    )
  return counts


@contextlib.contextmanager
def _served(batching):
  """Yields the address of the server, and the model's name."""
  if _SERVER.value:
    yield _SERVER.value, _NAME.value
    return
  model = pathlib.Path(_MODEL.value)
  if not (model / "saved_model.pb").is_file():
    raise FileNotFoundError(f"model={model} holds no SavedModel: give a folder NAME/VERSION.")
  more = ["--port=0", "--rest_api_port=0", f"--threads={_THREADS.value}"]
  more += ["--enable_batching"] if batching == "on" else []
  with processes.server(model, *more) as address:
    yield address, model.parent.name


def _row(address, name, count, batching):
  """Measures a number of clients."""
  settings = client.Settings(timeout=_TIMEOUT, attempts=1)
  connect = lambda: client.connect(address, name, settings=settings)
  geometry = connect().geometry
  measured = load.measure(connect, geometry, load.Load(count, _SECONDS.value))
  return {"clients": count, "batching": batching, **measured}


def _table(result):
  lines = [
    *benchmark_report.head(result),
    "| clients | batching | scans/s | decisions/s | decision p50 | p99 | completion p50 | p99 | "
    "scan p50 | p99 | clients' cores |",
    "|---" * 11 + "|",
  ]
  for row in result["rows"]:
    waits = " | ".join(
      f"{row[f'{kind}_p{percentile}']:.1f} ms"
      for kind in ("decision", "completion", "scan")
      for percentile in load.PERCENTILES
    )
    lines.append(
      f"| {row['clients']} | {row['batching']} | {row['scans_per_second']:.1f} | "
      f"{row['decisions_per_second']:.0f} | {waits} | {row['client_cores']:.2f} |"
    )
  return "\n".join(lines)


if __name__ == "__main__":
  launch_flags.run(main)
