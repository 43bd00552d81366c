"""What measurements of speed print and write."""

import json
import pathlib
from typing import Any

from adaptive_stem_tf import writing


def check_output(output: str) -> None:
  """Refuses a file that is neither .json nor .md before anything is measured.

  Raises:
    ValueError: naming it.
  """
  if output and pathlib.Path(output).suffix not in (".json", ".md"):
    raise ValueError(f"output={output} is neither .json nor .md.")


def head(result: dict[str, Any]) -> list[str]:
  """Returns lines that say what was measured, and where.

  Args:
    result: with `model`, a description, and `machine`, of `serving.latency`.
  """
  machine = result["machine"]
  return [
    result["model"],
    "",
    f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
    f"{machine['system']}, load {machine['load_average'][0]} at the start; TensorFlow "
    f"{machine['tensorflow']}, ai-edge-litert {machine['ai-edge-litert']}, gRPC "
    f"{machine['grpcio']}, Python {machine['python']}",
    "",
  ]


def write(result: dict[str, Any], table: str, output: str) -> None:
  """Prints a table, and writes it (.md), or the numbers that it shows (.json), if asked for."""
  print(table)
  if output:
    text = json.dumps(result, indent=1) if output.endswith(".json") else f"{table}\n"
    writing.text(output, text)
