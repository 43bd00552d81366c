"""The command `adaptive-stem`, which an installation brings: `adaptive-stem scan ...`.

It runs what `python -m launch.scan ...` runs in a checkout.
"""

import runpy
import sys

from adaptive_stem_tf import installation


def main() -> None:
  """Runs the package `launch`, which is not importable elsewhere when it comes from a wheel."""
  sys.path.insert(0, str(installation.root()))
  runpy.run_module("launch", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  main()
