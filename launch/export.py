"""Exports a run's actor and generator as a SavedModel for deployment.

  python -m launch.export --workdir=runs/small --output=savedmodels/NAME/1

The folder needs TensorFlow only, not this package. Its signatures `complete`, `start`,
`step` and `scan` are documented in adaptive_stem_tf/serving/export.py.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags

from adaptive_stem_tf.experiment import model
from adaptive_stem_tf.serving import export
from launch import flags as launch_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the SavedModel, NAME/VERSION", required=True)


def main() -> None:
  """Exports the run in --workdir."""
  trained, iteration = model.load(_WORKDIR.value)
  output = export.export(trained, _OUTPUT.value)
  size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
  print(f"Exported iteration {iteration} of {_WORKDIR.value} to {output} ({size / 1e6:.1f} MB).")


if __name__ == "__main__":
  launch_flags.run(main)
