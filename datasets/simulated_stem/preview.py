"""Draw a labelled contact sheet: python -m datasets.simulated_stem.preview --output=sheet.png."""

import matplotlib
from absl import app, flags
from etils import epath
from matplotlib import pyplot as plt

from . import simulate, whole_fields

_FIELDS = "fields_512"

_OUTPUT = flags.DEFINE_string("output", None, "PNG file to write.", required=True)
_CONFIG = flags.DEFINE_enum(
  "config", "crops_96", [*simulate.MICROGRAPHS, _FIELDS], "Configuration to draw."
)
_COLUMNS = flags.DEFINE_integer("columns", 12, "Examples of each kind.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the examples.")


def contact_sheet(config: str, columns: int, seed: int) -> plt.Figure:
  """Draw one row of examples for each kind.

  Args:
    config: key of `simulate.MICROGRAPHS`, or fields_512.
    columns: examples of each kind.
    seed: seed of the examples.

  Returns:
    The figure. Each image fills its own range of grey, and is titled with its dose and its pixel
    size, or its Gini coefficient where it is a whole field.
  """
  kinds = whole_fields.KINDS if config == _FIELDS else simulate.KINDS
  side = 2.4 if config == _FIELDS else 1.2  # inches
  figure, axes = plt.subplots(
    len(kinds),
    columns,
    figsize=(side * columns, (side + 0.2) * len(kinds)),
    squeeze=False,
    layout="constrained",
  )
  for row, kind in zip(axes, kinds):
    for index, axis in enumerate(row):
      image, title = _example(config, kind, seed, index)
      axis.imshow(image[..., 0], cmap="gray", interpolation="nearest")
      axis.set_title(title, fontsize=5)
      axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(kind, fontsize=6)
  return figure


def _example(config, kind, seed, index):
  """An example's image `[rows, columns, 1]` and its title."""
  if config == _FIELDS:
    field = whole_fields.draw_field((seed, index), kinds=[kind])
    return field.image, f"{field.dose:.0f} e, g {field.gini:.2f}"
  example = simulate.example(seed, "train", index, simulate.MICROGRAPHS[config], kind)
  return example.image, f"{example.dose:.0f} e, {example.pixel_size:.2g} nm"


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
