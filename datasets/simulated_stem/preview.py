"""Draw a labelled contact sheet; `python -m launch.preview --output=sheet.png` writes it."""

from matplotlib import figure as figures

from . import simulate, whole_fields

_FIELDS = "fields_512"
CONFIGS = (*simulate.MICROGRAPHS, _FIELDS)


def contact_sheet(config: str, columns: int, seed: int) -> figures.Figure:
  """Draw one row of examples for each kind.

  Args:
    config: key of `simulate.MICROGRAPHS`, or fields_512.
    columns: examples of each kind.
    seed: seed of the examples.

  Raises:
    ValueError: if the configuration is unknown.

  Returns:
    The figure. Each image fills its own range of grey, and is titled with its dose and its pixel
    size, or its Gini coefficient where it is a whole field.
  """
  if config not in CONFIGS:
    raise ValueError(f"Unknown configuration {config!r}; choose one of {list(CONFIGS)}.")
  kinds = whole_fields.KINDS if config == _FIELDS else simulate.KINDS
  side = 2.4 if config == _FIELDS else 1.2  # inches
  figure = figures.Figure(figsize=(side * columns, (side + 0.2) * len(kinds)), layout="constrained")
  axes = figure.subplots(len(kinds), columns, squeeze=False)
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
