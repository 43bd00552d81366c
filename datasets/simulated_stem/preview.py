"""Draw a labelled contact sheet: python -m datasets.simulated_stem.preview --output=sheet.png."""

import matplotlib
from absl import app, flags
from etils import epath
from matplotlib import pyplot as plt

from . import simulate

_OUTPUT = flags.DEFINE_string("output", None, "PNG file to write.", required=True)
_CONFIG = flags.DEFINE_enum(
  "config", "crops_96", list(simulate.MICROGRAPHS), "Configuration to draw."
)
_COLUMNS = flags.DEFINE_integer("columns", 12, "Examples of each kind.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the examples.")


def contact_sheet(config: str, columns: int, seed: int) -> plt.Figure:
  """Draw one row of examples for each kind.

  Args:
    config: key of `simulate.MICROGRAPHS`.
    columns: examples of each kind.
    seed: seed of the examples.

  Returns:
    The figure. Each image fills its own range of grey, and is titled with its dose and its pixel
    size.
  """
  rows = len(simulate.KINDS)
  figure, axes = plt.subplots(
    rows, columns, figsize=(1.2 * columns, 1.4 * rows), squeeze=False, layout="constrained"
  )
  for row, kind in zip(axes, simulate.KINDS):
    for index, axis in enumerate(row):
      example = simulate.example(seed, "train", index, simulate.MICROGRAPHS[config], kind)
      axis.imshow(example.image[..., 0], cmap="gray", interpolation="nearest")
      axis.set_title(f"{example.dose:.0f} e, {example.pixel_size:.2g} nm", fontsize=5)
      axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(kind, fontsize=6)
  return figure


def main(argv) -> None:
  """Write the contact sheet that the flags ask for."""
  if len(argv) > 1:
    raise app.UsageError(f"Unexpected arguments {argv[1:]}; every option is a flag.")
  matplotlib.use("Agg")
  figure = contact_sheet(_CONFIG.value, _COLUMNS.value, _SEED.value)
  with epath.Path(_OUTPUT.value).open("wb") as file:
    figure.savefig(file, format="png", dpi=160)


if __name__ == "__main__":
  app.run(main)
