"""Commands in processes of their own."""

import os
import sys

from adaptive_stem_tf import installation


def command(name: str, *arguments: str) -> list[str]:
  """Returns the command line that runs a command of this folder."""
  return [sys.executable, "-m", "adaptive_stem_tf.command", name, *arguments]


def environment(**more: str) -> dict[str, str]:
  """Returns this process's environment, in which that command finds this library."""
  paths = [str(installation.root()), os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}
