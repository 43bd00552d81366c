"""An exported tiny model, an image to scan, and a process without our code."""

import pathlib
import subprocess
import sys

import numpy as np

from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.serving import export
from tests import tiny


def exported(
  folder: pathlib.Path, positions: np.ndarray | None = None, **changes
) -> tuple[model.Model, pathlib.Path]:
  """Returns a tiny model, along a fixed path if one is given, and the folder it was exported to."""
  made = model.of_learner(tiny.learner(positions=positions, **changes))
  return made, export.export(made, folder / "1")


def micrograph(height: int = 40, width: int = 50) -> np.ndarray:
  """Returns intensities [height, width] float32 between about 100 and 200."""
  return 150 + 50 * tiny.images(1, 52)[0, :height, :width, 0]


def alone(code: str, folder: pathlib.Path, *arguments: object) -> str:
  """Runs code in a process that can import neither this package nor Sonnet; returns what it
  printed.
  """
  script = folder / "alone.py"
  script.write_text(
    "import sys\nsys.modules['adaptive_stem_tf'] = sys.modules['sonnet'] = None\n" + code
  )
  # -I: neither the working directory nor PYTHONPATH; None in sys.modules: what is installed cannot
  # be imported either.
  ended = subprocess.run(
    [sys.executable, "-I", str(script), *map(str, arguments)],
    capture_output=True,
    text=True,
    cwd=folder,
    timeout=300,
  )
  assert ended.returncode == 0, ended.stderr
  return ended.stdout.strip()
