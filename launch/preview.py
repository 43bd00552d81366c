"""Draws simulated specimens: a labelled contact sheet, one row for each kind.

  python -m launch.preview --output=sheet.png
  python -m launch.preview --config=fields_512 --columns=4 --output=fields.png

Each image fills its own range of grey. Titles say the dose, electrons per px where the image is
brightest, and the size of a pixel; of whole fields the Gini coefficient of their structure.
"""

from __future__ import annotations

from absl import flags

from adaptive_stem_tf import writing
from datasets.simulated_stem import preview
from launch import flags as launch_flags

_OUTPUT = flags.DEFINE_string("output", None, "PNG file to write", required=True)
_CONFIG = flags.DEFINE_string(
  "config", "crops_96", "configuration of simulated_stem: crops_96, downsampled_96 or fields_512"
)
_COLUMNS = flags.DEFINE_integer("columns", 12, "examples of each kind", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "seed of the examples", lower_bound=0)


def main() -> None:
  """Draws and writes the contact sheet."""
  sheet = preview.contact_sheet(_CONFIG.value, _COLUMNS.value, _SEED.value)
  with writing.whole(_OUTPUT.value) as unfinished:
    sheet.savefig(unfinished, format="png", dpi=160)
  print(f"Written: {_OUTPUT.value}.")


if __name__ == "__main__":
  launch_flags.run(main)
